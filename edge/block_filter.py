"""Recursive filters over blocks of fixed length: one matrix product per block, exact.

A cascade of second-order sections is linear, so a block of ``hop`` samples ``x`` and the state
``z`` before it determine the block's output ``y`` and the state ``z'`` after it::

    [ y  ]   [ H  G ] [ x ]
    [ z' ] = [ B  A ] [ z ]

The matrix is what ``scipy.signal.sosfilt`` answers to unit impulses and unit states.  The blocks
lie on a fixed grid, hence the same samples give the same bits however they arrived.
"""

import numpy as np
import scipy.signal
from numpy.typing import NDArray

F64 = NDArray[np.float64]


class BlockFilter:
    """A cascade of second-order sections ``sos (n, 6)`` for ``channels`` signals side by side.

    Write a block into ``x (hop, channels) float64``, call ``run``, read ``y`` of the same shape.
    Both are the filter's own, reused buffers.
    """

    def __init__(self, sos: F64, hop: int, channels: int):
        self._zi = scipy.signal.sosfilt_zi(sos).reshape(-1, 1)
        states = len(self._zi)
        self._matrix = block_matrix(sos, hop)
        self._in = np.zeros((hop + states, channels))
        self._out = np.zeros_like(self._in)
        self.x, self._z = self._in[:hop], self._in[hop:]
        self.y, self._z_next = self._out[:hop], self._out[hop:]

    def run(self) -> F64:
        """Filter the block in ``x``; returns ``y``."""
        np.matmul(self._matrix, self._in, out=self._out)
        self._z[...] = self._z_next
        return self.y

    def settle(self, level: F64) -> None:
        """Start as if each channel had been at ``level (channels,)`` for ever.

        An electrode's offset is many times its EMG: started from zero, a high-pass would ring.
        """
        np.multiply(self._zi, level, out=self._z)


def block_matrix(sos: F64, hop: int) -> F64:
    """``[[H, G], [B, A]]`` of shape ``(hop + 2n, hop + 2n)`` for ``sos (n, 6)``."""
    n = len(sos)
    size = hop + 2 * n
    x = np.zeros((hop, size))
    x[:, :hop] = np.eye(hop)
    z = np.zeros((n, 2, size))
    z.reshape(2 * n, size)[:, hop:] = np.eye(2 * n)
    y, z_next = scipy.signal.sosfilt(sos, x, axis=0, zi=z)
    return np.ascontiguousarray(np.concatenate([y, z_next.reshape(2 * n, size)]))

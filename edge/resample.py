"""A window of a picture on another grid: area-averaged where it shrinks, linear where it grows.

Each output row is a short weighted sum of input rows, and likewise for columns.  Gathering those
few taps is faster than a product with the (mostly empty) weight matrix, gives the same bits on
any number of threads, and starts none.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Taps = list[tuple[NDArray[np.intp], F32]]  # per tap: input index and weight (n, 1) of each output

Axis = tuple[float, float, int]  # window from, to, in input pixels; how many output pixels


def weights(n_in: int, axis: Axis) -> F32:
    """The matrix ``(n_out, n_in)``; input pixel i covers ``i .. i + 1``; every row sums to 1."""
    start, stop, n_out = axis
    edges = np.linspace(start, stop, n_out + 1)
    cells = np.arange(n_in)
    if stop - start >= n_out:  # shrink: the share of each output pixel that an input pixel covers
        low = np.maximum(edges[:-1, None], cells)
        high = np.minimum(edges[1:, None], cells + 1)
        matrix = np.maximum(high - low, 0.0)
    else:  # grow: between the centres of the two nearest input pixels
        centre = np.clip((edges[:-1] + edges[1:]) / 2 - 0.5, 0, n_in - 1)
        matrix = np.maximum(1.0 - np.abs(centre[:, None] - cells), 0.0)
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True), np.float32)


def resampler(
    shape: tuple[int, ...], rows: Axis, columns: Axis
) -> tuple[Callable[[F32], F32], F32]:
    """A function from pictures of ``shape`` to ``(rows, columns)`` pictures, and its buffer."""
    row_taps = _taps(weights(shape[0], rows))
    column_taps = _taps(weights(shape[1], columns))
    n, m = rows[2], columns[2]
    tall, tall_tap = np.zeros((n, shape[1]), np.float32), np.zeros((n, shape[1]), np.float32)
    turned = np.zeros((shape[1], n), np.float32)  # so that both passes gather whole rows
    small, small_tap = np.zeros((m, n), np.float32), np.zeros((m, n), np.float32)
    out = np.zeros((n, m), np.float32)

    def run(x: F32) -> F32:
        _gather(x, row_taps, tall, tall_tap)
        np.copyto(turned, tall.T)
        _gather(turned, column_taps, small, small_tap)
        np.copyto(out, small.T)
        return out

    return run, out


def _taps(matrix: F32) -> Taps:
    first = np.argmax(matrix > 0, axis=1)
    last = matrix.shape[1] - 1 - np.argmax(matrix[:, ::-1] > 0, axis=1)
    rows = np.arange(len(matrix))
    taps = []
    for k in range(math.ceil(1 + np.max(last - first))):
        index = np.minimum(first + k, matrix.shape[1] - 1)
        weight = np.where(first + k <= last, matrix[rows, index], 0.0)
        taps.append((index, weight.astype(np.float32)[:, None]))
    return taps


def _gather(x: F32, taps: Taps, out: F32, tap: F32) -> None:
    for k, (index, weight) in enumerate(taps):
        into = tap if k else out
        # mode="clip" because the default mode buffers the whole result.
        np.take(x, index, axis=0, out=into, mode="clip")
        np.multiply(into, weight, out=into)
        if k:
            np.add(out, tap, out=out)

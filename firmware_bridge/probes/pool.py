"""Receive buffers that are used again only when nobody can see their content any more."""

import sys
from array import array


class FramePool:
    """Buffers for whole transfers; ``take`` gives one that nobody holds.

    Whoever keeps a view of a buffer (a memoryview, an ndarray, a view of a view) keeps the buffer
    out of circulation, so frames may be held without copying.  The pool grows to as many buffers as
    were ever held at once and then allocates nothing more.  One thread takes; any thread may hold.
    """

    def __init__(self, nbytes: int, count: int = 4):
        self._buffers = [array("B", bytes(nbytes)) for _ in range(count)]
        self._at = 0
        # What the interpreter counts for a buffer that only the pool holds.
        self._idle_references = sys.getrefcount(self._buffers[0])

    def __len__(self) -> int:
        return len(self._buffers)

    def take(self) -> "array[int]":
        """A buffer to write into; it stays out of circulation while it is referenced."""
        for _ in range(len(self._buffers)):
            self._at = (self._at + 1) % len(self._buffers)
            if sys.getrefcount(self._buffers[self._at]) == self._idle_references:
                return self._buffers[self._at]
        self._buffers.append(array("B", bytes(len(self._buffers[0]) * self._buffers[0].itemsize)))
        self._at = len(self._buffers) - 1
        return self._buffers[self._at]

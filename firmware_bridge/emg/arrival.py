"""When a sample arrived, on the monotonic clock, from a driver that stamps it with wall time."""

import math

STEP_NS = 20_000_000  # slewing moves the wall clock 0.5 ms a second at most: more is a step


class Arrivals:
    """Maps wall-clock stamps of samples that are polled for.

    A sample taken at this poll was not there at the last one, so it arrived in between.  That
    bounds the answer whatever the wall clock does: it never runs backwards, never lies in the
    future, and a step of the wall clock moves it by one poll period at most.
    """

    def __init__(self, mono_ns: int, unix_ns: int):
        self.steps = 0  # of the wall clock
        self._not_before_ns = self._now_ns = mono_ns
        self._offset_ns = unix_ns - mono_ns

    def poll(self, mono_ns: int, unix_ns: int) -> None:
        """Before each look at the device: the two clocks, read together."""
        offset_ns = unix_ns - mono_ns
        self.steps += abs(offset_ns - self._offset_ns) > STEP_NS
        self._offset_ns = offset_ns
        self._not_before_ns, self._now_ns = self._now_ns, mono_ns

    def at(self, unix_s: float) -> int:
        """Monotonic ns of a sample of this poll that carries the stamp ``unix_s``."""
        stamp_ns = unix_s * 1e9
        if not math.isfinite(stamp_ns):
            return self._not_before_ns  # rather too old than too fresh
        stamp_ns = round(stamp_ns) - self._offset_ns
        return min(max(stamp_ns, self._not_before_ns), self._now_ns)

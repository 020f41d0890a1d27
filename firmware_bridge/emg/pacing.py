"""Real time for what is not: samples fall due on absolute deadlines, so lateness never adds up."""

import time

CHUNK_S = 0.001  # about how often a fast amplifier delivers


class SampleClock:
    """Sample ``i`` (from 0) is complete, and due, ``(i + 1) / rate_hz`` after ``t0_ns``."""

    def __init__(self, rate_hz: float, t0_ns: int):
        self._rate_hz, self._t0_ns = rate_hz, t0_ns
        self.step = max(1, round(rate_hz * CHUNK_S))  # samples to wait for at a time

    def due_ns(self, count: int) -> int:
        """When the first ``count`` samples are complete."""
        return self._t0_ns + round(count * 1e9 / self._rate_hz)

    def wait(self, count: int, timeout_s: float) -> int:
        """Sleep until ``count`` samples are due or time is up; how many are due by then."""
        now_ns = time.monotonic_ns()
        wake_ns = min(self.due_ns(count), now_ns + round(timeout_s * 1e9))
        if wake_ns > now_ns:
            time.sleep((wake_ns - now_ns) * 1e-9)
        now_ns = time.monotonic_ns()
        due = int((now_ns - self._t0_ns) * 1e-9 * self._rate_hz)
        return max(0, due - (self.due_ns(due) > now_ns))  # rounding may count one too many

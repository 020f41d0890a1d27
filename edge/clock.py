"""The one clock: monotonic nanoseconds, device clocks mapped onto it, absolute deadlines."""

import time
from collections import deque

now_ns = time.monotonic_ns

WINDOW_NS = 1_000_000_000  # one least-delayed arrival is kept per second of device time
WINDOWS = 32  # half a minute of them: long enough for skew, short enough for temperature drift
MAX_SKEW = 0.005  # crystals stay within 0.0001, but some amplifiers' nominal rates are not exact
SKEW_DRIFT = 1e-5  # per fit, once settled: temperature is slow, a growing backlog is not
SPIN_NS = 80_000  # 0.8 % of a core at a 10 ms tick
STEP_NS = 50_000_000  # a datum this far ahead of the line has a new clock


class ClockMap:
    """Maps a device's clock onto ours from what arrives: offset and skew, never later than arrival.

    USB, drivers and schedulers only ever delay data, so the least-delayed arrival of each second
    is nearest the truth.  The line below all of them that is nearest to them on average is an edge
    of their lower convex hull: the one that spans their mean (Moon, Skelly & Towsley, INFOCOM
    1999).  A datum is therefore never thought younger than it is by more than the jitter of the
    least-delayed arrivals; it may be thought older, which is the safe side.

    A delay that begins later is not mistaken for skew: the line stays, the data grow old, and
    after a whole window ``behind`` asks for the device to be opened again, which empties buffers.
    """

    def __init__(self, steps: int = 0) -> None:
        self.steps = steps  # times the device clock jumped; over a replug it counts on
        self.behind = False  # for a whole window, everything came more than STEP_NS late
        self._points: deque[tuple[int, int]] = deque(maxlen=WINDOWS)
        self._empty = True
        self._settled = False
        self._x0 = self._y0 = self._window_start = self._last = 0
        self._offset = self._slope = self._mid = 0.0
        self._best, self._best_above = (0, 0), 0.0  # nearest to the line in this window

    def map(self, device_ns: int, arrival_ns: int) -> int:
        """Our time of a datum stamped ``device_ns`` that arrived at ``arrival_ns``."""
        if self._empty:
            self._restart(device_ns, arrival_ns)
        x, delay = device_ns - self._x0, (arrival_ns - device_ns) - self._y0
        if x < self._last - STEP_NS or delay < self._line(x) - STEP_NS:
            self._step(device_ns, arrival_ns)
            return arrival_ns
        self._last = max(self._last, x)
        if x - self._window_start >= WINDOW_NS:
            self._close_window(x)
        above = delay - self._line(x)
        if above < self._best_above:
            self._best, self._best_above = (x, delay), above
            if len(self._points) < 2:  # no skew yet: the least delay so far is the offset
                self._offset = min(self._offset, delay)
        return min(arrival_ns, device_ns + self._y0 + int(self._line(x)))

    @property
    def skew(self) -> float:
        """How much faster our clock runs than the device's (0.0001 = 100 ppm)."""
        return self._slope

    def _line(self, x: int) -> float:
        return self._offset + self._slope * (x - self._mid)

    def _restart(self, device_ns: int, arrival_ns: int) -> None:
        # Everything is kept relative to the first pair: float64 then resolves nanoseconds for days.
        self._x0, self._y0 = device_ns, arrival_ns - device_ns
        self._points.clear()
        self._window_start = self._last = 0
        self._best, self._best_above = (0, 0), 0.0
        self._offset = self._slope = self._mid = 0.0
        self._empty = self._settled = self.behind = False

    def _step(self, device_ns: int, arrival_ns: int) -> None:
        self.steps += 1
        self._restart(device_ns, arrival_ns)

    def _close_window(self, x: int) -> None:
        """Take the window's least-delayed arrival and fit again."""
        self.behind = self._best_above > STEP_NS
        if not self.behind:
            self._points.append(self._best)
            self._settled = self._settled or len(self._points) == WINDOWS
        self._window_start, self._best_above = x, float("inf")
        if len(self._points) >= 2:
            self._fit()

    def _fit(self) -> None:
        hull: list[tuple[int, int]] = []
        for p in self._points:
            while len(hull) >= 2 and _turns_down(hull[-2], hull[-1], p):
                hull.pop()
            hull.append(p)
        mean = sum(p[0] for p in self._points) / len(self._points)
        right = next((i for i, p in enumerate(hull) if p[0] >= mean), len(hull) - 1)
        (xa, ya), (xb, yb) = hull[max(right, 1) - 1], hull[max(right, 1)]
        slope = (yb - ya) / (xb - xa)
        if self._settled:
            slope = min(max(slope, self._slope - SKEW_DRIFT), self._slope + SKEW_DRIFT)
        self._slope = min(max(slope, -MAX_SKEW), MAX_SKEW)
        self._mid = xa
        self._offset = min(y - self._slope * (x - xa) for x, y in self._points)


def _turns_down(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    """Whether b lies on or above the segment from a to c."""
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])


def sleep_until(t_ns: int) -> None:
    """Return at ``t_ns``; at once when it has passed.

    Sleeps to just before and spins the rest: a wake-up takes tens of microseconds, and varies.
    """
    left = t_ns - SPIN_NS - now_ns()
    if left > 0:
        time.sleep(left * 1e-9)
    while now_ns() < t_ns:
        pass


class Pacer:
    """Ticks on absolute deadlines ``t0 + k * period``: lateness never accumulates.

    ``wait`` returns ``lead_ns`` before the deadline, for what has to be got ready.

    It returns the tick to run now.  Ticks whose whole period has gone by are skipped and
    counted in ``missed``: after a stall the loop is on time again, it does not hurry to catch up.
    """

    def __init__(self, period_ns: int, t0_ns: int, lead_ns: int = 0):
        self.period_ns, self.t0_ns = period_ns, t0_ns
        self._lead_ns = lead_ns
        self.tick = -1
        self.missed = 0

    def deadline(self, tick: int) -> int:
        """When ``tick`` is due."""
        return self.t0_ns + tick * self.period_ns

    def wait(self) -> int:
        """Sleep until the next tick is due; its number."""
        due = self.tick + 1
        newest = (now_ns() - self.t0_ns) // self.period_ns
        if newest > due:
            self.missed += newest - due
            due = newest
        self.tick = due
        sleep_until(self.deadline(due) - self._lead_ns)
        return due

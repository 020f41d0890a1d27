"""The models of a rig in turn: the one that gives the joint angle before those that take it."""

from collections.abc import Callable, Iterator, Sequence

from edge.config import Timing
from edge.estimate import Estimator
from edge.joint import NOTHING, Joint, Reading
from firmware_bridge.types import UNKNOWN_NS

Source = Callable[[int], Reading]  # the newest there is, in the tick that was due at t_ns


def nothing(_: int) -> Reading:
    """Nobody says."""
    return NOTHING


class Turns:
    """Says which model runs next, and on which angle and load; the daemon and a replay alike.

    ``joint`` is what the last tick used, None if no model takes any of it.
    """

    def __init__(
        self,
        estimators: Sequence[Estimator],
        timing: Timing,
        angle: Source = nothing,
        load: Source = nothing,
    ):
        self._angle, self._load = angle, load
        self._max_angle_ns = int(timing.max_angle_age_ms * 1e6)
        self._max_load_ns = int(timing.max_load_age_ms * 1e6)
        # A model that gives the angle takes none: it is among the first.
        order = sorted(range(len(estimators)), key=lambda k: estimators[k].uses_angle)
        self._order = [(k, estimators[k]) for k in order]
        self.takes_joint = any(e.uses_angle or e.uses_load for e in estimators)
        self.joint: Joint | None = None

    def of(self, tick: int, t_tick_ns: int) -> Iterator[tuple[int, Estimator, Joint | None]]:
        """Place of each model, the model, and what it is given in ``tick``, due at ``t_tick_ns``.

        The angle is asked for when its first model's turn comes: all before have run by then.
        """
        if not self.takes_joint:
            yield from ((k, e, None) for k, e in self._order)
            return
        load = _fresh(self._load(t_tick_ns), t_tick_ns, self._max_load_ns)
        self.joint = Joint(tick, None, load)
        asked = False
        for k, e in self._order:
            if e.uses_angle and not asked:
                angle = _fresh(self._angle(t_tick_ns), t_tick_ns, self._max_angle_ns)
                self.joint, asked = Joint(tick, angle, load), True
            yield k, e, self.joint


def _fresh(reading: Reading, t_tick_ns: int, most_ns: int) -> Reading | None:
    """By the tick's deadline and not by the clock: a replay decides alike."""
    known = reading.t_ns != UNKNOWN_NS and t_tick_ns - reading.t_ns <= most_ns
    return reading if known else None

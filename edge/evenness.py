"""Whether joint angles came as evenly as a model that differentiates them believes.

A model that steps once a tick and remembers takes its angles to be one tick apart.  They are not
quite: the newest there is at a tick is up to one period of the encoder old, and now and then one is
read twice or never.  That costs little.  An encoder that stalls for longer stands still for the
model, and jumps: that costs more than the model's doubt says, until it has forgotten.  Both were
measured: docs/muscle-model.md.
"""

from collections import deque

from models.spec import ModelSpec

SPAN = 15  # angles; from about so many is a speed taken
# Ticks.  One angle read twice is one, and natural; read three times it is two, and dated by its
# arrival a little less.
LIMIT = 1.9


def wants_even(spec: ModelSpec) -> bool:
    """Whether a model steps once a tick and remembers the angles before."""
    return spec.driver == "tick" and bool(spec.states)


class Evenness:
    """Compares the times of the newest ``SPAN`` angles with those of their ticks."""

    def __init__(self, period_ms: float):
        self._period_ns = int(period_ms * 1e6)
        self._limit_ns = int(LIMIT * self._period_ns)
        self._behind_ns: deque[int] = deque(maxlen=SPAN)  # and a constant: none but differences

    def take(self, tick: int, t_ns: int) -> bool:
        """The angle of ``t_ns`` is used in ``tick``; whether it and those before came evenly."""
        behind = self._behind_ns
        behind.append(tick * self._period_ns - t_ns)
        return max(behind) - min(behind) < self._limit_ns

    def forget(self) -> None:
        """The model begins from nothing."""
        self._behind_ns.clear()

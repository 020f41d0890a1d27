"""Fewer bits for a network, as few as a budget allows: which layers pay for it, and which do not.

Everything is decided on recordings to calibrate with; whether the budget is kept is then judged on
others.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.ranges import METHODS, Method, Rows, ranges_of
from export.budget import Budget, Off, measure, worst_share
from export.half import halved
from export.quantize import Target, layers, quantised
from export.streams import OrtNetwork, Played, Stream, play, side_by_side_ms
from models.spec import ModelSpec

MARGIN = 0.7  # DEFAULT: of the budget that may be used up on what is calibrated with
PAYS = 1.1  # DEFAULT: times faster that INT8 must be on this CPU to be worth a network of its own
ROUNDS = 200
REST = "all but the layers"  # is lowered to FP16 as one

Say = Callable[[str], None]
Make = Callable[[Collection[str]], Any]  # layers to lower -> ModelProto


@dataclass(frozen=True)
class Material:
    """What precisions are chosen with: full precision, and what it made of recorded inputs."""

    model: Any  # ModelProto, nodes named
    spec: ModelSpec
    budget: Budget
    rows: Rows  # inputs and states to calibrate ranges with
    learn: Sequence[Stream]
    judge: Sequence[Stream]  # other recordings, or other parts of them
    learn_full: Sequence[Played]
    judge_full: Sequence[Played]


@dataclass(frozen=True)
class Candidate:
    """A network with fewer bits, and what it costs; ``share`` of the budget, on what is judged."""

    precision: str  # "int8", "fp16"
    target: str  # "cpu", "trt"
    model: Any
    off: tuple[Off, ...]
    share: float
    lowered: tuple[str, ...]  # layers
    fell_back: tuple[str, ...]
    ranges: str = ""  # the method that found them

    @property
    def kept(self) -> bool:
        """Within the budget, and a layer was lowered."""
        return self.share <= 1.0 and any(n != REST for n in self.lowered)


def material(
    model: Any, spec: ModelSpec, budget: Budget, rows: Rows,
    learn: Sequence[Stream], judge: Sequence[Stream],
) -> Material:  # fmt: skip
    """Play the recordings through full precision once."""
    full = OrtNetwork(model)
    played = ([play(full, spec, s) for s in streams] for streams in (learn, judge))
    return Material(model, spec, budget, rows, learn, judge, *played)


def int8(m: Material, target: Target, method: Method | None = None, say: Say = print) -> Candidate:
    """INT8 for a target; ranges by ``method``, None: by the one that is least off."""
    names = layers(m.model, target=target)
    makes: dict[Method, Make] = {}
    for name in (method,) if method else METHODS:
        found = ranges_of(m.model, m.rows, name)
        makes[name] = _maker(m, found, target)
    shares = {n: _share(m, make(names)) for n, make in makes.items()} if names else {}
    if len(shares) > 1:
        say(f"int8 {target}: ranges by " + ", ".join(f"{n} {s:.2f}" for n, s in shares.items())
            + " of the budget")  # fmt: skip
    best = min(shares, key=lambda n: shares[n], default=METHODS[0])
    return _lowered(m, "int8", target, makes[best], names, say, best)


def fp16(m: Material, say: Say = print) -> Candidate:
    """FP16 for TensorRT.  It is judged on the CPU, where it runs but is never faster."""
    names = layers(m.model, least=0)
    rest = {n.name for n in m.model.graph.node} - set(names)
    states = [s.output for s in m.spec.states]

    def make(chosen: Collection[str]) -> Any:
        keep = set(names) - set(chosen)
        return halved(m.model, keep | (rest if REST not in chosen else set()), states)

    return _lowered(m, "fp16", "trt", make, [*names, REST], say)


def pays(m: Material, candidate: Candidate) -> tuple[bool, str]:
    """Whether it is faster on this CPU than full precision, and a sentence that says how much."""
    times = side_by_side_ms(
        {"full": OrtNetwork(m.model), "less": OrtNetwork(candidate.model)}, m.rows, ROUNDS
    )
    full, less = (float(np.median(times[k])) for k in ("full", "less"))
    said = f"{candidate.precision} takes {less:.2f} ms, full precision {full:.2f} ms on this CPU"
    return full >= PAYS * less, said


def _maker(m: Material, ranges: Any, target: Target) -> Make:
    states = [s.output for s in m.spec.states]
    return lambda chosen: quantised(m.model, ranges, target, chosen, states)


def _lowered(
    m: Material, precision: str, target: str, make: Make, names: Sequence[str], say: Say,
    ranges: str = "",
) -> Candidate:  # fmt: skip
    """As many layers as the budget allows on ``learn``; then judged."""
    margin, kept = MARGIN, list(names)
    while True:
        kept = _within(m, make, kept, margin, lambda text: say(f"{precision} {target}: {text}"))
        model = make(kept)
        off = tuple(measure(OrtNetwork(model), m.spec, m.judge, m.judge_full))
        share = worst_share(off, m.budget)
        if share <= 1.0 or not kept or margin < MARGIN / 4:
            break
        margin /= 2  # other recordings are harder than those it was calibrated with
    fell = tuple(n for n in names if n not in kept)
    return Candidate(precision, target, model, off, share, tuple(kept), fell, ranges)


def _within(m: Material, make: Make, names: Sequence[str], margin: float, say: Say) -> list[str]:
    """The layers but for the fewest that hurt most, so that ``margin`` of the budget is kept.

    How much one hurts is what lowering it alone does; how many have to go is bisected.
    """
    kept = list(names)
    if not kept or (share := _share(m, make(kept))) <= margin:
        return kept
    say(f"{share:.2f} of the budget with all {len(kept)} layers: which of them hurt?")
    alone = {n: _share(m, make([n])) for n in kept}
    order = sorted(kept, key=lambda n: -alone[n])
    low, high = 1, len(order)  # layers that go: ``high`` surely is enough
    while low < high:
        middle = (low + high) // 2
        if _share(m, make(_but(kept, order[:middle]))) <= margin:
            high = middle
        else:
            low = middle + 1
    say(f"{low} of {len(kept)} stay in full precision: {', '.join(order[: min(low, 5)])}"
        + (" ..." if low > 5 else ""))  # fmt: skip
    return _but(kept, order[:low])


def _but(names: Sequence[str], gone: Collection[str]) -> list[str]:
    return [n for n in names if n not in gone]


def _share(m: Material, model: Any) -> float:
    return worst_share(measure(OrtNetwork(model), m.spec, m.learn, m.learn_full), m.budget)

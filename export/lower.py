"""From a bundle to one that has its network in fewer bits, too, where that keeps a budget and pays.

What is written for whom:

- ``cpu``: INT8 where it is faster on this CPU; FP16 never is.
- ``trt``: FP16, TensorRT's default; INT8 beside it, for a target that finds it faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.ranges import Method, choose
from edge.bundle import MODEL, Bundle
from edge.bundle_index import Error, Network
from export.budget import Budget
from export.compare import Drift, drift
from export.fold import fold
from export.norms import GROUP, INSTANCE, LAYER, decompose
from export.onnx_rules import check, refused, report
from export.precision import Candidate, Material, Say, fp16, int8, material, pays
from export.quantize import Target, named
from export.streams import OrtNetwork, Stream, side_by_side_ms, steps_of

PRECISIONS = ("auto", "fp32", "fp16", "int8")
TARGETS: tuple[Target, ...] = ("cpu", "trt")
CALIBRATED = 96  # DEFAULT: steps that ranges are found on, the most different ones
LONG, LONG_S = 20_000, 10.0  # DEFAULT: steps without a pause, or so many seconds of computing
LEARN, JUDGE = 2500, 5000  # DEFAULT: steps that layers are chosen on and judged by; minutes


@dataclass(frozen=True)
class Wish:
    """What is asked for."""

    precision: str = "auto"
    targets: Sequence[Target] = TARGETS
    method: Method | None = None  # of finding ranges; None: the one that is least off


@dataclass(frozen=True)
class Lowered:
    """What came of it: every candidate that was tried, and a line for each that is not taken."""

    material: Material
    taken: tuple[Candidate, ...]
    tried: tuple[Candidate, ...]
    notes: tuple[str, ...]

    def networks(self) -> list[tuple[Network, bytes]]:
        """As ``write_bundle`` takes them."""
        spec, found = self.material.spec, []
        names = {*(o.name for o in spec.outputs), *spec.map_names}
        for c in self.taken:
            first = not any(o.target == c.target for o in self.taken[: self.taken.index(c)])
            errors = {o.output: Error(o.rms, o.worst) for o in c.off if o.output in names}
            file = f"model.{c.precision}-{c.target}.onnx"
            default = (c.target,) if first else ()
            found.append((Network(file, c.precision, (c.target,), default, errors),
                          c.model.SerializeToString()))  # fmt: skip
        return found


def lower(
    bundle: Bundle, budget: Budget, learn: Sequence[Stream], judge: Sequence[Stream],
    wish: Wish = Wish(), say: Say = print,
) -> Lowered:  # fmt: skip
    """Try what ``wish`` asks for; minutes.

    Raises RangeError for inputs that are not finite, ExportError for a network that cannot be
    folded or whose operators the rules do not know.
    """
    import onnx

    # Folding first: it would store a quantised network's weights as integers.
    plain = fold(onnx.load_from_string(bundle.files[MODEL]))
    model = named(decompose(plain, (LAYER, INSTANCE, GROUP)))
    every = steps_of(OrtNetwork(model), bundle.spec, learn)
    learn, judge = _at_most(learn, LEARN), _at_most(judge, JUDGE)
    rows = [every[k] for k in choose(every, CALIBRATED)]
    say(f"{len(every)} steps to calibrate with, {len(rows)} of them for ranges; "
        f"{sum(map(len, judge))} to judge by")  # fmt: skip
    m = material(model, bundle.spec, budget, rows, learn, judge)
    taken: list[Candidate] = []
    tried: list[Candidate] = []
    notes: list[str] = []

    full = OrtNetwork(model)
    ms = float(np.median(side_by_side_ms({"full": full}, rows, 50)["full"]))

    def long(c: Candidate) -> Drift:
        most = min(LONG, round(LONG_S * 1000 / ms))
        return drift(bundle, full, OrtNetwork(c.model), judge, budget, most)

    def consider(c: Candidate, optional: bool) -> None:
        tried.append(c)
        label = f"{c.precision} for {c.target}"
        broken = refused(check(c.model)) if c.target == "trt" else []
        if broken:
            notes.append(f"no {label}:\n{report(broken)}")
        elif c.kept and bundle.spec.states and (d := long(c)).grows:
            notes.append(f"no {label}: it drifts, from {d.first:.2f} to {d.last:.2f} of the budget")
        elif not c.kept:
            off = f"{c.share:.2f} of the budget" if c.lowered else "no layer keeps the budget"
            notes.append(f"no {label}: {off}: give a larger --budget")
        elif optional and not (verdict := pays(m, c))[0]:
            notes.append(f"no {label}: it does not pay: {verdict[1]}")
        else:
            taken.append(c)

    for target in wish.targets:
        if wish.precision in ("auto", "fp16") and target == "trt":
            consider(fp16(m, say), optional=False)
        if wish.precision in ("auto", "int8"):
            # On TensorRT only the target can tell what pays.
            consider(
                int8(m, target, wish.method, say), wish.precision == "auto" and target == "cpu"
            )
    if wish.precision == "fp16" and "cpu" in wish.targets:
        notes.append("no fp16 for cpu: ONNX Runtime computes it in fp32, casts on top")
    return Lowered(m, tuple(taken), tuple(tried), tuple(notes))


def _at_most(streams: Sequence[Stream], steps: int) -> list[Stream]:
    """The beginning of every one, so that there are about ``steps`` in all."""
    share = steps / max(1, sum(map(len, streams)))
    return [s.part(slice(0, max(1, round(len(s) * share)))) if share < 1 else s for s in streams]

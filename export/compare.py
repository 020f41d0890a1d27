"""The networks of a bundle beside each other: how far off, how fast, how large, and do they drift.

Full precision on ONNX Runtime is what others are held to; itself it is held to PyTorch, as far as
the bundle keeps what PyTorch said (``reference.npz``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import REFERENCE, Bundle, BundleError
from edge.bundle_index import PLAIN
from edge.reference import Off as FromTorch
from edge.reference import compare_with, read_reference
from edge.runtime import Engine, EngineError, open_engine
from edge.runtime.ort import OrtEngine
from edge.runtime.settings import Runtime
from export.budget import Budget, Off, off, worst_share
from export.streams import F32, Network, OrtNetwork, Played, Stream, play, side_by_side_ms

ROUNDS = 400
DRIFT_S = 600.0
GROWN, GROUND = 1.5, 0.02  # DEFAULT: the last tenth over the first, and of the budget anyway
FULL = "fp32"


@dataclass(frozen=True)
class Drift:
    """Over ten minutes: RMS off in the first tenth and in the last, over the output's budget."""

    first: float
    last: float

    @property
    def grows(self) -> bool:
        """Whether errors build up; not a number is as bad."""
        return not self.last <= GROWN * self.first + GROUND


@dataclass(frozen=True)
class Row:
    """One network."""

    name: str  # "fp32", "int8-cpu", ...
    runtime: str  # what ran it here
    bytes: int
    p50_ms: float
    p99_ms: float
    off: tuple[Off, ...]
    share: float  # of the budget
    drift: Drift | None = None


@dataclass(frozen=True)
class Comparison:
    """All rows; ``played``: what each made of the streams, for the figure."""

    rows: tuple[Row, ...]
    missing: tuple[str, ...]  # what could not be run here, and why
    torch: Mapping[str, FromTorch]  # of ONNX Runtime FP32, by output; {} if nothing is kept
    played: Mapping[str, Sequence[Played]]

    @property
    def worst(self) -> float:
        """The largest share of the budget that any of them takes up."""
        shares = [r.share for r in self.rows]
        shares += [r.drift.last for r in self.rows if r.drift]
        return float(np.max([0.0, *shares]))  # NaN, too, is the largest

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "networks": [asdict(r) for r in self.rows],
            "missing": list(self.missing),
            "onnx_runtime_against_reference": {k: o._asdict() for k, o in self.torch.items()},
            "worst_share_of_budget": self.worst,
        }


def compare(bundle: Bundle, streams: Sequence[Stream], budget: Budget) -> Comparison:
    """Play the streams through every network of the bundle that this machine can run."""
    networks: dict[str, Network] = {}
    sizes: dict[str, int] = {}
    runtimes: dict[str, str] = {}
    missing: list[str] = []
    for n in bundle.networks:
        name = n.precision if not n.targets else f"{n.precision}-{'-'.join(n.targets)}"
        networks[name] = OrtNetwork(bundle.files[n.file])
        sizes[name], runtimes[name] = len(bundle.files[n.file]), "ONNX Runtime, CPU"
        if "trt" in n.targets or n.precision == FULL:
            try:
                engine = open_engine(bundle, Runtime(engine="trt", precision=n.precision))
            except EngineError as e:
                missing.append(f"TensorRT {n.precision}: {str(e).splitlines()[0]}")
                continue
            label = f"TensorRT {n.precision}"
            networks[label] = of_engine(engine)
            sizes[label], runtimes[label] = sizes[name], engine.name
    played = {n: [play(net, bundle.spec, s) for s in streams] for n, net in networks.items()}
    rows = [row for s in streams[:3] for row in _some_rows(networks[FULL], bundle, s)]
    times = side_by_side_ms(networks, rows, ROUNDS)
    found = []
    for name, network in networks.items():
        distance = tuple(off(bundle.spec, streams, played[FULL], played[name]))
        drifted = None
        if bundle.spec.states and name != FULL:
            drifted = drift(bundle, networks[FULL], network, streams, budget)
        found.append(
            Row(name, runtimes[name], sizes[name], float(np.median(times[name])),
                float(np.quantile(times[name], 0.99)), distance, worst_share(distance, budget),
                drifted)
        )  # fmt: skip
    return Comparison(tuple(found), tuple(missing), against_torch(bundle), played)


def drift(
    bundle: Bundle, full: Network, other: Network, streams: Sequence[Stream], budget: Budget,
    most: int = 1 << 30,
) -> Drift:  # fmt: skip
    """Both over ten minutes without a pause, or ``most`` steps; the longest recording again and
    again."""
    steps = min(most, round(DRIFT_S * 1000 / bundle.spec.period_ms))
    long = max(streams, key=len).lasting(steps)
    a, b = (play(net, bundle.spec, long) for net in (full, other))
    tenth = steps // 10

    def part(where: slice) -> float:
        cut = [p.part(where) for p in (a, b)]
        return worst_share(off(bundle.spec, [long.part(where)], cut[:1], cut[1:]), budget)

    return Drift(part(slice(0, tenth)), part(slice(steps - tenth, None)))


def against_torch(bundle: Bundle) -> dict[str, FromTorch]:
    """ONNX Runtime on the inputs that the bundle keeps, beside what PyTorch said of them."""
    if REFERENCE not in bundle.files:
        return {}
    engine = OrtEngine(bundle, PLAIN)
    try:
        return compare_with(read_reference(bundle.files[REFERENCE]), bundle.spec, engine)
    except ValueError as e:
        raise BundleError(f"{bundle.id}: {e}: export it again") from e
    finally:
        engine.close()


def of_engine(engine: Engine) -> Network:
    """An engine as a function of its inputs."""

    def run(feed: Mapping[str, F32]) -> Mapping[str, NDArray[Any]]:
        for name, x in feed.items():
            engine.inputs[name][...] = x
        engine.run()
        return {name: x.copy() for name, x in engine.outputs.items()}

    return run


def _some_rows(full: Network, bundle: Bundle, stream: Stream) -> list[dict[str, F32]]:
    return play(full, bundle.spec, stream.part(slice(0, 50)), keep_rows=True).rows

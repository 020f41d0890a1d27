"""The contract of a model: what goes in, how it is prepared, what comes out.  No torch here.

A spec is JSON and travels inside the bundle; training and the device build the same
preprocessing from the same ``Step`` list (``edge/preprocess.py``).
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from firmware_bridge.types import Output

SPEC_VERSION = 1
OPEN_ENDS = ("min", "max", "max_sd")  # of a range: the only numbers that may be infinite
MOST = 1 << 26  # elements of a tensor
LONGEST = 200  # characters of a name
JOINT_UNITS = {"angle": "deg", "load": "kg"}


class SpecError(ValueError):
    """A spec that cannot be used; the message names the field."""


@dataclass(frozen=True)
class Step:
    """One preprocessing step: ``op`` names a function of ``edge/preprocess.py``."""

    op: str
    args: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """One tensor of the network.

    ``us``: the newest frame, through ``steps``, as ``shape``.
    ``emg``: ``hop`` new samples of ``channels`` at ``rate_hz`` make one model step.
    ``angle`` in deg, ``load`` in kg: the newest one, ``(1, 1)``, from ``min`` to ``max``.
    """

    name: str
    shape: tuple[int, ...]
    source: Literal["us", "emg", "angle", "load"]
    steps: tuple[Step, ...] = ()
    dtype: str = "float32"
    rate_hz: float = 0.0  # emg: sampling rate the steps are designed for
    hop: int = 0  # emg: samples per model step
    channels: tuple[str, ...] = ()  # emg: electrodes, in this order
    kind: Literal["bmode", "rf", ""] = ""  # us: what the frames must be
    min: float = -math.inf  # angle, load: where the model was validated; elsewhere is FAULT
    max: float = math.inf


@dataclass(frozen=True)
class State:
    """A recurrent state: output tensor ``output`` of one step is input ``input`` of the next."""

    input: str
    output: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelSpec:
    """Everything the device needs to know about a network."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]  # one per element of the values tensor, in SI-style clinic units
    period_ms: float  # time between model steps it was trained for
    values: str = "values"  # output tensor (1, n); "" if there are no outputs
    sd: str = ""  # output tensor (1, n), same units; "" = none
    states: tuple[State, ...] = ()
    wearer: str = ""  # who it is calibrated to; "" = nobody in particular
    maps: str = ""  # output tensor (1, k, lines, samples): where what is; "" = none
    map_names: tuple[str, ...] = ()  # what each of the k maps is the probability (0..1) of
    delay_ms: float = 0.0  # values are of this long before the newest datum: a smoother waits
    settle_ms: float = 0.0  # after it began from nothing, values of this long are not to be used
    ahead: str = ""  # output tensor (1, k * n): all values at each time of ahead_ms; "" = none
    ahead_ms: tuple[float, ...] = ()  # after the time that values are of, rising
    version: int = SPEC_VERSION

    @property
    def driver(self) -> Literal["emg", "us", "tick"]:
        """What makes a step: a hop of samples; without EMG a frame; without either, a tick."""
        sources = {i.source for i in self.inputs}
        return "emg" if "emg" in sources else "us" if "us" in sources else "tick"

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every tensor that is fed, by name: inputs, then states."""
        return {i.name: i.shape for i in self.inputs} | {s.input: s.shape for s in self.states}

    @property
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every tensor that it gives, by name: values, SD, maps, what comes, then states."""
        n = len(self.outputs)
        shapes: dict[str, tuple[int, ...]] = {x: (1, n) for x in (self.values, self.sd) if x}
        if self.maps:  # on the grid of the image they belong to
            image = next(i.shape for i in self.inputs if i.source == "us")
            shapes[self.maps] = (1, len(self.map_names), *image[-2:])
        if self.ahead:
            shapes[self.ahead] = (1, len(self.ahead_ms) * n)
        return shapes | {s.output: s.shape for s in self.states}

    def to_json(self) -> str:
        """Pretty JSON; ``from_json`` gives an equal spec back."""
        return json.dumps(_plain(dataclasses.asdict(self)), indent=1, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "ModelSpec":
        """Parse and validate.  Raises SpecError."""
        try:
            raw = json.loads(text)
        except ValueError as e:
            raise SpecError(f"spec is not JSON: {e}") from e
        return spec_from_dict(raw)


def spec_from_dict(raw: Any) -> ModelSpec:
    """Build a spec from parsed JSON and check that its parts fit.  Raises SpecError."""
    if not isinstance(raw, dict) or raw.get("version") != SPEC_VERSION:
        raise SpecError(f"spec version {SPEC_VERSION} expected; export the model again")
    parts = dict(raw)
    try:
        parts["inputs"] = tuple(_input(i) for i in raw["inputs"])
        parts["outputs"] = tuple(_output(o) for o in raw["outputs"])
        parts["states"] = tuple(
            State(**{**s, "shape": tuple(s["shape"])}) for s in raw.get("states", ())
        )
        parts["map_names"] = tuple(raw.get("map_names", ()))
        parts["ahead_ms"] = tuple(map(float, raw.get("ahead_ms", ())))
        spec = ModelSpec(**parts)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as e:
        raise SpecError(f"spec has a missing or unknown field, or a malformed one: {e}") from e
    _check_types(spec, "spec")
    _check(spec)
    return spec


def _input(raw: dict[str, Any]) -> Input:
    steps = tuple(Step(s["op"], dict(s.get("args", {}))) for s in raw.get("steps", ()))
    channels = tuple(raw.get("channels", ()))
    low, high = raw.get("min"), raw.get("max")
    parts = {
        "shape": tuple(raw["shape"]),
        "steps": steps,
        "channels": channels,
        "min": -math.inf if low is None else float(low),
        "max": math.inf if high is None else float(high),
    }
    return Input(**{**raw, **parts})


def _output(raw: dict[str, Any]) -> Output:
    lo, hi, sd = raw.get("min"), raw.get("max"), raw.get("max_sd")
    return Output(
        raw["name"],
        raw["unit"],
        -math.inf if lo is None else float(lo),
        math.inf if hi is None else float(hi),
        math.inf if sd is None else float(sd),
    )


def _check_types(part: Any, where: str) -> None:
    """Every field is of the type that stands beside it above, all the way down."""
    for name, kind in get_type_hints(type(part)).items():
        _check_type(getattr(part, name), kind, f"{where}.{name}", name in OPEN_ENDS)


def _check_type(value: Any, kind: Any, where: str, open_end: bool) -> None:
    choices = get_args(kind)
    if dataclasses.is_dataclass(kind):
        _check_types(value, where)
    elif get_origin(kind) is tuple:
        for v in value:
            _check_type(v, choices[0], where, open_end)
    elif get_origin(kind) is dict:
        for k, v in value.items():
            _check_type(k, choices[0], where, open_end)
            _check_type(v, choices[1], where, open_end)
    elif get_origin(kind) is Literal:
        if value not in choices:
            raise SpecError(f"{where}: {value!r} is not one of {', '.join(choices)}")
    elif kind is str:
        # Names reach terminals, logs and the device at the other end of the line.
        if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST:
            raise SpecError(f"{where} must be up to {LONGEST} printable characters, is {value!r}")
    elif kind is int:
        if type(value) is not int or abs(value) > MOST:
            raise SpecError(f"{where} must be a whole number, is {value!r}")
    elif type(value) not in (int, float) or not (
        abs(value) < 1e300 or (open_end and abs(value) == math.inf)
    ):
        raise SpecError(f"{where} must be a finite number, is {value!r}")


def _check(spec: ModelSpec) -> None:
    if not spec.name:
        raise SpecError("spec has no name")
    if not spec.inputs or not (spec.outputs or spec.maps):
        raise SpecError(f"spec {spec.name!r} has no inputs, or neither outputs nor maps")
    if not spec.period_ms > 0:
        raise SpecError(f"spec {spec.name!r}: period_ms must be positive, is {spec.period_ms}")
    names = [i.name for i in spec.inputs] + [s.input for s in spec.states]
    if len(set(names)) != len(names):
        raise SpecError(f"spec {spec.name!r}: input names repeat: {names}")
    for i in spec.inputs:
        if i.source == "emg" and not (i.rate_hz > 0 and i.hop > 0 and i.channels):
            raise SpecError(f"input {i.name!r}: an emg input needs rate_hz, hop and channels")
        if i.dtype != "float32":
            raise SpecError(f"input {i.name!r}: only float32, not {i.dtype}")
    for shape in (*(i.shape for i in spec.inputs), *(s.shape for s in spec.states)):
        if min(shape, default=1) < 1 or math.prod(shape) > MOST:
            raise SpecError(f"spec {spec.name!r}: no tensor is as small, or as large, as {shape}")
    _check_joint(spec)
    _check_outputs(spec)


def _check_joint(spec: ModelSpec) -> None:
    for i in spec.inputs:
        if i.source not in JOINT_UNITS:
            if (i.min, i.max) != (-math.inf, math.inf):
                raise SpecError(f"input {i.name!r}: only an angle or a load has min and max")
            continue
        if i.shape != (1, 1):
            raise SpecError(f"input {i.name!r}: {i.source} has the shape (1, 1), not {i.shape}")
        if not -math.inf < i.min < i.max < math.inf:
            raise SpecError(
                f"input {i.name!r}: min and max must say between which {JOINT_UNITS[i.source]} the"
                f" model was validated, are {i.min}, {i.max}"
            )
        if i.steps or i.rate_hz or i.hop or i.channels or i.kind:
            raise SpecError(f"input {i.name!r}: {i.source} has no steps, rate, channels or kind")
    sources: list[str] = [i.source for i in spec.inputs]
    for source in JOINT_UNITS:
        if sources.count(source) > 1:
            raise SpecError(f"spec {spec.name!r}: one {source} input is enough")
    if set(sources) == {"load"}:  # one that holds until it is changed: it dates nothing
        raise SpecError(f"spec {spec.name!r}: a load alone has no time: add another input")


def _check_outputs(spec: ModelSpec) -> None:
    if not spec.outputs and (spec.values or spec.sd):
        raise SpecError(
            f"spec {spec.name!r} has no outputs: values and sd must be empty, not"
            f" {spec.values!r}, {spec.sd!r}"
        )
    if spec.outputs and not spec.values:
        raise SpecError(f"spec {spec.name!r} has outputs: values must name their tensor")
    for o in spec.outputs:
        if not o.max_sd > 0:
            raise SpecError(f"output {o.name!r}: max_sd must be positive, is {o.max_sd}")
        if o.max_sd < math.inf and not spec.sd:
            raise SpecError(f"output {o.name!r}: max_sd needs a network that gives sd")
    if bool(spec.maps) != bool(spec.map_names):
        raise SpecError(f"spec {spec.name!r}: maps and map_names go together")
    if spec.maps and not any(i.source == "us" for i in spec.inputs):
        raise SpecError(f"spec {spec.name!r}: maps lie over an image; it has no us input")
    for name in ("delay_ms", "settle_ms"):
        if not 0 <= (value := getattr(spec, name)) < math.inf:
            raise SpecError(f"spec {spec.name!r}: {name} must be 0 or more, is {value}")
    if spec.ahead and spec.sd:
        raise SpecError(f"spec {spec.name!r}: ahead has no SD of its own: leave out one of the two")
    times = (0.0, *spec.ahead_ms)
    if bool(spec.ahead) != bool(spec.ahead_ms) or (spec.ahead and not spec.values):
        raise SpecError(f"spec {spec.name!r}: ahead and ahead_ms go together, and with values")
    if not all(a < b < math.inf for a, b in zip(times, times[1:], strict=False)):
        raise SpecError(f"spec {spec.name!r}: ahead_ms must rise from above 0, is {spec.ahead_ms}")
    given = [spec.values, spec.sd, spec.maps, spec.ahead, *(s.output for s in spec.states)]
    names = [n for n in given if n]
    if len(set(names)) != len(names) or len(set(spec.map_names)) != len(spec.map_names):
        raise SpecError(f"spec {spec.name!r}: output names repeat: {names}, {spec.map_names}")


def _plain(value: Any) -> Any:
    """JSON has no infinity: an open range end is null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return value

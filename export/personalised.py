"""A bundle for one wearer: the population's network with that wearer's map behind it."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.phases import CalibrationError
from calibration.prior import FILE as PRIOR
from calibration.recorded import Replayed, estimates_of
from calibration.subject import FILE, Quality, SubjectMap
from edge.bundle import CARD, MODEL, Bundle, BundleError, load_bundle
from edge.bundle_index import Error, Network
from export.bundle import write_bundle
from export.onnx_affine import Affine, append_affine
from export.onnx_spec import stamp
from firmware_bridge.recording import Recording
from firmware_bridge.types import Output
from models.spec import ModelSpec

KEPT = ("metrics.json", "calibration.json")
TOLERANCE = 1e-5  # of the largest magnitude of an output


def personal_spec(spec: ModelSpec, m: SubjectMap) -> ModelSpec:
    """The contract of the personalised network; never more permissive than the population's.

    Values must be plausible before and after the map.  Where it shrinks the SD, ``max_sd`` shrinks
    with it: the pictures that the network doubts are the same ones.
    """
    outputs = tuple(
        _narrowed(o, *numbers)
        for o, *numbers in zip(spec.outputs, m.gain, m.offset, m.sd_gain, strict=True)
    )
    return replace(
        spec,
        outputs=outputs,
        values=f"{spec.values}_wearer",
        sd=f"{spec.sd}_wearer" if spec.sd else "",
        ahead=f"{spec.ahead}_wearer" if spec.ahead else "",
        wearer=m.wearer,
    )


def _narrowed(o: Output, gain: float, offset: float, sd_gain: float) -> Output:
    low, high = max(o.min, gain * o.min + offset), min(o.max, gain * o.max + offset)
    if not low < high:
        raise CalibrationError(f"{o.name}: the map leaves nothing of its range: record it again")
    return replace(o, min=low, max=high, max_sd=o.max_sd * min(1.0, sd_gain))


def write_personalised(
    bundle: Bundle, m: SubjectMap, recording: Recording, replayed: Replayed, people: int, out: Path
) -> Bundle:
    """Write a new bundle to ``out``, which must not exist; seal it when it proved to be right.

    Proof: the recording through the new bundle gives what the map makes of ``replayed``, the old
    one's estimates, and nothing that was a fault is none now.  ``people``: whom the prior is from.
    Raises BundleError.
    """
    if m.model != bundle.id or bundle.spec.wearer:
        raise BundleError(f"the map is for {m.model}, not for {bundle.id}: personalise again")
    if out.exists():
        raise BundleError(f"{out} exists: choose another folder with --out")
    spec = personal_spec(bundle.spec, m)
    gain, offset, sd_gain = m.float32()
    changes = [Affine(bundle.spec.values, spec.values, gain, offset)]
    if spec.sd:
        changes.append(Affine(bundle.spec.sd, spec.sd, sd_gain, np.zeros_like(sd_gain)))
    if spec.ahead:
        rows = len(spec.ahead_ms)
        later = np.tile(gain, rows), np.tile(offset, rows)
        changes.append(Affine(bundle.spec.ahead, spec.ahead, *later))
    extra: dict[str, str | bytes] = {FILE: m.to_json() + "\n"}
    # Of the population's networks, as the card says.
    extra |= {name: bundle.files[name] for name in KEPT if name in bundle.files}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
            folder = Path(temporary) / out.name
            folder.mkdir()
            for n in bundle.networks:
                append_affine(bundle.files[n.file], folder / n.file, changes)
                stamp(folder / n.file, spec)
            card = bundle.text(CARD) + section(m, recording, people)
            networks = [_rescaled(n, m) for n in bundle.networks if n.file != MODEL]
            made = write_bundle(folder, spec, card, extra, networks)
            _prove(m, replayed, estimates_of(recording, made))
            folder.rename(out)
    except OSError as e:
        raise BundleError(f"{e.filename or out}: {e.strerror}: choose another --out") from e
    return load_bundle(str(out.resolve()))


def _rescaled(n: Network, m: SubjectMap) -> Network:
    """What fewer bits cost, behind the map."""
    factor = dict(zip(m.outputs, map(abs, m.gain), strict=True))
    errors = {
        name: Error(*(x * factor.get(name, 1.0) for x in error)) for name, error in n.errors.items()
    }
    return replace(n, errors=errors)


def _prove(m: SubjectMap, old: Replayed, new: Replayed) -> None:
    values, sd = m.apply(old.values, old.sd)
    for wanted, found in ((values, new.values), (sd, new.sd)):
        if wanted is None or found is None:
            continue
        limit = TOLERANCE * max(
            1.0, float(np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted)))
        )
        if not np.allclose(found, wanted, rtol=0.0, atol=limit, equal_nan=True):
            raise BundleError("the new network does not give what the map says: report this")
    if (old.faults & ~new.faults).any():
        raise BundleError("the new network hides faults of the old one: report this")


def section(m: SubjectMap, recording: Recording, people: int) -> str:
    """What the card says about the wearer, as Markdown."""
    source = ", ".join(
        f"{name} `{recording.meta[name]}`" for name in ("probe", "emg") if recording.meta.get(name)
    )
    learned = f"learned from {people} people" if people else f"DEFAULT, for want of a {PRIOR}"
    head = (
        "| output | fitted | gain | offset | factor on SD | routine, s | r | RMSE before | after |"
    )
    lines = [head, "|---" * 9 + "|"]
    for k, (name, q) in enumerate(zip(m.outputs, m.quality, strict=True)):
        numbers = f"{m.gain[k]:.3f} | {m.offset[k]:.3g} | {m.sd_gain[k]:.3f}"
        lines.append(f"| `{name}` | {q.fitted} | {numbers} | {_cells(q)} |")
    table = "\n".join(lines)
    return f"""
## Personalised to `{m.wearer}`
Everything above is about `{m.model}`, the network before. Behind it now stand a gain and an offset
per output, from a routine in `{recording.path.name}` ({source}), {m.date}; shrinkage: {learned}.
The errors are those on the routine itself, where every phase counts the same, not on new data.

{table}
"""


def _cells(q: Quality) -> str:
    numbers = (q.correlation, q.rmse_before, q.rmse_after)
    return f"{q.seconds:.0f} | " + " | ".join("-" if x is None else f"{x:.3g}" for x in numbers)

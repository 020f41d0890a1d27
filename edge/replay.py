"""``sonomyo replay``: run a recording through its models again and compare the states bit by bit.

Each recorded row of times says which frame and which samples its tick had used; the same cuts
through the same estimator give the same values, and the same FAULT, on the same machine.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from edge.bundle import Bundle, BundleError, load_bundle
from edge.carry import Carry, foreseen
from edge.config import Config, ConfigError, parse_config
from edge.estimate import Estimator, Sources
from edge.joint import NOTHING, Joint, Reading, joint_of
from edge.joint_plan import plan_joint
from edge.joint_source import angle_of
from edge.runtime import EngineError, open_engine
from edge.runtime.settings import CHOICES
from edge.tick import join
from edge.turns import Source, Turns
from firmware_bridge.recording import Recording, RecordingError, open_recording
from firmware_bridge.recording_format import JOINT
from firmware_bridge.types import Chunk, Flag, Frame
from models.spec import SpecError

F32 = NDArray[np.float32]
CONFIG = "the recording's configuration"  # what messages call it


@dataclass
class Report:
    """What the comparison found.  ``gaps`` are ticks whose inputs were not recorded."""

    states: int = 0
    equal: int = 0
    different: int = 0
    gaps: int = 0
    max_difference: float = 0.0
    first_difference: int = -1

    @property
    def ok(self) -> bool:
        """Every state was there and equal."""
        return self.states > 0 and self.different == 0 and self.gaps == 0


class Cutter:
    """Gives each tick the frame and samples it had: ``cut(us_seq, emg_seq)``, in recorded order."""

    def __init__(self, recording: Recording, images: bool):
        self._images = images
        self._frames: Iterator[Frame] = iter(recording.frames() if images else ())
        self._chunks: Iterator[Chunk] = iter(recording.chunks() if recording.emg_info else ())
        self._frame: Frame | None = None
        self._emg_seq = 0

    def cut(self, us_seq: int, emg_seq: int) -> tuple[Frame | None, list[Chunk], bool]:
        """Newest frame, new chunks, and whether all of them were in the recording."""
        frame = self._frame
        while self._images and us_seq >= 0 and (frame is None or frame.seq < us_seq):
            frame = next(self._frames, None)
            if frame is None:
                break
            self._frame = frame
        complete = not self._images or us_seq < 0 or (frame is not None and frame.seq == us_seq)
        chunks: list[Chunk] = []
        while self._emg_seq < emg_seq:
            chunk = next(self._chunks, None)
            if chunk is None:
                return frame, chunks, False
            chunks.append(chunk)
            self._emg_seq = chunk.seq + len(chunk.data)
        return frame if us_seq >= 0 else None, chunks, complete


class Joints:
    """Gives each tick the joint angle and load it had: ``find(tick)``, then ``turns``.

    An angle that a model gave is not taken from the recording but found out again.
    """

    def __init__(self, recording: Recording, estimators: list[Estimator], config: Config):
        rows = recording.joint()
        self._rows = dict(zip(rows["tick"].tolist(), rows, strict=True))
        self._now = Joint(-1)
        angle: Source = self._angle
        if any(e.uses_angle for e in estimators):
            plan = plan_joint(config, [e.spec for e in estimators])
            if plan.angle_output:
                angle = angle_of(estimators[plan.angle_output[0]], plan.angle_output[1])
        self.turns = Turns(estimators, config.timing, angle, self._load)

    def find(self, tick: int) -> bool:
        """Whether it was recorded, where a model takes it."""
        row = self._rows.get(tick)
        self._now = Joint(tick) if row is None else joint_of(row)
        return row is not None or not self.turns.takes_joint

    def _angle(self, _: int) -> Reading:
        return self._now.angle or NOTHING

    def _load(self, _: int) -> Reading:
        return self._now.load or NOTHING


def estimators_of(recording: Recording, bundles: list[str], engine: str = "") -> list[Estimator]:
    """The recording's own models (same hash), or the ones named instead.

    They run as they were configured to, or by ``engine`` instead, as in ``runtime.engine``.
    """
    runtime = parse_config(recording.meta.get("config", ""), CONFIG).runtime
    runtime = replace(runtime, engine=engine or runtime.engine, build=False)
    if bundles:
        found = [load_bundle(b) for b in bundles]
    else:
        found = [_same(i, p) for i, p in recording.meta.get("bundle_paths", {}).items()]
    emg = recording.emg_info
    sources = Sources(
        recording.geometry,
        emg.fs_hz if emg else 0.0,
        tuple(emg.channels) if emg else (),
        angle=JOINT in recording.topics,
        load=JOINT in recording.topics,
    )
    return [Estimator(b, sources, open_engine(b, runtime)) for b in found]


def engines_now(recording: Recording, estimators: list[Estimator]) -> str:
    """What runs the models now and ran them then, for people; "" if that is the same."""
    then: dict[str, str] = recording.meta.get("engines", {})
    other = [e for e in estimators if e.engine.name != then.get(e.id, e.engine.name)]
    return "; ".join(f"{e.id} ran on {then[e.id]}, now on {e.engine.name}" for e in other)


def _same(ident: str, path: str) -> Bundle:
    """The bundle a recording was made with: where it was, or shipped under its name."""
    name = ident.partition("@")[0]
    for place in (path, name):
        try:
            bundle = load_bundle(place)
        except BundleError:
            continue
        if bundle.id == ident:
            return bundle
    raise BundleError(f"the recording was made with {ident}, which is not here: name it --bundle")


def replay(recording: Recording, estimators: list[Estimator]) -> Report:
    """Run every recorded tick again and compare what it sent."""
    report = Report()
    results: dict[int, _Again | None] = {}
    cutter = Cutter(recording, any(e.uses_us for e in estimators))
    config = parse_config(recording.meta.get("config", ""), CONFIG)
    carry = Carry(estimators, config.timing.period_ms)
    joints = Joints(recording, estimators, config)
    rows = iter(recording.stamps())
    states = {s.seq: s for s in recording.states()}
    for row in rows:
        tick, behind = int(row["tick"]), int(row["late"])
        if not behind and tick not in results:  # one that was sent late has two rows
            frame, chunks, complete = cutter.cut(int(row["us_seq"]), int(row["emg_seq"]))
            complete &= joints.find(tick)
            stepped = [False] * len(estimators)
            for k, e, joint in joints.turns.of(tick, int(row["t_tick_ns"])):
                hops = [hop for chunk in chunks for hop in e.hear(chunk)]
                stepped[k] = e.update(frame, e.look(frame) if frame else (), hops, joint)
            ahead = carry.look(stepped)
            fault = any(e.fault for e in estimators)
            results[tick] = _Again(*join(estimators)[:2], ahead, fault) if complete else None
            results.pop(tick - 1000, None)
        if not row["sent_ns"] or tick not in states:
            continue
        if states[tick].flags & Flag.FAULT and np.isnan(states[tick].values).all():
            continue  # paused by the receiver, or the inference itself failed: nothing was claimed
        report.states += 1
        sent = states[tick]
        again = results.get(tick - behind)
        values = again.sent(behind if sent.flags & Flag.PREDICTED else 0) if again else None
        same_fault = again is not None and again.fault == bool(sent.flags & Flag.FAULT)
        _compare(report, tick, _all(sent.values, sent.sd), values, same_fault)
    return report


@dataclass(frozen=True)
class _Again:
    """What a tick computed, once more."""

    values: F32
    sd: F32 | None
    ahead: F32 | None
    fault: bool

    def sent(self, behind: int) -> F32:
        """As the state of the tick ``behind`` ticks later, foreseen; 0: as it is."""
        later = foreseen(self.ahead, behind) if behind else self.values
        return _all(np.full_like(self.values, np.nan) if later is None else later, self.sd)


def _all(values: F32, sd: F32 | None) -> F32:
    """Values and their SD, to be compared as one."""
    return values if sd is None else np.concatenate([values, sd])


def _compare(report: Report, tick: int, sent: F32, again: F32 | None, same_fault: bool) -> None:
    if again is None:
        # A tick before any result sends NaN; there is nothing to compute again.
        report.gaps += not np.isnan(sent).all()
        report.equal += bool(np.isnan(sent).all())
    elif same_fault and np.array_equal(sent.view(np.uint32), again.view(np.uint32)):
        report.equal += 1
    else:
        report.different += 1
        if report.first_difference < 0:
            report.first_difference = tick
        difference = float(np.fmax.reduce(np.abs(sent - again), initial=0.0))  # of NaN: none
        report.max_difference = max(report.max_difference, difference)


def add_args(p: argparse.ArgumentParser) -> None:
    """Arguments of ``sonomyo replay``."""
    p.add_argument("recording", type=Path)
    p.add_argument(
        "--bundle", action="append", default=[], help="another model instead; repeatable"
    )
    p.add_argument("--engine", default="", choices=CHOICES["engine"], help="as runtime.engine")
    p.add_argument("--json", action="store_true", help="print the report as one line of JSON")


def main(a: argparse.Namespace) -> int:
    """Exit code 0: every state came out bit-equal, FAULT too; 1: not; 2: it could not be run."""
    try:
        recording = open_recording(a.recording)
        estimators = estimators_of(recording, a.bundle, a.engine)
        if other := engines_now(recording, estimators):
            print(f"sonomyo replay: {other}: expect other last digits", file=sys.stderr)
        if not estimators:
            raise BundleError("the recording has no model: name one with --bundle")
        report = replay(recording, estimators)
    except (RecordingError, ConfigError, BundleError, EngineError, SpecError) as e:
        print(f"sonomyo replay: {e}", file=sys.stderr)
        return 2
    if a.json:
        print(json.dumps(asdict(report)))
    else:
        Console(highlight=False).print(
            f"{report.states} states: {report.equal} bit-equal, {report.different} different "
            f"(largest {report.max_difference:g}, first at tick {report.first_difference}), "
            f"{report.gaps} with inputs missing from the recording"
        )
    return 0 if report.ok else 1

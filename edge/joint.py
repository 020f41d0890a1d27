"""Joint angle and load: what a tick knows of them, and the newest that a device has sent."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.links.commands import Command, Encoder, Load
from firmware_bridge.links.packet import Status
from firmware_bridge.recording_format import JOINT_DTYPE
from firmware_bridge.types import UNKNOWN_NS

AGAIN_NS = 1_000_000_000  # a device whose numbers went back for longer has been restarted


@dataclass(frozen=True, slots=True)
class Reading:
    """A joint angle in deg or a load in kg; ``t_ns`` is when it was so."""

    value: float = math.nan
    t_ns: int = UNKNOWN_NS


NOTHING = Reading()


@dataclass(frozen=True, slots=True)
class Joint:
    """What the models are given in one tick; None where nothing is known, or nothing fresh."""

    tick: int
    angle: Reading | None = None
    load: Reading | None = None

    def row(self) -> NDArray[np.void]:
        """As it is recorded: ``(1,)`` of ``JOINT_DTYPE``; ``joint_of`` gives it back."""
        angle, load = self.angle or NOTHING, self.load or NOTHING
        return np.array([(self.tick, angle.value, angle.t_ns, load.value, load.t_ns)], JOINT_DTYPE)


def joint_of(row: np.void) -> Joint:
    """What a tick was given, from its recorded row."""
    tick, angle_deg, angle_ns, load_kg, load_ns = row.item()
    return Joint(
        tick,
        None if angle_ns == UNKNOWN_NS else Reading(angle_deg, angle_ns),
        None if load_ns == UNKNOWN_NS else Reading(load_kg, load_ns),
    )


class Newest:
    """The newest of one kind of measurement.

    One thread at a time calls ``put``; any thread reads ``reading``, which is replaced as a whole.
    """

    def __init__(self) -> None:
        self.reading = NOTHING
        self.outdated = 0  # measurements that came after a newer one, or a second time
        self._seq = 0

    def put(self, seq: int, value: float, t_ns: int) -> None:
        """Take a measurement, unless it is older than what is here by its time or by its number.

        A command that is sent again has the old number and says the age it had at first: without
        the number it would pass for new.
        """
        was = self.reading
        step = (seq - self._seq) & 0xFFFF_FFFF
        again = step == 0 or (step >= 0x8000_0000 and t_ns - was.t_ns < AGAIN_NS)
        if was.t_ns != UNKNOWN_NS and (again or t_ns < was.t_ns):
            self.outdated += 1
            return
        self._seq, self.reading = seq, Reading(value, t_ns)


class Inbox:
    """What one link's device says of the joint; ``take`` is the link's ``watch``.

    It refuses what it could only misread: a load in another unit, a measurement without its age.
    """

    def __init__(self, angle: bool, load: bool):
        self.angle, self.load = Newest(), Newest()
        self._wants_angle, self._wants_load = angle, load

    def take(self, command: Command) -> Status:
        """Keep an ENCODER's angle or a LOAD, if it is wanted; how it is answered."""
        match command:
            case Encoder(seq=seq, t_ns=t_ns, angle_deg=angle) if self._wants_angle:
                if t_ns == UNKNOWN_NS:
                    return Status.OUT_OF_RANGE
                self.angle.put(seq, angle, t_ns)
            case Load(seq=seq, t_ns=t_ns, value=value, unit=unit) if self._wants_load:
                if t_ns == UNKNOWN_NS or unit != "kg":
                    return Status.OUT_OF_RANGE
                self.load.put(seq, value, t_ns)
        return Status.OK

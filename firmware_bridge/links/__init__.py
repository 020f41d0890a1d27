"""Links to rehab devices: ``open_link(address)`` picks the driver by the address's scheme."""

from collections.abc import Callable
from typing import Protocol

from firmware_bridge.links.commands import Command
from firmware_bridge.links.packet import Info, Status
from firmware_bridge.types import Device, DeviceError, MuscleState

HELLO_NS = 3_000_000_000  # a receiver that said nothing for this long is not there


class Link(Device, Protocol):
    """Muscle state out, commands in.

    ``send`` and ``send_info`` are for real-time threads, and may be called from several: they never
    block and never raise.  ``counters["sent"]`` grows with every state; the others mean trouble.

    ``watch``, if set, sees every valid command the moment it is decoded, on whichever thread reads
    the port (one at a time), and never raises; one it does not answer OK is refused.
    """

    watch: Callable[[Command], Status] | None

    def send(self, state: MuscleState, at_ns: int = 0) -> int:
        """Hand a state over; when that was (``t_ns``), or 0: not accepted, and counted.

        Its age is that of this moment, or of ``at_ns`` if that is still to come: then it is handed
        over exactly then, and the caller's thread spins until then, so call it shortly before.
        """

    def send_info(self, info: Info) -> bool:
        """Say what the values mean; once a second.  False: not accepted, and counted."""

    def commands(self) -> list[Command]:
        """The valid commands that arrived since the last call; never blocks."""

    def poll(self) -> None:
        """Decode what has arrived by now, for a real-time thread that wants the newest; bounded,
        never blocks, never raises.  Without it a thread of the link's own does so in a moment.
        """

    def peer_alive(self, now_ns: int) -> bool:
        """Whether a receiver said HELLO within ``HELLO_NS``; ``now_ns`` is CLOCK_MONOTONIC."""


def open_link(address: str) -> Link:
    """Open ``serial:…``; see the driver's docstring.

    Raises DeviceError with the remedy when the address is wrong or the port is not there.
    """
    scheme, _, _ = address.partition(":")
    if scheme == "serial":
        from firmware_bridge.links.serial import open_serial

        return open_serial(address)
    raise DeviceError(f"no link driver for {address!r}; known: serial:")

"""Control requests to a ``usb:`` probe: claim, ask, set, make safe.

USBError is the caller's, except where it means that a setting was refused.
"""

import contextlib
import errno
from typing import Any

from firmware_bridge.probes import wire
from firmware_bridge.probes.wire import Capability, Info, Request, Status
from firmware_bridge.types import DeviceError

SETTINGS = {  # name: request, capability, steps per unit, field of Info
    "depth_mm": (Request.DEPTH, Capability.DEPTH, 10, "depth"),
    "gain_db": (Request.GAIN, Capability.GAIN, 10, "gain"),
    "fps": (Request.RATE, Capability.RATE, 100, "rate"),
}


def claim(dev: Any) -> None:
    """Take the device from its kernel driver; SET_CONFIGURATION puts it into a known state."""
    import usb.util

    with contextlib.suppress(NotImplementedError):  # systems without kernel drivers
        if dev.is_kernel_driver_active(0):
            dev.detach_kernel_driver(0)
    dev.set_configuration()
    usb.util.claim_interface(dev, 0)


def ask_info(dev: Any) -> Info:
    """Raises DeviceError when this is no probe of the protocol."""
    try:
        return wire.decode_info(_ask(dev, Request.INFO, wire.INFO_BYTES))
    except ValueError as e:
        raise DeviceError(f"not a probe of the usb: protocol: {e}; check vid:pid") from e


def ask_status(dev: Any) -> Status:
    """Counters and state of the device.  Raises DeviceError when the answer is too short."""
    try:
        return wire.decode_status(_ask(dev, Request.STATUS, wire.STATUS_BYTES))
    except ValueError as e:
        raise DeviceError(f"{e}; unplug the probe and plug it in again") from e


def change(dev: Any, info: Info, name: str, value: float) -> None:
    """Change one of ``SETTINGS``.  Raises DeviceError with the allowed range."""
    request, capability, steps, field = SETTINGS[name]
    if not capability & info.capabilities:
        raise DeviceError(f"this probe cannot change {name}: leave it out of the address")
    limits = getattr(info, field)
    least, most = limits.least / steps, limits.most / steps
    refused = DeviceError(f"{name}={value:g} refused: this probe allows {least:g} to {most:g}")
    if not least <= value <= most:
        raise refused
    try:
        tell(dev, request, round(value * steps))
    except OSError as e:
        raise refused if e.errno == errno.EPIPE else e from e


def start(dev: Any, *, hv: bool) -> None:
    """Begin a run; STOP before it throws old frames away and switches high voltage off."""
    tell(dev, Request.STOP)
    if hv:
        tell(dev, Request.HV, wire.HV_ON)
    tell(dev, Request.START)


def make_safe(dev: Any) -> None:
    """High voltage off, stop.  A probe that is gone has done so by itself."""
    for request in (Request.HV, Request.STOP):
        with contextlib.suppress(OSError):
            tell(dev, request)


def tell(dev: Any, request: Request, value: int = 0) -> None:
    """A request without data; the argument is wValue."""
    dev.ctrl_transfer(0x40, request, value & 0xFFFF, 0)


def _ask(dev: Any, request: Request, nbytes: int) -> bytes:
    return bytes(dev.ctrl_transfer(0xC0, request, 0, 0, nbytes))

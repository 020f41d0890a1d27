"""What is on the USB bus, and what to do when the probe is not there or cannot be had."""

import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_bridge.probes.wire import PRODUCT_ID, VENDOR_ID
from firmware_bridge.types import DeviceError

ENGLISH = 0x0409
UDEV = (
    "no permission; put  "
    f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{VENDOR_ID:04x}", ATTR{{idProduct}}=="{PRODUCT_ID:04x}"'
    ', MODE="0660", GROUP="plugdev"  into /etc/udev/rules.d/70-sonomyo.rules, join the group '
    "plugdev and plug the probe in again"
)


@dataclass(frozen=True, slots=True)
class UsbProbe:
    """A device on the bus; ``bus`` and ``address`` are its place, which changes with every plug."""

    vid: int
    pid: int
    serial: str
    product: str
    bus: int
    address: int
    ours: bool  # has the ids of this protocol
    note: str  # why serial and product are not known

    def __str__(self) -> str:
        known = " ".join(filter(None, (self.product, self.serial)))
        return f"{self.vid:04x}:{self.pid:04x} {known or self.note}".rstrip()


def list_usb(backend: Any = None) -> list[UsbProbe]:
    """Every device on the bus.  Raises DeviceError when there is no bus, or no libusb."""
    return [describe(dev) for dev in _devices(backend)]


def find_usb(vid: int, pid: int, serial: str, backend: Any = None) -> Any:
    """The one ``usb.core.Device`` that fits; an empty serial fits any.  Raises DeviceError."""
    devices = _devices(backend)
    same_kind = [d for d in devices if (d.idVendor, d.idProduct) == (vid, pid)]
    units = [(dev, describe(dev)) for dev in same_kind]  # asks no other device anything
    fitting = [(dev, unit) for dev, unit in units if serial in ("", unit.serial)]
    if len(fitting) == 1:
        return fitting[0][0]
    if fitting:
        choice = ", ".join(f"usb:{unit.serial}" for _, unit in fitting)
        raise DeviceError(f"{len(fitting)} probes are plugged in; choose one: {choice}")
    for _, unit in units:
        if unit.note:
            raise DeviceError(f"USB probe {unit}")
    wanted = f"USB probe {vid:04x}:{pid:04x}" + (f" with serial number {serial}" if serial else "")
    found = "; ".join(str(describe(dev)) for dev in devices) or "nothing"
    raise DeviceError(f"no {wanted}: plug it in, or check cable and power (on the bus: {found})")


def describe(dev: Any) -> UsbProbe:
    """Its strings too, where we may read them."""
    import usb.core
    import usb.util

    serial = product = note = ""
    try:
        serial, product = text(dev, dev.iSerialNumber), text(dev, dev.iProduct)
    except usb.core.USBError as e:
        note = UDEV if e.errno == errno.EACCES else f"it does not answer ({e})"
    finally:
        usb.util.dispose_resources(dev)
    ours = (dev.idVendor, dev.idProduct) == (VENDOR_ID, PRODUCT_ID)
    return UsbProbe(
        dev.idVendor, dev.idProduct, serial, product, dev.bus or 0, dev.address or 0, ours, note
    )


def text(dev: Any, index: int) -> str:
    """String descriptor ``index`` in English, "" if it has none.  Raises USBError.

    Not ``dev.serial_number``: that turns a lack of permission into a lack of languages.
    """
    import usb.util

    try:
        return usb.util.get_string(dev, index, ENGLISH) or ""
    except UnicodeDecodeError:
        return ""


def explain(e: OSError, dev: Any) -> DeviceError:
    """What an error of libusb means for the probe, and the remedy."""
    match e.errno:
        case errno.EACCES:
            why = UDEV
        case errno.EBUSY:
            why = (
                f"in use{users(f'/dev/bus/usb/{dev.bus:03d}/{dev.address:03d}')}: end that program"
            )
        case errno.ENOMEM:
            why = "no kernel memory for its transfers: raise usbcore.usbfs_memory_mb"
        case errno.EPIPE:
            why = "it refused a request of its own protocol: update its firmware"
        case errno.ETIMEDOUT:
            why = "it does not answer: unplug it and plug it in again"
        case _:
            why = f"gone ({e}): plug it in again, or check the cable"
    return DeviceError(f"USB probe at bus {dev.bus} address {dev.address}: {why}")


def _devices(backend: Any) -> list[Any]:
    import usb.core

    if backend is None:
        backend = _libusb()
        if sys.platform == "linux" and not Path("/sys/bus/usb").exists():
            raise DeviceError(
                "this machine has no USB bus (no /sys/bus/usb): use usb:sim, or replay:"
            )
    try:
        return list(usb.core.find(find_all=True, backend=backend))
    except usb.core.USBError as e:
        raise DeviceError(f"the USB bus cannot be listed: {e}") from e


def _libusb() -> Any:
    """The packaged libusb, which sees hot-plugs without udev, or else the system's."""
    import usb.backend.libusb1

    try:
        import libusb_package

        backend = libusb_package.get_libusb1_backend()
    except ImportError:
        backend = None
    backend = backend or usb.backend.libusb1.get_backend()
    if backend is None:
        raise DeviceError("libusb is missing: pip install libusb-package")
    return backend


def users(node: str) -> str:
    """`` by NAME (pid N)`` for the programs that have a file open, as far as we may see."""
    names = []
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(fd) == node:
                process = fd.parent.parent
                names.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
        except OSError:
            continue  # ended meanwhile, or not ours to see
    return " by " + ", ".join(names) if names else ""

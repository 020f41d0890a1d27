"""A USB bus with one ``usb:`` probe on it, inside the process: a pyusb back-end.

Calls, answers, errors and error numbers are those of libusb on Linux, so that everything above
pyusb's back-end interface runs as it does with hardware.
"""

import errno
import itertools
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

from usb.backend import IBackend
from usb.core import USBError, USBTimeoutError

from firmware_bridge.probes import simulated_descriptors as descriptors
from firmware_bridge.probes.simulated_firmware import Firmware
from firmware_bridge.probes.wire import Request

_MESSAGES = {
    errno.EIO: ("Input/Output Error", -1),
    errno.EACCES: ("Access denied (insufficient permissions)", -3),
    errno.ENODEV: ("No such device (it may have been disconnected)", -4),
    errno.EBUSY: ("Resource busy", -6),
    errno.ETIMEDOUT: ("Operation timed out", -7),
    errno.EOVERFLOW: ("Overflow", -8),
    errno.EPIPE: ("Pipe error", -9),
}
_FOREVER_NS = 1 << 62


@dataclass(eq=False)
class _Unit:
    """A probe from plug to unplug."""

    address: int


@dataclass(eq=False)
class _Handle:
    """An opened unit, as one user has it."""

    unit: _Unit


class SimulatedBus(IBackend):  # type: ignore[misc]  # pyusb has no types
    """One port; ``power_up`` makes the firmware that comes with a plug.  Thread-safe."""

    def __init__(
        self,
        power_up: Callable[[], Firmware],
        serial: str = "SIM0001",
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ):
        self.denied = False  # found on the bus, but no permission to open it
        self.kernel_driver = False  # a kernel driver has the interface
        self._power_up, self._serial, self._clock_ns = power_up, serial, clock_ns
        self._addresses = itertools.count(1)
        self._changed = threading.Condition()
        self._unit: _Unit | None = None
        self.plug()

    def plug(self) -> None:
        """Push the plug in: a new address on the bus, a firmware after power-up."""
        with self._changed:
            self.firmware = self._power_up()
            self._unit = _Unit(next(self._addresses))
            self._user: _Handle | None = None
            self._configuration = 0
            self._rest = b""

    def unplug(self) -> None:
        """Pull it out; a pending read ends with EIO."""
        with self._changed:
            self._unit = None
            self._changed.notify_all()

    def inject(self, fault: str, count: int = 1) -> None:
        """Let the next ``count`` frames suffer a fault of ``simulated_faults``."""
        with self._changed:
            self.firmware.inject(fault, count)

    # What pyusb asks for: descriptors

    def enumerate_devices(self) -> list[_Unit]:
        return [self._unit] if self._unit else []

    def get_device_descriptor(self, dev: _Unit) -> SimpleNamespace:
        return descriptors.device(dev.address)

    def get_configuration_descriptor(self, dev: _Unit, config: int) -> SimpleNamespace:
        return (descriptors.CONFIGURATION,)[config]

    def get_interface_descriptor(
        self, dev: _Unit, intf: int, alt: int, config: int
    ) -> SimpleNamespace:
        return ((descriptors.INTERFACE,),)[intf][alt]

    def get_endpoint_descriptor(
        self, dev: _Unit, ep: int, intf: int, alt: int, config: int
    ) -> SimpleNamespace:
        return (descriptors.BULK_IN,)[ep]

    # What pyusb asks for: who has it

    def open_device(self, dev: _Unit) -> _Handle:
        handle = _Handle(dev)
        self._check(handle)
        if self.denied:
            raise _usb_error(errno.EACCES)
        return handle

    def close_device(self, handle: _Handle) -> None:
        if self._user is handle:
            self._user = None

    def set_configuration(self, handle: _Handle, value: int) -> None:
        with self._changed:
            self._check(handle)
            if self._user or self.kernel_driver:
                raise _usb_error(errno.EBUSY)
            self._configuration = value
            self.firmware.stop(self._clock_ns())

    def get_configuration(self, handle: _Handle) -> int:
        self._check(handle)
        return self._configuration

    def claim_interface(self, handle: _Handle, intf: int) -> None:
        with self._changed:
            self._check(handle)
            if self._user not in (None, handle):
                raise _usb_error(errno.EBUSY)
            self._user = handle

    def release_interface(self, handle: _Handle, intf: int) -> None:
        self.close_device(handle)

    def is_kernel_driver_active(self, handle: _Handle, intf: int) -> bool:
        return self.kernel_driver

    def detach_kernel_driver(self, handle: _Handle, intf: int) -> None:
        self.kernel_driver = False

    # What pyusb asks for: transfers

    def ctrl_transfer(
        self,
        handle: _Handle,
        request_type: int,
        request: int,
        value: int,
        index: int,
        data: "array[int]",
        timeout_ms: int,
    ) -> int:
        """Fills ``data`` for IN and gives the count; no request of ours has OUT data."""
        with self._changed:
            self._check(handle)
            answer: bytes | None = None
            if request_type in (0xC0, 0x40):  # vendor, to the device
                if (request_type == 0xC0) == (request in (Request.INFO, Request.STATUS)):
                    answer = self.firmware.control(request, value & 0xFFFF, self._clock_ns())
                self._changed.notify_all()
            elif (request_type, request, value >> 8) == (0x80, 6, 3):  # GET_DESCRIPTOR string
                answer = descriptors.string(value & 0xFF, self._serial)
            if answer is None:
                raise _usb_error(errno.EPIPE)
            count = min(len(answer), len(data))
            memoryview(data)[:count] = answer[:count]
            return count

    def clear_halt(self, handle: _Handle, ep: int) -> None:
        with self._changed:
            self._check(handle)
            self.firmware.halted = False

    def bulk_read(
        self, handle: _Handle, ep: int, intf: int, buffer: "array[int]", timeout_ms: int
    ) -> int:
        """The next transfer; a larger one than ``buffer`` continues in the next call."""
        with self._changed:
            self._check(handle)
            now_ns = self._clock_ns()
            deadline_ns = now_ns + (timeout_ms * 1_000_000 or _FOREVER_NS)
            self.firmware.wants_data(now_ns)
            while not (data := self._rest or self._transfer(now_ns)):
                if now_ns >= deadline_ns:
                    raise _usb_error(errno.ETIMEDOUT)
                until_ns = min(deadline_ns, self.firmware.next_ns() or _FOREVER_NS)
                self._changed.wait(min((until_ns - now_ns) / 1e9, threading.TIMEOUT_MAX))
                now_ns = self._clock_ns()
                self._check(handle, errno.EIO)  # measured: a race between EIO and ENODEV
            return self._fill(memoryview(buffer), data)

    def _transfer(self, now_ns: int) -> bytes:
        data = self.firmware.transfer(now_ns)
        if self.firmware.unplugged:
            self.unplug()
            raise _usb_error(errno.EIO)
        if self.firmware.halted:
            raise _usb_error(errno.EPIPE)
        return data

    def _fill(self, buffer: memoryview, data: bytes) -> int:
        """What libusb makes of a transfer and a buffer."""
        count = min(len(buffer), len(data))
        buffer[:count], self._rest = data[:count], data[count:]
        if self._rest and len(buffer) % descriptors.PACKET_BYTES:
            self._rest = b""
            raise _usb_error(errno.EOVERFLOW)
        return count

    def _check(self, handle: _Handle, number: int = errno.ENODEV) -> None:
        if handle.unit is not self._unit:
            raise _usb_error(number)


def _usb_error(number: int) -> OSError:
    kind = USBTimeoutError if number == errno.ETIMEDOUT else USBError
    error: OSError = kind(*_MESSAGES[number], number)
    return error

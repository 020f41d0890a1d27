"""The ``usb:`` driver, through pyusb, against a simulated probe that does wrong."""

import os
import threading
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from usb.backend import IBackend

from firmware_bridge.probes import open_probe, wire
from firmware_bridge.probes.simulated import probe_info, recorded
from firmware_bridge.probes.simulated_backend import SimulatedBus
from firmware_bridge.probes.simulated_faults import FAULTS, parse_faults
from firmware_bridge.probes.simulated_firmware import Firmware
from firmware_bridge.probes.usb import BulkProbe, open_usb
from firmware_bridge.probes.usb_bus import UsbProbe, list_usb, users
from firmware_bridge.probes.wire import Capability, Range, Request, State, Status
from firmware_bridge.types import DeviceError, Frame, Geometry

GEOMETRY = Geometry("bmode", 16, 40, dz_mm=0.1, dx_mm=0.3, depth0_mm=1.0)
PICTURES = np.random.default_rng(7).integers(0, 256, (50, 16, 40), np.uint8)
RATE_HZ = 200.0


def simulated(faults: str = "", rate_hz: float = RATE_HZ, **more) -> SimulatedBus:
    info = replace(
        probe_info(GEOMETRY, rate_hz, Capability(15)),
        depth=Range(50, 20, 100),
        gain=Range(0, -100, 100),
    )
    script = parse_faults(faults)
    return SimulatedBus(lambda: Firmware(info, recorded(PICTURES), script), **more)


def status(bus: SimulatedBus) -> Status:
    return wire.decode_status(bus.firmware.control(Request.STATUS, 0, time.monotonic_ns()))


def frames(probe: BulkProbe, count: int) -> list[Frame]:
    """The next ``count``; every wait is far longer than a frame period on a busy machine."""
    got = [probe.read(5.0) for _ in range(count)]
    assert all(got)
    return got


def true(got: list[Frame]) -> bool:
    return all((f.data == PICTURES[f.seq % 50]).all() for f in got)


def damage(probe: BulkProbe) -> dict[str, int]:
    return {name: n for name, n in probe.counters.items() if n}


def test_frames_arrive_whole_and_in_order_with_both_clocks():
    bus = simulated()
    before_ns = time.monotonic_ns()
    probe = open_usb("usb:", backend=bus)
    got = frames(probe, 60)
    assert true(got)
    assert [f.seq for f in got] == sorted({f.seq for f in got})
    assert probe.counters["skipped"] <= status(bus).lost  # only what a busy machine did not fetch
    assert set(damage(probe)) <= {"skipped"}
    assert (probe.geometry, probe.live) == (GEOMETRY, True)
    assert all(before_ns // 1000 * 1000 <= f.device_ns <= f.t_ns for f in got)
    assert not got[0].data.flags.writeable
    probe.close()


def test_kept_frames_never_change():
    probe = open_usb("usb:", backend=simulated("corrupt@7,truncate@15,babble@20x3,repeat@30"))
    kept = frames(probe, 60)
    assert true(kept)
    del kept[::2]
    frames(probe, 30)
    assert true(kept)
    probe.close()


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        ("corrupt", {"crc": 2}),
        ("truncate", {"torn": 2}),
        ("garbage", {"garbage_bytes": 2 * (64 + 640)}),
        ("babble", {"garbage_bytes": 2 * 700}),
        ("geometry", {"geometry": 2}),
        ("repeat", {"repeated": 2}),
        ("skip", {"skipped": 2}),
        ("stall", {"halts": 2}),
    ],
)
def test_each_fault_is_survived_and_counted(fault, counted):
    bus = simulated(f"{fault}@5,{fault}@9")
    probe = open_usb("usb:", backend=bus)
    got = frames(probe, 25)
    assert true(got)
    found = damage(probe)
    # Frames that a busy machine fetched too late, and damaged ones, are gaps of the counter too.
    gaps = found.pop("skipped", 0)
    assert gaps <= status(bus).lost + 2
    assert fault != "skip" or gaps >= 2
    assert found == {name: n for name, n in counted.items() if name != "skipped"}
    probe.close()


def test_every_fault_has_a_test():
    here = {"corrupt", "truncate", "garbage", "babble", "geometry", "repeat", "skip", "stall"}
    assert set(FAULTS) == here | {"hang", "unplug"}


def test_a_probe_that_sends_only_garbage_gives_none():
    probe = open_usb("usb:", backend=simulated("garbage@0x1000000"))
    assert probe.read(0.1) is None
    assert probe.read(0.0) is None
    assert set(damage(probe)) == {"garbage_bytes"}
    probe.close()


def test_nothing_yet_is_none():
    probe = open_usb("usb:", backend=simulated(rate_hz=1.0))
    assert probe.read(0.01) is None
    assert not damage(probe)
    probe.close()


def test_a_probe_that_hangs_is_started_again():
    probe = open_usb("usb:", backend=simulated("hang@5"))
    got = frames(probe, 10)
    assert true(got)
    assert probe.counters["stalls"] == 1
    probe.close()


def test_impatient_reads_are_not_a_stall():
    probe = open_usb("usb:", backend=simulated(rate_hz=20.0))
    polls = [probe.read(0.02) for _ in range(90)]  # far more than a second
    assert true([f for f in polls if f])
    assert None in polls
    assert probe.counters["stalls"] == 0
    probe.close()


def test_a_pause_of_the_reader_is_not_a_stall_of_the_probe():
    probe = open_usb("usb:", backend=simulated())
    frames(probe, 1)
    time.sleep(1.1)
    assert true(frames(probe, 5))
    assert probe.counters["stalls"] == 0
    assert probe.counters["skipped"] > 100
    probe.close()


def test_an_unplugged_probe_is_gone_and_found_again_by_its_serial_number():
    bus = simulated("unplug@5")
    probe = open_usb("usb:?fps=150", backend=bus)
    assert probe.address == "usb:SIM0001?fps=150"
    with pytest.raises(DeviceError, match="gone"):
        frames(probe, 10)
    probe.close()
    with pytest.raises(DeviceError, match="SIM0001.*plug it in"):
        open_usb(probe.address, backend=bus)
    bus.plug()
    again = open_usb(probe.address, backend=bus)
    assert true(frames(again, 10))
    again.close()


def test_a_replug_that_nobody_noticed_is_gone():
    bus = simulated()
    probe = open_usb("usb:", backend=bus)
    bus.unplug()
    bus.plug()
    with pytest.raises(DeviceError, match="gone"):
        probe.read(1.0)
    probe.close()


def test_a_plug_pulled_during_a_read_ends_it():
    bus = simulated(rate_hz=1.0)
    probe = open_usb("usb:", backend=bus)
    threading.Timer(0.05, bus.unplug).start()
    with pytest.raises(DeviceError, match="gone"):
        probe.read(10.0)
    probe.close()


def test_settings_reach_the_probe():
    bus = simulated()
    probe = open_usb("usb:?depth_mm=9&gain_db=-3.5&fps=61", backend=bus)
    info = bus.firmware.info
    assert (info.depth.now, info.gain.now, info.rate.now) == (90, -35, 6100)
    assert probe.geometry.dz_mm == pytest.approx((9.0 - 1.0) / 40)
    probe.close()


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("depth_mm=11", "depth_mm=11 refused: this probe allows 2 to 10"),
        ("gain_db=-10.1", "allows -10 to 10"),
        ("fps=1000", "allows 1 to 655.35"),
        ("fps=nan", "allows 1 to 655.35"),
        ("fps=fast", "not valid"),
        ("timeout_ms=0", "must be positive"),
        ("speed=3", "unknown parameter"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_what_can(query, why):
    bus = simulated()
    with pytest.raises(DeviceError, match=why):
        open_usb(f"usb:?{query}", backend=bus)
    open_usb("usb:", backend=bus).close()  # and the probe is free again


def test_what_a_probe_cannot_do_is_refused():
    bus = simulated()
    bus.firmware.info = replace(bus.firmware.info, capabilities=Capability(0))
    with pytest.raises(DeviceError, match="cannot change gain_db"):
        open_usb("usb:?gain_db=0", backend=bus)
    with pytest.raises(DeviceError, match="no high voltage"):
        open_usb("usb:?hv=on", backend=bus)


def high_voltage(bus: SimulatedBus) -> bool:
    return bool(status(bus).state & State.HV)


def test_high_voltage_is_on_only_when_asked_for_and_never_after_close():
    bus = simulated()
    probe = open_usb("usb:", backend=bus)
    frames(probe, 3)
    assert not high_voltage(bus)
    probe.close()
    probe = open_usb("usb:?hv=on", backend=bus)
    frames(probe, 3)
    assert high_voltage(bus)
    probe.close()
    assert not high_voltage(bus)
    assert not status(bus).state & State.STREAMING


def test_high_voltage_is_off_when_opening_fails_half_way():
    bus = simulated()
    control = bus.firmware.control
    bus.firmware.control = lambda request, value, now_ns: (
        None if request == Request.START else control(request, value, now_ns)
    )
    with pytest.raises(DeviceError, match="refused"):
        open_usb("usb:?hv=on", backend=bus)
    assert not high_voltage(bus)


def test_frames_without_the_voltage_that_was_asked_for_are_not_delivered():
    late_ns = [0]
    bus = simulated(clock_ns=lambda: time.monotonic_ns() + late_ns[0])
    probe = open_usb("usb:?hv=on", backend=bus)
    frames(probe, 3)
    late_ns[0] = 2_000_000_000  # nobody has read for two seconds: the probe drops it
    assert true(frames(probe, 3))  # started again, with high voltage
    assert probe.counters["hv_off"] > 0
    assert probe.counters["stalls"] == 1
    assert high_voltage(bus)
    probe.close()


def test_a_second_user_is_refused_and_does_no_harm():
    bus = simulated()
    first = open_usb("usb:?hv=on", backend=bus)
    with pytest.raises(DeviceError, match="in use"):
        open_usb("usb:", backend=bus)
    assert true(frames(first, 5))
    assert high_voltage(bus)
    assert first.counters["stalls"] == 0  # its stream was not stopped either
    first.close()


def test_who_has_it_open_is_named(tmp_path):
    node = tmp_path / "node"
    node.touch()
    assert users(str(node)) == ""
    with node.open():
        assert f"(pid {os.getpid()})" in users(str(node))


@pytest.mark.parametrize("address", ["usb:", "usb:SIM0001"])
def test_without_permission_the_error_is_the_udev_rule(address):
    bus = simulated()
    bus.denied = True
    with pytest.raises(DeviceError, match=r'ATTR{idVendor}=="1209", ATTR{idProduct}=="5350"'):
        open_usb(address, backend=bus)
    assert "no permission" in list_usb(bus)[0].note


def test_a_kernel_driver_makes_room():
    bus = simulated()
    bus.kernel_driver = True
    probe = open_usb("usb:", backend=bus)
    assert true(frames(probe, 3))
    probe.close()


def test_a_probe_that_is_not_there_is_not_found_and_the_others_are_named():
    with pytest.raises(DeviceError, match=r"A17.*\(on the bus: 1209:5350 Simulated.* SIM0001\)"):
        open_usb("usb:A17", backend=simulated())
    with pytest.raises(DeviceError, match="no USB probe 1d6b:0105 with serial number A17"):
        open_usb("usb:1d6b:0105:A17", backend=simulated())
    with pytest.raises(DeviceError, match="no USB probe 1d6b:0105: plug"):
        open_usb("usb:1d6b:0105", backend=simulated())


class TwoBuses(IBackend):
    """As far as finding needs it."""

    def __init__(self, *buses: SimulatedBus):
        self.of = {bus.enumerate_devices()[0]: bus for bus in buses}

    def enumerate_devices(self):
        return list(self.of)

    def get_device_descriptor(self, dev):
        return self.of[dev].get_device_descriptor(dev)

    def open_device(self, dev):
        return self.of[dev].open_device(dev)

    def ctrl_transfer(self, handle, *request):
        return self.of[handle.unit].ctrl_transfer(handle, *request)

    def close_device(self, handle):
        self.of[handle.unit].close_device(handle)


def test_with_two_probes_one_must_be_chosen():
    both = TwoBuses(simulated(serial="A17"), simulated(serial="B4"))
    with pytest.raises(DeviceError, match="choose one: usb:A17, usb:B4"):
        open_usb("usb:", backend=both)
    assert Counter(unit.serial for unit in list_usb(both)) == {"A17": 1, "B4": 1}


def test_the_list_says_what_is_there():
    (unit,) = list_usb(simulated())
    product = "Simulated ultrasound probe"
    assert unit == UsbProbe(0x1209, 0x5350, "SIM0001", product, 1, 1, ours=True, note="")


def test_the_bus_of_this_machine_is_listed_or_the_reason_is_said():
    try:
        units = list_usb()
    except DeviceError as e:
        assert "no USB bus" in str(e) or "libusb" in str(e)  # noqa: PT017
    else:
        assert all(unit.vid for unit in units)


def test_a_closed_probe_says_so_and_may_be_closed_again():
    probe = open_usb("usb:", backend=simulated())
    probe.close()
    probe.close()
    with pytest.raises(DeviceError, match="closed"):
        probe.read(0.1)


def test_closing_waits_for_the_read_of_another_thread():
    bus = simulated(rate_hz=1.0)
    probe = open_usb("usb:", backend=bus)
    results = []
    reader = threading.Thread(target=lambda: results.append(probe.read(0.3)))
    reader.start()
    time.sleep(0.05)
    probe.close()
    reader.join()
    assert results == [None]


def test_the_simulated_probe_has_an_address_and_is_not_live():
    address = "usb:sim?lines=8&samples=32&fps=200&fault=hang@400"
    probe = open_probe(address)
    assert (probe.address, probe.live) == (address, False)
    assert (probe.geometry.lines, probe.geometry.samples) == (8, 32)
    got = frames(probe, 20)
    probe.close()
    assert (got[1].data != got[0].data).any()


@pytest.mark.parametrize(
    ("query", "why"),
    [("fault=fire@3", "no fault 'fire'"), ("gain_db=3", "cannot change"), ("vide=x", "unknown")],
)
def test_a_wrong_address_of_the_simulated_probe_is_refused(query, why):
    with pytest.raises(DeviceError, match=why):
        open_usb(f"usb:sim?{query}")

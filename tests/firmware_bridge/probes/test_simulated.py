"""The simulated probe: its firmware on a clock of the test's own, its bus, its pictures."""

import os
from array import array
from pathlib import Path

import numpy as np
import pytest
import usb.core
import usb.util
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.address import Address
from firmware_bridge.probes import wire
from firmware_bridge.probes.simulated import drawn, probe_info, recorded, simulated_bus, speckle
from firmware_bridge.probes.simulated_backend import SimulatedBus
from firmware_bridge.probes.simulated_faults import Fault
from firmware_bridge.probes.simulated_firmware import Firmware
from firmware_bridge.probes.video_frames import read_video, video_frames
from firmware_bridge.probes.wire import HEADER_BYTES, Capability, Request, State
from firmware_bridge.types import DeviceError, Geometry

S = 1_000_000_000
GEOMETRY = Geometry("bmode", 4, 6, dz_mm=0.1, dx_mm=0.3)
FRAME_BYTES = HEADER_BYTES + 24
PICTURES = np.arange(7 * 24, dtype=np.uint8).reshape(7, 4, 6)
EVERYTHING = Capability(15)


def firmware(rate_hz: float = 100.0, *, loop: bool = True, **more) -> Firmware:
    info = probe_info(GEOMETRY, rate_hz, EVERYTHING)
    info = type(info)(
        info.raster,
        info.capabilities,
        info.state,
        depth=wire.Range(6, 5, 20),
        gain=wire.Range(0, -100, 100),
        rate=info.rate,
    )
    return Firmware(info, recorded(PICTURES, loop=loop), **more)


def header(transfer: bytes) -> wire.Header:
    got = wire.decode_header(memoryview(transfer))
    assert got is not None
    assert wire.intact(memoryview(transfer), got.crc)
    return got


def status(f: Firmware, now_ns: int) -> wire.Status:
    return wire.decode_status(f.control(Request.STATUS, 0, now_ns))


def test_61_frames_per_second_are_61_also_after_an_hour():
    f = firmware(61.0)
    f.control(Request.START, 0, 5 * S)
    hour = 3600 * 61
    assert status(f, 3605 * S - 1).made == hour - 1
    assert status(f, 3605 * S).made == hour
    assert f.next_ns() == 3605 * S + -3 * S // 61  # four frames wait


@settings(deadline=None)
@given(st.integers(100, 0xFFFF), st.integers(1, 10**6))
def test_a_frame_is_made_exactly_when_it_is_ready(rate, frame):
    f = firmware(rate / 100)
    f.control(Request.START, 0, 17)
    ready_ns = 17 + frame * 10**11 // rate
    assert status(f, ready_ns).made == frame
    assert status(f, ready_ns - 1).made == frame - 1


def test_four_frames_wait_and_then_the_oldest_is_lost():
    f = firmware(100.0)
    f.control(Request.START, 0, 0)
    got = [header(f.transfer(S // 10)).counter for _ in range(4)]
    assert got == [6, 7, 8, 9]
    assert not f.transfer(S // 10)
    assert status(f, S // 10)[:3] == (10, 4, 6)


def test_a_picture_belongs_to_its_counter_also_after_a_restart():
    f = firmware(100.0)
    for start_ns in (0, 10 * S + 1):
        f.control(Request.START, 0, start_ns)
        for k in range(1, 20):
            data = f.transfer(start_ns + k * S // 100)
            assert data[HEADER_BYTES:] == PICTURES[header(data).counter % 7].tobytes()
    assert header(data).counter == 1018


def test_pictures_may_be_drawn_on_demand():
    f = Firmware(probe_info(GEOMETRY, 100), drawn(lambda k: np.full((4, 6), k, np.uint8)))
    f.control(Request.START, 0, 0)
    assert f.transfer(S // 100)[HEADER_BYTES:] == bytes(24)
    assert f.transfer(S // 50)[HEADER_BYTES:] == bytes([1]) * 24


def test_without_loop_it_falls_silent():
    f = firmware(100.0, loop=False)
    f.control(Request.START, 0, 0)
    assert sum(bool(f.transfer(k * S // 100)) for k in range(20)) == 7
    assert f.next_ns() is None


def test_the_device_clock_has_its_own_offset_and_speed():
    f = firmware(100.0, clock_offset_us=777, clock_skew_ppm=100.0)
    f.control(Request.START, 0, 99 * S)
    assert header(f.transfer(99 * S + S // 100)).device_us == 777 + 99_010_000 + 9901


@pytest.mark.parametrize(
    ("request_", "value"),
    [
        (Request.DEPTH, 4),
        (Request.DEPTH, 21),
        (Request.GAIN, 101),
        (Request.GAIN, 0x10000 - 101),
        (Request.RATE, 99),
        (Request.HV, 1),
        (99, 0),
    ],
)
def test_what_is_out_of_range_is_refused_and_changes_nothing(request_, value):
    f = firmware()
    before = f.info
    assert f.control(request_, value, 0) is None
    assert f.info == before


def test_what_is_in_range_is_set():
    f = firmware()
    assert f.control(Request.DEPTH, 12, 0) == b""
    assert f.control(Request.GAIN, 0x10000 - 35, 0) == b""
    assert f.control(Request.RATE, 6100, 0) == b""
    info = wire.decode_info(f.control(Request.INFO, 0, 0))
    assert (info.depth.now, info.gain.now, info.rate.now) == (12, -35, 6100)
    assert info.raster.dz_nm == 200_000


def test_raster_and_rate_of_a_run_are_constant():
    f = firmware()
    f.control(Request.START, 0, 0)
    assert f.control(Request.DEPTH, 12, 0) is None
    assert f.control(Request.RATE, 6100, 0) is None
    assert f.control(Request.GAIN, 10, 0) == b""


def high_voltage(f: Firmware, now_ns: int) -> bool:
    return bool(status(f, now_ns).state & State.HV)


def test_high_voltage_needs_the_magic_and_ends_with_stop():
    f = firmware()
    assert not high_voltage(f, 0)
    f.control(Request.HV, wire.HV_ON, 0)
    f.control(Request.START, 0, 0)
    assert header(f.transfer(S // 100)).flags & State.HV
    f.control(Request.STOP, 0, S // 100)
    assert not high_voltage(f, S // 100)


def test_high_voltage_ends_when_nobody_reads_for_a_second():
    f = firmware()
    f.control(Request.HV, wire.HV_ON, 0)
    f.control(Request.START, 0, 0)
    f.transfer(S)  # a read that was pending until now
    assert high_voltage(f, 2 * S)
    f.wants_data(2 * S + 1)
    assert not header(f.transfer(2 * S + 1)).flags & State.HV
    assert status(f, 2 * S + 1).state & State.HV_DROPPED


def opened(bus: SimulatedBus) -> usb.core.Device:
    dev = usb.core.find(idVendor=0x1209, backend=bus)
    dev.set_configuration()
    return dev


def started(**more) -> tuple[SimulatedBus, usb.core.Device]:
    bus = SimulatedBus(lambda: firmware(200.0, **more))
    dev = opened(bus)
    dev.ctrl_transfer(0x40, Request.START)
    return bus, dev


def test_a_buffer_of_whole_packets_gets_the_rest_with_the_next_read():
    bus, dev = started()
    big = np.zeros((1, 40, 30), np.uint8)
    info = probe_info(Geometry("bmode", 40, 30, 0.1, 0.1), 200)
    bus.firmware = Firmware(info, recorded(big))
    dev.ctrl_transfer(0x40, Request.START)
    buffer = array("B", bytes(1024))
    assert [dev.read(0x81, buffer) for _ in range(2)] == [1024, 64 + 1200 - 1024]


def test_a_buffer_of_broken_packets_overflows():
    _, dev = started()
    with pytest.raises(usb.core.USBError) as e:
        dev.read(0x81, array("B", bytes(80)))
    assert e.value.errno == 75


def test_a_request_in_the_wrong_direction_is_refused():
    _, dev = started()
    with pytest.raises(usb.core.USBError) as e:
        dev.ctrl_transfer(0xC0, Request.STOP, 0, 0, 1)
    assert e.value.errno == 32


def test_an_interface_has_one_user():
    bus, dev = started()
    usb.util.claim_interface(dev, 0)
    with pytest.raises(usb.core.USBError) as e:
        usb.util.claim_interface(usb.core.find(idVendor=0x1209, backend=bus), 0)
    assert e.value.errno == 16


def test_a_halted_endpoint_stays_so_until_it_is_cleared():
    _, dev = started(faults=[Fault("stall", 1)])
    assert dev.read(0x81, 512).tobytes()[HEADER_BYTES:] == PICTURES[0].tobytes()
    for _ in range(2):
        with pytest.raises(usb.core.USBError) as e:
            dev.read(0x81, 512)
        assert e.value.errno == 32
    dev.clear_halt(0x81)
    assert len(dev.read(0x81, 512)) == FRAME_BYTES


def test_after_a_pulled_plug_there_is_nothing_until_it_is_back():
    bus, dev = started()
    bus.unplug()
    with pytest.raises(usb.core.USBError) as e:
        dev.read(0x81, 512)
    assert e.value.errno == 19
    assert usb.core.find(idVendor=0x1209, backend=bus) is None
    bus.plug()
    with pytest.raises(usb.core.USBError):  # the old handle stays dead
        dev.read(0x81, 512)
    assert opened(bus).serial_number == "SIM0001"


def write_video(path: Path, pictures: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    size = pictures.shape[2], pictures.shape[1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, size)
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    writer.release()


def test_a_video_becomes_lines_and_depths(tmp_path):
    pictures = np.zeros((3, 48, 64), np.uint8)
    pictures[:, 24:, :] = 200  # bright below
    pictures[2, :, 48:] = 100  # and something on the right in the last one
    write_video(tmp_path / "a.avi", pictures)
    frames = video_frames(tmp_path / "a.avi", crop=(16, 8, 48, 32), lines=12, samples=16)
    assert frames.shape == (3, 12, 16)
    assert abs(int(frames[0, 6, 2]) - 0) < 12
    assert abs(int(frames[0, 6, 13]) - 200) < 12
    assert abs(int(frames[2, 10, 2]) - 100) < 12
    video = read_video((str(tmp_path / "a.avi"),) * 2, (16, 8, 48, 32), 12, 16)
    assert len(video.frames) == 6
    assert (video.fps, video.pixels) == (25.0, (4.0, 2.0))


def test_what_is_wrong_with_a_video_is_said(tmp_path):
    write_video(tmp_path / "a.avi", np.zeros((2, 48, 64), np.uint8))
    with pytest.raises(DeviceError, match="leaves the picture"):
        video_frames(tmp_path / "a.avi", crop=(20, 0, 60, 20))
    with pytest.raises(DeviceError, match="not a video"):
        video_frames(tmp_path / "b.avi")
    with pytest.raises(DeviceError, match="px_mm"):
        simulated_bus(Address(f"usb:sim?video={tmp_path / 'a.avi'}"))


def test_a_recorded_calf_keeps_its_scale():
    folder = os.environ.get("SONOMYO_DATA")
    if not folder:
        pytest.skip("SONOMYO_DATA is not set")
    clip = Path(folder) / "us_mg_dynamometer" / "video" / "p6_isokinetic500_01_push_01.mp4"
    address = f"usb:sim?video={clip}&crop=215,45,720,574&px_mm=0.0883&lines=180&samples=287"
    info = simulated_bus(Address(address)).firmware.info
    frames = video_frames(str(clip), (215, 45, 720, 574), 180, 287)
    assert frames.shape == (59, 180, 287)
    assert (info.raster.dz_nm, info.raster.dx_nm, info.rate.now) == (176_600, 353_200, 6100)
    skin, deep = frames[:, :, 20:120].mean(), frames[:, :, 250:].mean()
    assert skin > 1.5 * deep  # depth runs along the last axis


def test_arrays_are_shown_as_they_are(tmp_path):
    rf = np.arange(-30, 30, dtype=np.int16).reshape(5, 3, 4)
    np.save(tmp_path / "rf.npy", rf)
    f = simulated_bus(Address(f"usb:sim?frames={tmp_path / 'rf.npy'}&dx_mm=0.3&dz_mm=0.1")).firmware
    f.control(Request.START, 0, 0)
    data = f.transfer(S // 30)
    assert wire.geometry_of(header(data).raster) == Geometry("rf", 3, 4, dz_mm=0.1, dx_mm=0.3)
    assert data[HEADER_BYTES:] == rf[0].tobytes()


def test_an_array_of_something_else_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 4)))
    for name, why in (("x.npy", "expected"), ("y.npy", "no pictures")):
        address = f"usb:sim?frames={tmp_path / name}&dx_mm=0.3&dz_mm=0.1"
        with pytest.raises(DeviceError, match=why):
            simulated_bus(Address(address))


def test_speckle_moves():
    frames = speckle(8, 16)
    assert (frames[1, :, 1:] == frames[0, :, :-1]).all()
    assert (frames[1] != frames[0]).any()

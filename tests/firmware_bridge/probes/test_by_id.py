from firmware_bridge.probes.by_id import stable_path


def test_a_numbered_device_is_known_by_the_name_that_lasts(tmp_path):
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    for n, name in enumerate(["usb-Nordic_A17", "usb-Nordic_B20"]):
        (tmp_path / f"ttyACM{n}").touch()
        (by_id / name).symlink_to(f"../ttyACM{n}")
    lasting = str(by_id / "usb-Nordic_B20")
    assert stable_path(str(tmp_path / "ttyACM1"), str(by_id)) == lasting
    assert stable_path(lasting, str(by_id)) == lasting


def test_without_such_a_name_the_device_keeps_its_own(tmp_path):
    assert stable_path("/dev/ttyACM9", str(tmp_path)) == "/dev/ttyACM9"
    assert stable_path("/dev/ttyACM9", str(tmp_path / "none")) == "/dev/ttyACM9"

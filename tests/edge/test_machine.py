"""What the machine says about itself, read from files like the kernel's."""

import pytest

from edge.machine import rss_mb, throttled, versions


def cooling(root, number, kind, state):
    device = root / f"cooling_device{number}"
    device.mkdir()
    (device / "type").write_text(kind + "\n")
    (device / "cur_state").write_text(f"{state}\n")


@pytest.mark.parametrize("kind", ["Processor", "cpu-throttle-alert", "gpu-throttle-alert"])
def test_a_processor_that_is_held_down_is_throttled(tmp_path, kind):
    cooling(tmp_path, 0, "pwm-fan", 3)
    cooling(tmp_path, 1, kind, 0)
    assert not throttled(tmp_path)
    cooling(tmp_path, 2, kind, 2)
    assert throttled(tmp_path)


def test_a_fan_is_not_throttling_and_no_sensor_is_no_news(tmp_path):
    assert not throttled(tmp_path / "nothing")
    cooling(tmp_path, 0, "pwm-fan", 3)
    (tmp_path / "cooling_device1").mkdir()  # a device without files
    assert not throttled(tmp_path)


def test_memory_and_versions_are_there():
    assert rss_mb() > 10
    found = versions()
    assert {"python", "kernel", "onnxruntime", "brainflow", "sonomyo"} <= set(found)
    assert found["sonomyo"] != "not installed"

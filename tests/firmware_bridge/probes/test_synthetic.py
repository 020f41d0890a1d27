import time

import numpy as np
import pytest

from firmware_bridge.probes import open_probe, pacing, synthetic
from firmware_bridge.probes.calf import architecture, bmode_geometry, make_calf, render
from firmware_bridge.types import DeviceError
from firmware_bridge.wearer import truth

SMALL = bmode_geometry(60, 96)


@pytest.fixture(scope="module")
def calf():
    return make_calf(SMALL, seed=1)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only in sleep."""

    class Clock:
        now_ns = 5_000_000_000

        def monotonic_ns(self):
            return self.now_ns

        def sleep(self, seconds):
            self.now_ns += round(seconds * 1e9)

    fake = Clock()
    monkeypatch.setattr(pacing, "time", fake)
    monkeypatch.setattr(synthetic, "time", fake)
    return fake


def test_a_frame_is_an_image_of_the_stated_raster(calf):
    image = render(calf, 0.0, 0.3)
    assert (image.shape, image.dtype) == ((60, 96), np.uint8)
    assert SMALL.lines * SMALL.dx_mm == pytest.approx(63.6)
    assert SMALL.samples * SMALL.dz_mm == pytest.approx(50.7)


def test_drawing_is_pure_and_the_seed_is_the_leg(calf):
    again, other = make_calf(SMALL, seed=1), make_calf(SMALL, seed=2)
    np.testing.assert_array_equal(render(calf, -10, 0.5), render(again, -10, 0.5))
    assert (render(calf, -10, 0.5) != render(other, -10, 0.5)).mean() > 0.5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_leg_can_be_drawn_at_every_extreme(seed):
    leg = make_calf(SMALL, seed)
    for angle, force in [(-30, 0), (-30, 1), (20, 0), (20, 1)]:
        image = render(leg, angle, force)
        assert 10 < image.mean() < 90  # like a scanner's, mostly dark
        assert image.max() > 180  # aponeuroses


def test_force_and_plantar_flexion_steepen_and_shorten_fascicles(calf):
    rest, pushing = architecture(calf, 0, 0), architecture(calf, 0, 1)
    assert pushing.pennation_deg > rest.pennation_deg + 10
    assert pushing.fascicle_mm < 0.7 * rest.fascicle_mm
    stretched = architecture(calf, -30, 0)
    assert stretched.pennation_deg < rest.pennation_deg
    assert stretched.fascicle_mm > rest.fascicle_mm
    assert 12 < stretched.thickness_mm < pushing.thickness_mm < 22


def test_the_deep_aponeurosis_is_where_the_architecture_says(calf):
    for angle, force in [(-30, 0.0), (20, 0.0), (0, 1.0)]:
        middle = render(calf, angle, force)[28:32].astype(float).mean(axis=0)
        depth_mm = np.arange(96) * SMALL.dz_mm
        below_fat = depth_mm > 10
        brightest = depth_mm[below_fat][middle[below_fat].argmax()]
        expected = calf.superficial_mm[30, 0] + architecture(calf, angle, force).thickness_mm
        assert brightest == pytest.approx(expected, abs=1.5)


def test_angle_and_torque_can_be_read_from_the_images(calf):
    now = truth(np.arange(0, 120, 0.5))
    images = np.array(
        [
            render(calf, a, f)[::3, ::4].ravel()
            for a, f in zip(now.angle_deg, now.force, strict=True)
        ],
        float,
    )
    target = np.stack([now.angle_deg, now.torque_nm], axis=1)
    seen = np.arange(len(target)) < 180
    _, s, axes = np.linalg.svd(images[seen] - images[seen].mean(0), full_matrices=False)
    parts = (images - images[seen].mean(0)) @ axes[:40].T / s[:40]
    design = np.column_stack([parts, np.ones(len(parts))])
    weights = np.linalg.lstsq(design[seen], target[seen], rcond=None)[0]
    error = np.sqrt(np.mean((design @ weights - target)[~seen] ** 2, axis=0))
    assert (error < 0.3 * target[~seen].std(axis=0)).all()


def test_frames_come_at_their_rate_with_the_time_they_are_due(clock):
    probe = open_probe("synthetic:calf?fps=50&lines=32&samples=32")
    frames = [probe.read(1.0) for _ in range(4)]
    assert [f.seq for f in frames] == [0, 1, 2, 3]
    assert [f.t_ns - frames[0].t_ns for f in frames] == [0, 20_000_000, 40_000_000, 60_000_000]
    assert not frames[0].data.flags.writeable
    assert probe.counters == {"skipped": 0}


def test_nothing_before_it_is_due(clock):
    probe = open_probe("synthetic:calf?fps=10&lines=32&samples=32")
    assert probe.read(0.01).seq == 0
    assert probe.read(0.05) is None
    assert probe.read(0.06).seq == 1


def test_a_reader_that_was_away_gets_the_newest_frame_and_a_count(clock):
    probe = open_probe("synthetic:calf?fps=10&lines=32&samples=32")
    assert probe.read(0.01).seq == 0
    clock.sleep(2.05)
    late = probe.read(0.0)
    assert (late.seq, probe.counters["skipped"]) == (20, 19)
    assert clock.now_ns - late.t_ns < 100_000_000


def test_the_image_shows_the_truth_of_its_frame(clock):
    probe = open_probe("synthetic:calf?fps=20&seed=4&lines=32&samples=32")
    frame = [probe.read(1.0) for _ in range(40)][-1]
    now = probe.truth(frame)
    assert now == truth(39 / 20, 4)
    leg = make_calf(probe.geometry, 4)
    np.testing.assert_array_equal(frame.data, render(leg, float(now.angle_deg), float(now.force)))


def test_it_runs_in_real_time_without_a_clock_of_ours():
    probe = open_probe("synthetic:calf?fps=200&lines=32&samples=32")
    begin_ns = time.monotonic_ns()
    frames = [f for _ in range(5) if (f := probe.read(1.0))]
    assert all(f.t_ns <= time.monotonic_ns() for f in frames)
    assert time.monotonic_ns() - begin_ns >= 15_000_000
    assert not probe.live
    probe.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("synthetic:knee", "synthetic:calf"),
        ("synthetic:calf?fps=0", "fps"),
        ("synthetic:calf?lines=4", "lines and samples must be"),
        ("synthetic:calf?samples=100000", "lines and samples must be"),
        ("synthetic:calf?colour=red", r"unknown parameter \['colour'\]"),
    ],
)
def test_a_wrong_address_is_refused(address, message):
    with pytest.raises(DeviceError, match=message):
        open_probe(address)

import numpy as np
import pytest

from training.hand_features import DX_MM, DZ_MM, FEATURES, hand_baseline, hand_features

X_MM = (np.arange(128)[:, None] + 0.5) * DX_MM
Z_MM = (np.arange(128)[None, :] + 0.5) * DZ_MM


def calf(mg_deg=20.0, sol_deg=25.0, mg_mm=17.0, sol_mm=16.0, tilt_deg=0.0, echo=80.0, per_mm=0.0):
    """A drawn calf: sinusoidal streaks between straight sheets, and its maps."""
    rng = np.random.default_rng(1)
    slope = np.tan(np.deg2rad(tilt_deg))
    down = Z_MM - slope * (X_MM - 30)  # depth in the muscles' own frame
    top, gap, steep = 7.0, 2.0, 1 / np.cos(np.deg2rad(tilt_deg))
    mg = (down > top) & (down < top + mg_mm * steep)
    first = top + mg_mm * steep + gap
    sol = (down > first) & (down < first + sol_mm * steep)
    image = np.full((128, 128), 20.0)
    for inside, deg in ((mg, tilt_deg + mg_deg), (sol, tilt_deg - sol_deg)):
        a = np.deg2rad(deg)
        across = -np.sin(a) * X_MM + np.cos(a) * Z_MM
        image[inside] = (echo + 25 * np.sin(2 * np.pi * across / 2.5) + per_mm * (Z_MM - 25))[
            inside
        ]
    image += rng.normal(0, 3, image.shape)
    sheets = ~mg & ~sol & (down > top - 1.5) & (down < first + sol_mm * steep + 1.5)
    return image, np.stack([sheets, mg, sol])


def measured(**drawn):
    image, maps = calf(**drawn)
    return dict(zip(FEATURES, hand_features(image[None], maps[None])[0], strict=True))


@pytest.mark.parametrize("tilt_deg", [-5.0, 0.0, 5.0])
@pytest.mark.parametrize("mg_deg", [14.0, 22.0, 35.0])
def test_pennation_is_the_angle_between_streaks_and_muscle(mg_deg, tilt_deg):
    f = measured(mg_deg=mg_deg, sol_deg=40 - mg_deg / 2, tilt_deg=tilt_deg)
    assert f["mg_pennation_deg"] == pytest.approx(mg_deg, abs=1)
    assert f["sol_pennation_deg"] == pytest.approx(40 - mg_deg / 2, abs=1)


@pytest.mark.parametrize("tilt_deg", [-6.0, 0.0])
def test_thickness_is_across_the_muscle_however_the_probe_is_tilted(tilt_deg):
    f = measured(mg_mm=19.0, sol_mm=12.0, tilt_deg=tilt_deg)
    assert f["mg_thickness_mm"] == pytest.approx(19.0, abs=0.3)
    assert f["sol_thickness_mm"] == pytest.approx(12.0, abs=0.3)


def test_echo_and_its_gradient_are_those_of_the_muscle():
    f = measured(echo=110.0, per_mm=-2.0)
    assert f["mg_echo_per_mm"] == pytest.approx(-2.0, abs=0.3)
    assert f["sol_echo_per_mm"] == pytest.approx(-2.0, abs=0.3)
    assert f["mg_echo"] == pytest.approx(110 - 2 * (15.5 - 25), abs=2)


def test_bytes_and_floats_and_probabilities_say_the_same():
    image, maps = calf()
    grey = np.clip(np.rint(image), 0, 255)
    as_bytes = hand_features(grey.astype(np.uint8)[None], maps[None])
    as_floats = hand_features(grey[None], 0.1 + 0.8 * maps[None])
    as_levels = hand_features(grey[None], (230 * maps[None]).astype(np.uint8), threshold=127)
    np.testing.assert_array_equal(as_bytes, as_floats)
    np.testing.assert_array_equal(as_bytes, as_levels)


def test_a_muscle_that_is_not_there_has_no_features():
    image, maps = calf()
    maps[2] = False
    f = hand_features(image[None], maps[None])[0]
    assert np.isfinite(f[:4]).all()
    assert np.isnan(f[4:]).all()


def test_every_picture_is_measured_alone():
    drawn = [calf(mg_deg=d) for d in (15.0, 25.0, 35.0)]
    images, maps = (np.stack(a) for a in zip(*drawn, strict=True))
    together = hand_features(images, maps)
    for k in range(3):
        np.testing.assert_array_equal(
            together[k], hand_features(images[k : k + 1], maps[k : k + 1])[0]
        )
    assert hand_features(images[:0], maps[:0]).shape == (0, len(FEATURES))


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="maps"):
        hand_features(np.zeros((2, 128, 128)), np.zeros((2, 128, 128)))


def people(n=6, frames=30):
    rng = np.random.default_rng(4)
    person = np.repeat(np.arange(n), frames)
    scale = np.array([2, 5, 20, 0.5] * 2)  # millimetres, degrees, brightness
    features = rng.normal(size=(len(person), 8)) * scale + 10
    y = np.stack([features[:, 0] / 2 - features[:, 5] / 5, features[:, 3] * 40], axis=1)
    return features, y + rng.normal(0, 0.01, y.shape), person


def test_the_baseline_finds_a_line_whatever_the_units():
    features, y, person = people()
    np.testing.assert_allclose(hand_baseline(features, y, person)(features), y, atol=0.1)


def test_a_missing_feature_counts_as_its_mean():
    features, y, person = people()
    model = hand_baseline(features, y, person)
    lost, mean = features.copy(), features.copy()
    lost[3, 4:] = np.nan
    mean[3, 4:] = features[:, 4:].mean(axis=0)
    np.testing.assert_allclose(model(lost), model(mean))


def test_features_that_mislead_about_others_are_shrunk():
    # Within a person the feature follows y, but everybody's is offset by far more.
    rng = np.random.default_rng(5)
    person = np.repeat(np.arange(8), 20)
    offset = rng.normal(0, 10, 8)[person]
    y = rng.normal(size=(160, 1))
    features = np.repeat(offset[:, None] + 0.1 * y, 8, axis=1)
    estimate = hand_baseline(features, y, person)(features)
    assert np.std(estimate) < 0.2 * np.std(y)


def test_the_baseline_needs_others_and_muscles():
    features, y, person = people()
    with pytest.raises(ValueError, match="two or more"):
        hand_baseline(features, y, np.zeros_like(person))
    features[:, 4] = np.nan
    with pytest.raises(ValueError, match="segmentation"):
        hand_baseline(features, y, person)

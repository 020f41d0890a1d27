"""One wearer's clips: what a fit to some of them says of the others, and how sure it is."""

from dataclasses import replace

import numpy as np
import pytest

from training import real_leg
from training.frames import IMAGE, simulated_frames
from training.leg import MEMBERS, Leg
from training.predict_state import predict
from training.real_leg import OUTPUTS, study
from training.state_config import load_run
from training.state_data import MEAN, STD
from training.state_material import maps_of

CLIPS = ("leg 1", "leg 2", "leg 3")


@pytest.fixture(scope="module")
def leg():
    run = load_run("leg")
    run = replace(
        run,
        data=replace(run.data, shown=4),
        model=replace(run.model, widths=(8, 8, 8), squeeze=4, hidden=16),
        fit=replace(run.fit, epochs=12, batch=8),
    )
    return Leg(simulated_frames(IMAGE, (1, 2, 3), 24, 0.0, 60.0), run, maps_of(run.data))


def test_the_pictures_are_those_the_device_prepares(leg):
    prepared = (leg.data.images.astype(np.float32) - MEAN) / STD
    assert np.abs(prepared - leg.clips.images[:, 0]).max() <= 0.5 / STD + 1e-5


def test_a_fit_reads_only_the_clips_it_is_given(leg):
    clips = leg.clips
    known, out = clips.part([0, 1]), clips.clip == 2
    targets, images = clips.targets.copy(), clips.images.copy()
    targets[out] += 1000
    images[out] = images[out][:, :, ::-1]
    other = Leg(replace(clips, targets=targets, images=images), leg.run, maps_of(leg.run.data))
    a, b = (one.fit(known).net for one in (leg, other))
    np.testing.assert_array_equal(predict(a, leg.data).values, predict(b, leg.data).values)


def test_doubt_and_gate_come_from_clips_that_were_left_out(leg):
    sure, together = leg.fit(leg.clips).net, leg.settled(leg.clips)
    assert len(together.members) == MEMBERS
    for member in together.members:
        # A leg never met is read worse than one trained on.
        assert member.doubt.mean() > sure.doubt.mean()
        assert member.odd_limits[1] < 1e3
        assert member.far_limits[1] < 1e3


def test_a_study_that_was_killed_goes_on_where_it_was(leg, tmp_path, monkeypatch):
    monkeypatch.setattr(real_leg, "_start", lambda *_: None)  # 400 people take a while
    asked = []
    found = study(leg, tmp_path, asked.append, known=CLIPS[:2], asked=CLIPS[2:])
    assert [c["clips"] for c in found["curve"]] == [2] * 4
    for kind in ("clip", "condition"):
        for who in ("ours", "pca"):
            assert set(found[kind][who]["each"]) == set(CLIPS)
            assert set(found[kind][who]["all"]) == set(OUTPUTS)
    assert len(asked) == 2 * 2 * 3 + 4
    (tmp_path / "clip_01_ours.npy").unlink()
    asked.clear()
    assert study(leg, tmp_path, asked.append, known=CLIPS[:2], asked=CLIPS[2:]) == found
    assert asked == ["clip 01 ours"]
    other = Leg(
        leg.clips, replace(leg.run, fit=replace(leg.run.fit, seed=9)), maps_of(leg.run.data)
    )
    with pytest.raises(ValueError, match="another fit"):
        study(other, tmp_path, known=CLIPS[:2], asked=CLIPS[2:])

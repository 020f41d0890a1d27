"""Whole clips and whole conditions are left out: no frame of them is seen by the fit."""

import numpy as np

from training.frames import Clips
from training.leave_out import (
    clips_out,
    conditions_out,
    group_scores,
    leave_out,
    pca_ridge,
    pooled_scores,
)

OUTPUTS = ("angle", "torque")


def pushes():
    """Three clips of two conditions; each picture mixes two patterns as its targets say."""
    rng = np.random.default_rng(1)
    mix, noise = rng.normal(size=(60, 2)), 0.05 * rng.normal(size=(60, 256))
    images = (mix @ rng.normal(size=(2, 256)) + noise).reshape(60, 1, 16, 16).astype(np.float32)
    targets = (mix * [10, 40]).astype(np.float32)
    return Clips(("a", "b", "c"), ("push", "rest", "push"), images, targets, np.arange(60) // 20)


def test_every_clip_and_every_condition_is_left_out_once():
    assert list(clips_out(pushes())) == [("a", [0]), ("b", [1]), ("c", [2])]
    assert list(conditions_out(pushes())) == [("push", [0, 2]), ("rest", [1])]


def test_a_fit_never_sees_the_frames_it_is_asked_about():
    clips = pushes()
    seen = []

    def fit(train, test):
        seen.append((set(train.clip.tolist()), set(test.clip.tolist())))
        return test.targets.astype(np.float64)

    found = list(leave_out(clips, list(conditions_out(clips)), fit))
    assert seen == [({1}, {0, 2}), ({0, 2}, {1})]
    assert sorted(np.concatenate([f.frames for f in found])) == list(range(60))
    assert all(s.rmse == 0 for s in pooled_scores(clips, found, OUTPUTS))


def test_scores_are_over_all_frames_and_per_group():
    clips = pushes()
    found = list(leave_out(clips, list(clips_out(clips)), pca_ridge))
    assert [s.output for s in pooled_scores(clips, found, OUTPUTS)] == list(OUTPUTS)
    assert all(s.r2 > 0.99 for s in pooled_scores(clips, found, OUTPUTS))
    assert [s.group for s in group_scores(clips, found, OUTPUTS)] == ["a", "a", "b", "b", "c", "c"]

from dataclasses import replace

import numpy as np
import pytest

from training.fit_frame_cnn import FrameFit, fit_frame_cnn, predict
from training.frames import IMAGE, Clips, simulated_frames

FIT = FrameFit(epochs=3, batch=16)


@pytest.fixture(scope="module")
def clips() -> Clips:
    return simulated_frames(IMAGE, (1,), 64, 0.0, 60.0)


def test_the_loss_falls_and_the_fit_repeats_from_its_seed(clips):
    net, losses = fit_frame_cnn(clips, FIT)
    assert losses[-1] < 0.8 * losses[0]
    again, same = fit_frame_cnn(clips, FIT)
    assert same == losses
    a, b = predict(net, clips.images[:4]), predict(again, clips.images[:4])
    np.testing.assert_array_equal(a, b)
    _, other = fit_frame_cnn(clips, replace(FIT, seed=2, epochs=1))
    assert other[0] != losses[0]

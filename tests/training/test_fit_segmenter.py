from dataclasses import replace

import numpy as np
import pytest
import torch

from models.segmenter import SegmenterConfig
from training.fit_segmenter import SegmenterFit, fit_segmenter, map_loss, predict
from training.segments import Segments

FIT = SegmenterFit(
    steps=24, batch=8, rate=1e-2, model=SegmenterConfig(widths=(8, 8), fine=4, deepest=1)
)


def striped(known=1) -> Segments:
    """Pictures of two bright bands, at depths of their own, with a darker muscle between."""
    rng = np.random.default_rng(1)
    pictures, maps = np.full((8, 64, 64), 30, np.uint8), np.zeros((8, 3, 64, 64), np.uint8)
    for k, (a, b) in enumerate(zip(rng.integers(5, 15, 8), rng.integers(25, 40, 8), strict=True)):
        maps[k, 0, :, a : a + 4] = maps[k, 0, :, b : b + 4] = 1
        maps[k, 1, :, a + 4 : b] = 1
        pictures[k][maps[k, 0] > 0] = 220
        pictures[k][maps[k, 1] > 0] = 90
    return Segments(
        ("stripes",) * 8, pictures, maps, np.full_like(maps, known), np.zeros(8, np.intp)
    )


@pytest.mark.slow
def test_the_loss_falls_and_the_fit_repeats_from_its_seed():
    data = striped()
    net, losses = fit_segmenter([(data, 1.0)], FIT)
    _, start = fit_segmenter([(data, 1.0)], replace(FIT, steps=2))
    assert losses[-1] < 0.9 * start[0]
    again, same = fit_segmenter([(data, 0.5), (data, 0.5)], replace(FIT, steps=2))
    assert same != start  # another draw
    twice, equal = fit_segmenter([(data, 0.5), (data, 0.5)], replace(FIT, steps=2))
    assert equal == same
    np.testing.assert_array_equal(predict(twice, data.pictures), predict(again, data.pictures))
    assert not net.training


def test_a_perfect_answer_costs_nothing_and_its_opposite_much():
    wanted = torch.zeros(2, 3, 8, 8, dtype=torch.bool)
    wanted[:, :2, :, 3:6] = True
    known = torch.ones_like(wanted)
    sure = 20 * (2 * wanted.float() - 1)
    assert map_loss(sure, wanted, known) < 1e-4
    assert map_loss(-sure, wanted, known) > 10


def test_what_is_not_known_teaches_nothing():
    logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
    wanted, known = torch.rand(2, 3, 8, 8) < 0.5, torch.rand(2, 3, 8, 8) < 0.5
    map_loss(logits, wanted, known).backward()
    assert ((logits.grad != 0) == known).all()


def test_a_batch_in_which_nothing_is_known_is_no_accident():
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    nothing = torch.zeros(1, 3, 8, 8, dtype=torch.bool)
    map_loss(logits, nothing, nothing).backward()
    assert (logits.grad == 0).all()


def test_pictures_of_another_size_are_resampled():
    torch.manual_seed(1)
    net, _ = fit_segmenter([(striped(), 1.0)], replace(FIT, steps=1))
    assert predict(net, striped().pictures).shape == (8, 3, 128, 128)

"""The decoder's fused loop against the equations, forwards and backwards."""

import pytest
import torch

from models.gru import CLIP
from models.lfads_decoder import Noise, Weights, decode, decode_naive

BINS, BATCH, CON, GEN, FACTORS, INPUTS = 4, 3, 5, 6, 3, 2


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def case():
    torch.manual_seed(1)
    start = drawn(BINS, BATCH, 3 * CON), drawn(BATCH, CON), drawn(BATCH, GEN), drawn(BATCH, FACTORS)
    weights = Weights(
        con_f=drawn(FACTORS, 3 * CON),
        con_u=drawn(CON, 3 * CON),
        co=drawn(CON, 2 * INPUTS),
        co_b=drawn(2 * INPUTS),
        gen_w=drawn(INPUTS, 3 * GEN),
        gen_b=drawn(3 * GEN),
        gen_u=drawn(GEN, 3 * GEN),
        fac=drawn(GEN, FACTORS),
    )
    noise = Noise(*(drawn(BINS, BATCH, n).detach() for n in (INPUTS, FACTORS, GEN)))
    return start, noise, weights


@pytest.mark.parametrize("clip", [CLIP, 0.4])
def test_says_what_the_equations_say(case, clip):
    start, noise, weights = case
    ours, theirs = (run(*start, noise, weights, clip) for run in (decode, decode_naive))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("clip", [CLIP, 0.4])
def test_gradients_are_those_of_finite_differences(case, clip):
    start, noise, weights = case
    assert torch.autograd.gradcheck(
        lambda *x: tuple(decode(*x[:4], noise, Weights(*x[4:]), clip)), (*start, *weights)
    )

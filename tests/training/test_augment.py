import torch

from training.augment import Augment, brighten, move


def test_changes_stay_within_their_limits():
    image = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    rng = torch.Generator().manual_seed(2)
    still = move(brighten(image, Augment(0, 0, 0, 0, 0, 0), rng), Augment(0, 0, 0, 0, 0, 0), rng)
    torch.testing.assert_close(still, image, atol=1e-4, rtol=0)
    offset = brighten(image, Augment(0, 0.2, 0, 0, 0, 0), rng) - image
    assert 0.01 < offset.abs().max() <= 0.2 + 1e-4
    moved = move(image, Augment(0, 0, 0, 0.1, 0, 0), rng)
    assert (moved - image).abs().max() > 0.05
    assert moved.min() >= image.min() - 1e-4
    assert moved.max() <= image.max() + 1e-4

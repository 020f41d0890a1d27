"""What a trained network takes for ordinary: the distribution of its features and two limits."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from models.state_cnn import StateCnn

USUAL = 0.995  # share of pictures of people not trained on that stay below the limits
MARGIN = 1.25  # on the distance: another person is further away than the ones at hand
SHRINK = 0.02  # share of the mean variance added to every direction of the covariance
STEPS, RATE = 400, 5e-3  # of AdamW on all imprints at once: well past where the loss stands still
DECAY = 1e-2


def learn_ordinary(net: StateCnn, imprint: NDArray[np.float32]) -> None:
    """Set the centre and the spread that distances are measured in; ``imprint (n, imprints)``.

    Covariance shrunk towards a multiple of the identity: features that never moved in training
    would make any movement infinitely far.
    """
    x = torch.from_numpy(imprint).double()
    centre = x.mean(0)
    scale = x.std(0).clamp(min=1e-3)  # some features are per cent, some are tens
    z = (x - centre) / scale
    covariance = z.T @ z / len(z)
    covariance += SHRINK * torch.eye(len(covariance), dtype=torch.float64)
    whiten = torch.linalg.cholesky(torch.linalg.inv(covariance)) / scale[:, None]
    net.imprint_mean.copy_(centre)
    net.imprint_whiten.copy_(whiten)


def learn_odd(
    net: StateCnn, ordinary: NDArray[np.float32], spoilt: NDArray[np.float32], seed: int
) -> None:
    """Teach the classifier alone, from imprints ``(n, imprints)``; the features stay as they are.

    Both kinds of picture weigh the same, however many there are of each.
    """
    torch.manual_seed(seed)
    device = net.imprint_mean.device
    x = torch.from_numpy(np.concatenate([ordinary, spoilt])).to(device)
    odd = torch.cat([torch.zeros(len(ordinary)), torch.ones(len(spoilt))]).to(device)
    weight = torch.where(odd > 0, 1 / len(spoilt), 1 / len(ordinary)) * len(x) / 2
    optimiser = torch.optim.AdamW(net.odd.parameters(), RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        loss = F.binary_cross_entropy_with_logits(net.odd(x)[:, 0], odd, weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def set_limits(
    net: StateCnn, odd: NDArray[np.float32], far: NDArray[np.float32], members: int = 1
) -> None:
    """Set where the gate opens, from logits and distances ``(n,)`` of people not trained on.

    A logit below 0 is never odd: the classifier itself finds the picture more likely ordinary.
    ``members`` of a committee share the false alarms: any one of them raises it.
    """
    usual = 1 - (1 - USUAL) / members
    first = max(0.0, float(np.quantile(odd, usual)))
    net.odd_limits.copy_(torch.tensor([first, first + 2.0]))
    begin = MARGIN * float(np.quantile(far, usual))
    net.far_limits.copy_(torch.tensor([begin, 1.5 * begin]))

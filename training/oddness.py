"""What a trained network takes for ordinary: the distribution of its features and two limits."""

import numpy as np
import torch
from numpy.typing import NDArray

from models.state_cnn import StateCnn

USUAL = 0.995  # share of pictures of people not trained on that stay below the limits
MARGIN = 1.25  # on the distance: another person is further away than the ones at hand
SHRINK = 0.02  # share of the mean variance added to every direction of the covariance


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


def set_limits(net: StateCnn, odd: NDArray[np.float32], far: NDArray[np.float32]) -> None:
    """Set where the gate opens, from logits and distances ``(n,)`` of people not trained on.

    A logit below 0 is never odd: the classifier itself finds the picture more likely ordinary.
    """
    first = max(0.0, float(np.quantile(odd, USUAL)))
    net.odd_limits.copy_(torch.tensor([first, first + 2.0]))
    begin = MARGIN * float(np.quantile(far, USUAL))
    net.far_limits.copy_(torch.tensor([begin, 1.5 * begin]))

"""What the fits have in common: how a network learns its own doubt."""

import torch
from torch import Tensor


def doubt_loss(value: Tensor, log_sd: Tensor, wanted: Tensor) -> Tensor:
    """Gaussian negative log-likelihood of the errors; only the doubt learns from it."""
    squared = (value.detach() - wanted) ** 2
    return (log_sd + 0.5 * squared * torch.exp(-2 * log_sd)).mean()

"""From a B-mode picture to muscle state and to what was seen: one graph for the device."""

from torch import Tensor, nn

from models.committee import Committee


class UltrasoundNet(nn.Module):
    """A segmenter, and the state CNNs that answer together about what it sees."""

    def __init__(self, segmenter: nn.Module, state: Committee):
        super().__init__()
        self.segmenter = segmenter
        self.state = state

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``image (n, 1, 128, 128)`` standardised brightness to values, sd and maps.

        Values and sd are ``(n, outputs)`` in target units, maps ``(n, 3, 128, 128)`` are the
        probabilities of aponeurosis, MG and SOL that the values rest on.
        """
        maps = self.segmenter(image)
        values, sd = self.state(image, maps)
        return values, sd, maps

"""Operators that we taught the exporter, against PyTorch's own."""

import numpy as np
import pytest
import torch
from torch import nn

from export.onnx import export_onnx
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec


class One(nn.Module):
    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x):
        return self.of(x[:, :2], x[:, 2:])


@pytest.mark.parametrize(
    "of",
    [
        lambda a, b: torch.asinh(3 * a - b),
        lambda a, b: torch.expm1(-a * b),
        lambda a, b: torch.hypot(100 * a, 40 * b - 1),
    ],
    ids=["asinh", "expm1", "hypot"],
)
def test_an_operator_is_what_pytorch_says(of, tmp_path):
    emg = Input("x", (1, 4), "emg", rate_hz=100.0, hop=1, channels=tuple("abcd"))
    spec = ModelSpec("one", (emg,), (Output("y", "1"), Output("z", "1")), period_ms=10.0)
    rng = np.random.default_rng(0)
    examples = [{"x": rng.standard_normal((1, 4)).astype(np.float32)} for _ in range(20)]
    assert export_onnx(One(of), spec, examples, tmp_path / "one.onnx").relative < 1e-6

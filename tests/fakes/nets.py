"""Small networks with everything that quantisation meets, their specs and inputs."""

import io
import warnings

import numpy as np
import onnx
import torch
from torch import nn

from export.streams import Stream
from firmware_bridge.types import Output
from models.spec import Input, ModelSpec, State


class Pictures(nn.Module):
    """Convolutions, an activation behind each, a residual sum, a float head."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1)
        self.third, self.head = nn.Conv2d(16, 32, 3, 2, 1), nn.Linear(64, 2)

    def forward(self, x):
        a = torch.relu(self.first(x))
        b = torch.relu(self.third(torch.relu(self.second(a) + a)))
        features = torch.cat([b.mean((2, 3)), b.std((2, 3))], 1)
        return self.head(features) * 10, nn.functional.softplus(self.head(features))


class Step(nn.Module):
    """A GRU's step with a long memory, written out as it is exported."""

    def __init__(self, n=64, inputs=24):
        super().__init__()
        self.of_x, self.of_h = nn.Linear(inputs, 3 * n), nn.Linear(n, 3 * n)
        self.said = nn.Linear(n, 1)
        nn.init.orthogonal_(self.of_h.weight)
        with torch.no_grad():
            self.of_x.bias[n : 2 * n] += 3.0

    def forward(self, x, h):
        xr, xz, xn = self.of_x(x).chunk(3, 1)
        hr, hz, hn = self.of_h(h).chunk(3, 1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        h = (1 - z) * torch.tanh(xn + r * hn) + z * h
        return self.said(h), h


def exported(net, examples, inputs, outputs):
    """As ONNX, opset 17."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(net.eval(), examples, file, dynamo=False, opset_version=17,
                          input_names=inputs, output_names=outputs)  # fmt: skip
    model = onnx.load_from_string(file.getvalue())
    model.ir_version = 8
    return model


def pictures(n=40, seed=0):
    """The network, its contract, and a stream of pictures."""
    torch.manual_seed(0)
    model = exported(Pictures(), (torch.zeros(1, 1, 32, 32),), ["image"], ["values", "sd"])
    spec = ModelSpec(
        "pictures", (Input("image", (1, 1, 32, 32), "us"),),
        (Output("angle", "deg", -50, 50), Output("torque", "N m", -50, 50)),
        period_ms=16, sd="sd",
    )  # fmt: skip
    x = np.random.default_rng(seed).normal(size=(n, 1, 1, 32, 32)).astype(np.float32)
    x *= np.linspace(0.2, 2, n, dtype=np.float32)[:, None, None, None, None]
    return model, spec, Stream("pictures", {"image": x})


def step(n=400, seed=0):
    """A recurrent step, its contract, and a stream of features."""
    torch.manual_seed(1)
    model = exported(Step(), (torch.zeros(1, 24), torch.zeros(1, 64)), ["x", "h"],
                     ["values", "h_next"])  # fmt: skip
    spec = ModelSpec(
        "step", (Input("x", (1, 24), "emg", rate_hz=1000.0, hop=10, channels=("a",)),),
        (Output("torque", "N m", -5, 5),), period_ms=10, states=(State("h", "h_next", (1, 64)),),
    )  # fmt: skip
    x = np.random.default_rng(seed).normal(size=(n, 1, 24)).astype(np.float32)
    return model, spec, Stream("features", {"x": x})

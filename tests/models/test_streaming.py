"""The device's two forms of LFADS: step by step as all at once, and through ONNX Runtime."""

import numpy as np
import pytest
import torch

from export.onnx import export_onnx
from firmware_bridge.types import Output
from models.lfads import Lfads, LfadsConfig
from models.spec import ModelSpec, State
from models.streaming import AHEAD, LAGS, Scaled, Twin, TwinAt, TwinConfig, WindowLfads
from training.emg import EmgChain

NAMES = ("TA", "GM", "SO")
CHAIN = EmgChain(1000.0)


@pytest.fixture
def twin():
    torch.manual_seed(1)
    one = Twin(TwinConfig(3, inner=8, hidden=16)).eval()
    one.scaled.unit.fill_(20.0)
    one.scaled.clip.fill_(90.0)
    return one


def bins(n=30):
    return 40 * torch.rand(1, n, 3, generator=torch.Generator().manual_seed(2))


def test_a_twin_step_by_step_is_the_twin_all_at_once(twin):
    x, h, said = bins(), torch.zeros(1, 16), []
    with torch.no_grad():
        for t in range(30):
            value, h = twin(x[:, t], h)
            said.append(value)
        whole = twin.sequence(x)[0].flatten(1)
    torch.testing.assert_close(torch.cat(said), whole)
    assert whole.shape[1] == (len(LAGS) + len(AHEAD)) * 3
    assert whole.min() >= 0


def test_a_twin_knows_nothing_of_later(twin):
    x = bins()
    changed = x.clone()
    changed[:, 20:] = 0
    with torch.no_grad():
        a, b = twin.sequence(x), twin.sequence(changed)
    assert torch.equal(a[:, :20], b[:, :20])
    assert not torch.equal(a[:, 20:], b[:, 20:])


def test_a_twin_exports_as_one_step_with_its_state_in_the_open(twin, tmp_path):
    outputs = tuple(Output(f"{n}_activation", "1", 0, 20) for n in NAMES)
    states = (State("h", "h_next", (1, 16)),)
    at = TwinAt(twin, 10).eval()
    spec = ModelSpec(
        "twin",
        (CHAIN.input(NAMES),),
        outputs,
        period_ms=2,
        states=states,
        ahead="ahead",
        ahead_ms=at.ahead_ms,
    )
    rng = np.random.default_rng(1)
    examples = [
        {
            "emg": (40 * rng.random((1, 3))).astype(np.float32),
            "h": rng.uniform(-1, 1, (1, 16)).astype(np.float32),
        }
        for _ in range(4)
    ]
    assert export_onnx(at, spec, examples, tmp_path / "twin.onnx").relative < 1e-5


def test_a_twin_at_one_lag_says_that_part_of_it(twin):
    x, h = bins()[:, 0], torch.zeros(1, 16)
    with torch.no_grad():
        whole, _ = twin(x, h)
        part, ahead, _ = TwinAt(twin, 10)(x, h)
    assert torch.equal(part, whole[:, 6:9])
    # Of 20 ms ago; then of 10 ms ago, of now, and of what comes.
    assert TwinAt(twin, 10).ahead_ms == (10, 20, 30, 40, 50, 60, 70)
    rows = [whole[:, 3 * k : 3 * k + 3] for k in (1, 0, 4, 5, 6, 7, 8)]
    assert torch.equal(ahead, torch.cat(rows, 1))
    assert TwinAt(twin, 25).ahead_ms[:3] == (30, 40, 50)
    with pytest.raises(ValueError, match="lag must be one of"):
        TwinAt(twin, 7)


def test_a_window_is_read_so_many_bins_before_its_end(tmp_path):
    torch.manual_seed(1)
    net = Lfads(LfadsConfig(3, bins=12, ic_enc=6, ci_enc=6, con=5, co=2, ic=3, gen=8, factors=4))
    window = WindowLfads(net.eval(), Scaled(3), lag=4).eval()
    x = torch.rand(1, 12, 3)
    with torch.no_grad():
        torch.testing.assert_close(window(x), net(x).activation[:, 7])
        window.scaled.clip.fill_(0.5)
        assert window(x).max() <= 0.5  # more than what it heard is not plausible
    with pytest.raises(ValueError, match="0 to 11"):
        WindowLfads(net, Scaled(3), lag=12)


def test_a_window_whose_encoder_begins_beyond_the_clip_is_refused():
    net = Lfads(LfadsConfig(3, bins=12, ic_enc=6, ci_enc=6, con=5, co=2, ic=3, gen=8, factors=4))
    with torch.no_grad():
        net.ci_encoder.first[1, 0, 2] = -5.5
    with pytest.raises(ValueError, match="beyond the clip"):
        WindowLfads(net, Scaled(3), lag=4)


def test_a_window_exports_as_one_static_graph(tmp_path):
    torch.manual_seed(1)
    net = Lfads(LfadsConfig(3, bins=12, ic_enc=6, ci_enc=6, con=5, co=2, ic=3, gen=8, factors=4))
    window = WindowLfads(net.eval(), Scaled(3), lag=4)
    spec = ModelSpec(
        "window",
        (CHAIN.window(NAMES, bins=12, hop_bins=3),),
        tuple(Output(f"{n}_activation", "1", 0, 20) for n in NAMES),
        period_ms=6,
    )
    rng = np.random.default_rng(1)
    examples = [{"emg": rng.random((1, 12, 3)).astype(np.float32)} for _ in range(3)]
    assert export_onnx(window, spec, examples, tmp_path / "window.onnx").relative < 1e-5


def test_what_is_clipped_in_training_is_clipped_on_the_device():
    scaled = Scaled(2)
    scaled.clip.copy_(torch.tensor([10.0, 100.0]))
    scaled.unit.copy_(torch.tensor([5.0, 50.0]))
    assert scaled(torch.tensor([[20.0, 20.0]])).tolist() == [[2.0, pytest.approx(0.4)]]

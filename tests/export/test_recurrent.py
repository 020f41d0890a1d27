"""Recurrent operators over one step: written out, and with their memory in the open."""

import numpy as np
import pytest
import torch
from torch import nn

from export.fold import fold
from export.onnx_graph import ExportError, Runner
from export.onnx_rules import check
from export.recurrent import as_gates
from export.recurrent_states import hidden_states, open_states
from models.spec import State
from tests.fakes.onnx_files import model, node, ops, traced

H = 6
GATES = {"Sigmoid", "Tanh", "Gemm"}
QUIET = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # PyTorch checks sizes


class Stepped(nn.Module):
    """A recurrent layer of PyTorch, one step at a time, its state given and returned."""

    def __init__(self, kind, layers=1, **settings):
        super().__init__()
        self.core = kind(3, H, layers, batch_first=True, **settings)
        self.out = nn.Linear(H, 2)

    def forward(self, x, *states):
        y, after = self.core(x, states if len(states) > 1 else states[0])
        return (self.out(y[:, 0]), *(after if isinstance(after, tuple) else (after,)))


class Hidden(nn.Module):
    """The same as it is trained: over a sequence, from zeros."""

    def __init__(self, of):
        super().__init__()
        self.core, self.out = of.core, of.out

    def forward(self, x):
        return self.out(self.core(x)[0])


def weighed(kind, **settings):
    torch.manual_seed(0)
    return Stepped(kind, **settings).eval()


def run(file, x, **states):
    return Runner(file)({"x": x.numpy(), **states})


KINDS = pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN], ids=["GRU", "LSTM", "RNN"])


@QUIET
@KINDS
@pytest.mark.parametrize("layers", [1, 2])
def test_a_step_is_what_pytorch_says_and_what_the_operator_says(kind, layers):
    net, states = weighed(kind, layers=layers), ["h", "c"][: 1 + (kind is nn.LSTM)]
    given = [torch.randn(layers, 1, H) for _ in states]
    names = {"input_names": ["x", *states], "output_names": ["y", *(f"{s}_next" for s in states)]}
    x = torch.randn(1, 1, 3)
    before = traced(net, (x, *given), **names)
    after = fold(as_gates(before))
    assert kind.__name__ in ops(before)
    assert kind.__name__ not in ops(after)
    feed = {s: g.numpy() for s, g in zip(states, given, strict=True)}
    found, of_operator = run(after, x, **feed), run(before, x, **feed)
    with torch.inference_mode():
        for name, wanted in zip(names["output_names"], net(x, *given), strict=True):
            np.testing.assert_allclose(found[name], wanted, atol=2e-7)
            np.testing.assert_allclose(found[name], of_operator[name], atol=2e-7)


@pytest.mark.parametrize("reset_after", [0, 1])
def test_a_gru_that_resets_before_or_after(reset_after):
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(1, 3 * H, 3)), "r": rng.normal(size=(1, 3 * H, H)),
               "b": rng.normal(size=(1, 6 * H))}  # fmt: skip
    nodes = [node("GRU", "x w r b - h", "y", hidden_size=H, linear_before_reset=reset_after)]
    file = model(nodes, {"x": (1, 1, 3), "h": (1, 1, H)}, {"y": (1, 1, 1, H)},
                 {k: v.astype(np.float32) for k, v in weights.items()})  # fmt: skip
    feed = {"x": rng.normal(size=(1, 1, 3)), "h": rng.normal(size=(1, 1, H))}
    feed = {k: v.astype(np.float32) for k, v in feed.items()}
    after = as_gates(file)
    assert set(ops(after)) >= GATES
    np.testing.assert_allclose(Runner(after)(feed)["y"], Runner(file)(feed)["y"], atol=2e-7)


@QUIET
@pytest.mark.parametrize(
    "change",
    [lambda n: n.attribute.add(name="clip", f=3.0, type=1),
     lambda n: setattr(n.attribute.add(name="direction", type=3), "s", b"reverse")],
    ids=["clip", "reverse"],
)  # fmt: skip
def test_what_is_unusual_stays_an_operator(change):
    file = traced(weighed(nn.GRU), (torch.randn(1, 1, 3), torch.randn(1, 1, H)))
    (gru,) = [n for n in file.graph.node if n.op_type == "GRU"]
    kept = [a for a in gru.attribute if a.name != "direction"]
    del gru.attribute[:]
    gru.attribute.extend(kept)
    change(gru)
    assert "GRU" in ops(as_gates(file))


@QUIET
def test_a_window_stays_a_loop():
    file = traced(Hidden(weighed(nn.GRU)), (torch.randn(1, 5, 3),))
    assert "GRU" in ops(as_gates(file))
    assert not hidden_states(file)
    assert {f.rule for f in check(fold(file))} == {"recurrent-loop"}


def named(kind, layers=1):
    """The spec's states for a network of so many layers."""
    letters = "hc" if kind is nn.LSTM else "h"
    return tuple(State(f"{s}{k}", f"{s}{k}_next", (1, H)) for k in range(layers) for s in letters)


@QUIET
@KINDS
@pytest.mark.parametrize("layers", [1, 2])
def test_memory_inside_becomes_states_and_the_stream_is_the_sequence(kind, layers):
    net = Hidden(weighed(kind, layers=layers))
    x = torch.randn(1, 9, 3)
    file = traced(net, (x[:, :1],), input_names=["x"], output_names=["y"])
    file = fold(file)
    assert hidden_states(file)
    assert "forgets" in {f.rule for f in check(file)}
    states = named(kind, layers)
    stream = fold(as_gates(open_states(file, states)))
    assert check(stream) == []
    runner, kept, said = (
        Runner(stream),
        {s.input: np.zeros(s.shape, np.float32) for s in states},
        [],
    )
    for t in range(9):
        found = runner({"x": x[:, t : t + 1].numpy(), **kept})
        kept = {s.input: found[s.output] for s in states}
        said.append(found["y"][:, 0])
    with torch.inference_mode():
        np.testing.assert_allclose(np.stack(said, 1), net(x), atol=5e-7)


@QUIET
@pytest.mark.parametrize(
    "states",
    [(), named(nn.GRU), (State("h", "h_next", (1, H)), State("c", "c_next", (1, H + 1)))],
    ids=["none", "one", "another size"],
)
def test_states_that_do_not_fit_are_refused_with_what_the_spec_must_say(states):
    file = fold(traced(Hidden(weighed(nn.LSTM)), (torch.randn(1, 1, 3),)))
    says = (
        r"would forget at every step.*must say states = \["
        r'{ input = "h0", output = "h0_next", shape = \[1, 6\] }, '
        r'{ input = "h1", output = "h1_next", shape = \[1, 6\] }\]'
    )
    with pytest.raises(ExportError, match=says):
        open_states(file, states)


@QUIET
def test_a_network_that_looks_ahead_has_no_single_step():
    torch.manual_seed(0)
    both = nn.GRU(3, H, bidirectional=True, batch_first=True)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.core = both

        def forward(self, x):
            return self.core(x)[0]

    file = fold(traced(Both(), (torch.randn(1, 1, 3),)))
    with pytest.raises(ExportError, match="reads in both directions, so it needs what comes later"):
        open_states(file, named(nn.GRU))


def test_a_first_state_that_is_learned_is_refused():
    weights = {"w": np.ones((1, 3 * H, 3)), "r": np.ones((1, 3 * H, H)), "h0": np.ones((1, 1, H))}
    nodes = [node("GRU", "x w r - - h0", "y", "the_gru", hidden_size=H)]
    file = model(nodes, {"x": (1, 1, 3)}, {"y": (1, 1, 1, H)},
                 {k: v.astype(np.float32) for k, v in weights.items()})  # fmt: skip
    with pytest.raises(ExportError, match="'the_gru' begins from 'h0', which is not known"):
        open_states(file, named(nn.GRU))

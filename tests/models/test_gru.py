"""The recurrent unit of LFADS: the equations, their gradients, and ONNX's own GRU."""

import numpy as np
import pytest
import torch

from models.gru import CLIP, GruWeights, sequence, step


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def case():
    torch.manual_seed(1)
    return 2 * drawn(6, 2, 3, 12), drawn(2, 3, 4), drawn(2, 4, 12)


def one_by_one(p, h, u, clip):
    states = []
    for now in p:
        h = step(now, h, u, clip)
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("clip", [CLIP, 0.4])
def test_all_steps_at_once_are_one_step_after_the_other(case, clip):
    torch.testing.assert_close(sequence(*case, clip), one_by_one(*case, clip))


@pytest.mark.parametrize("clip", [CLIP, 0.4])
def test_gradients_are_those_of_finite_differences(case, clip):
    p, h, u = (x.detach().requires_grad_() for x in case)
    assert torch.autograd.gradcheck(lambda *x: sequence(*x, clip), (p, h, u))


def test_it_is_the_gru_that_onnx_calls_linear_before_reset_0():
    onnx = pytest.importorskip("onnx")
    import onnxruntime

    torch.manual_seed(2)
    cell = GruWeights(5, 7, (12, 12))
    x, h = torch.randn(9, 1, 5), torch.rand(1, 1, 7) - 0.5
    h_onnx = onnx.helper.make_tensor_value_info("h", 1, [1, 1, 7])
    x_onnx = onnx.helper.make_tensor_value_info("x", 1, [9, 1, 5])
    y_onnx = onnx.helper.make_tensor_value_info("y", 1, [9, 1, 1, 7])
    with torch.no_grad():
        kernels = {
            "w": cell.w.T[None].numpy(),
            "r": cell.u.T[None].numpy(),
            "b": np.concatenate([cell.b.numpy(), np.zeros(21, np.float32)])[None],
        }
        ours = sequence(cell.project(x)[:, None], h, cell.u[None])[:, 0]
    node = onnx.helper.make_node(
        "GRU", ["x", "w", "r", "b", "", "h"], ["y"], hidden_size=7, linear_before_reset=0
    )
    values = [onnx.numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in kernels.items()]
    graph = onnx.helper.make_graph([node], "gru", [x_onnx, h_onnx], [y_onnx], values)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (theirs,) = session.run(None, {"x": x.numpy(), "h": h.numpy()})
    np.testing.assert_allclose(ours.numpy(), theirs[:, 0], atol=1e-6)


def test_a_new_cell_remembers():
    cell = GruWeights(3, 4, (3, 4))
    assert cell.b[:8].eq(1).all()
    assert cell.b[8:].eq(0).all()

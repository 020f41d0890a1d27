"""Operators of our networks that PyTorch's tracing exporter does not know, in those of ONNX."""

from typing import Any

import torch


def know_them(opset: int) -> None:
    """From now on the exporter writes them; again does no harm."""
    for name, symbol in (("asinh", _asinh), ("expm1", _expm1), ("hypot", _hypot)):
        register = torch.onnx.register_custom_op_symbolic  # type: ignore[attr-defined]
        register(f"aten::{name}", symbol, opset)


def _asinh(g: Any, x: Any) -> Any:
    return g.op("Asinh", x)


def _expm1(g: Any, x: Any) -> Any:
    # Loses digits near 0, where PyTorch's does not: ``compare`` tells whether that matters.
    return g.op("Sub", g.op("Exp", x), g.op("Constant", value_t=torch.tensor(1.0)))


def _hypot(g: Any, x: Any, y: Any) -> Any:
    return g.op("Sqrt", g.op("Add", g.op("Mul", x, x), g.op("Mul", y, y)))

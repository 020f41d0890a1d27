"""Put gain and offset behind a network, in its ONNX file: the device runs one graph, as before.

No torch here: a wearer is calibrated to where the device is.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.bundle import BundleError

F32 = NDArray[np.float32]

TOLERANCE = 1e-5  # of the largest magnitude; one multiplication and one addition in float32
TRIALS = 3


class Affine(NamedTuple):
    """Output ``old`` of shape (1, n) becomes ``new`` = old * gain + offset."""

    old: str
    new: str
    gain: F32  # (n,)
    offset: F32  # (n,)


def append_affine(source: bytes, target: Path, changes: list[Affine]) -> float:
    """Write the network ``source``, changed, to ``target``; the largest relative difference found.

    Compared by ONNX Runtime with the same done in NumPy on seeded random inputs.  The old tensor
    stays inside the graph, where other nodes may read it.  Raises BundleError.
    """
    import onnx

    model = onnx.load_from_string(source)
    graph = model.graph
    taken = {n for node in graph.node for n in (*node.input, *node.output)}
    taken |= {t.name for t in (*graph.input, *graph.output, *graph.initializer)}
    outputs = {o.name: o for o in graph.output}
    for change in changes:
        gain, offset, scaled = (f"{change.new}_{part}" for part in ("gain", "offset", "scaled"))
        if change.old not in outputs or taken & {change.new, gain, offset, scaled}:
            raise BundleError(
                f"cannot put {change.new!r} behind {change.old!r}: start from the bundle that is "
                "not personalised"
            )
        for name, array in ((gain, change.gain), (offset, change.offset)):
            graph.initializer.append(
                onnx.numpy_helper.from_array(np.asarray(array, np.float32), name)
            )
        graph.node.append(onnx.helper.make_node("Mul", [change.old, gain], [scaled]))
        graph.node.append(onnx.helper.make_node("Add", [scaled, offset], [change.new]))
        outputs[change.old].name = change.new
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(target))
    return _compare(source, target, changes)


def _compare(source: bytes, target: Path, changes: list[Affine]) -> float:
    before, after = _session(source), _session(target.read_bytes())
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(TRIALS):
        feed = {i.name: rng.normal(size=i.shape).astype(np.float32) for i in before.get_inputs()}
        for c in changes:
            (raw,), (found,) = before.run([c.old], feed), after.run([c.new], feed)
            wanted = raw * c.gain + c.offset
            relative = np.max(np.abs(found - wanted)) / max(1.0, float(np.max(np.abs(wanted))))
            worst = float(np.maximum(worst, relative))  # unlike max(), lets NaN through
    if not worst <= TOLERANCE:
        raise BundleError(f"{target} differs from what it should give by {worst:.2g}")
    return worst


def _session(network: bytes) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])

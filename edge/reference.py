"""``reference.npz`` of a bundle: a stretch of inputs, and what PyTorch made of them.

Arrays of float32 by the names of the network's tensors, one row per step, ``(n, *shape)``: every
input, and the outputs.  States begin as their first row says, from zeros where they are not there,
and are carried on from step to step as on the device.
"""

import io
import math
import re
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.runtime import Engine
from edge.unzip import unzip
from models.spec import ModelSpec

F32 = NDArray[np.float32]

# The one header there is here, so that nothing has to be evaluated to read it.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '<(f4|f8)', 'fortran_order': False, "
    rb"'shape': \(([0-9, ]{0,99})\), \} *\n",
    re.DOTALL,
)


class Off(NamedTuple):
    """How far an engine is from the reference, in the output's unit; NaN if it ever was."""

    rms: float
    worst: float
    largest: float  # magnitude of the reference


def read_reference(data: bytes) -> dict[str, F32]:
    """Arrays by tensor name.  Raises ValueError with what is wrong."""
    return {_tensor(name): _array(name, npy) for name, npy in unzip(data).items()}


def write_reference(arrays: Mapping[str, F32]) -> bytes:
    """The file's bytes; the same arrays give the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            npy = io.BytesIO()
            np.save(npy, np.ascontiguousarray(array, "<f4"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy.getvalue(), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def compare_with(reference: Mapping[str, F32], spec: ModelSpec, engine: Engine) -> dict[str, Off]:
    """By output and map; what else the reference has of the network, by the name of its tensor.

    Raises ValueError: the reference is not of this network.
    """
    outputs = [name for name in (spec.values, spec.sd, spec.maps, spec.ahead) if name in reference]
    if not outputs:
        raise ValueError("reference.npz has none of the network's outputs")
    n = len(reference[outputs[0]])
    inputs = {i.name: _rows(reference, i.name, n, engine.inputs) for i in spec.inputs}
    wanted = {name: _rows(reference, name, n, engine.outputs) for name in outputs}
    for s in spec.states:
        first = _rows(reference, s.input, n, engine.inputs)[0] if s.input in reference else 0.0
        engine.inputs[s.input][...] = first
    off = {name: np.zeros(rows.shape) for name, rows in wanted.items()}
    for k in range(n):
        for name, rows in inputs.items():
            engine.inputs[name][...] = rows[k]
        engine.run()
        for name, rows in wanted.items():
            found = engine.outputs[name]
            np.subtract(found, rows[k], out=off[name][k], where=found != rows[k])  # inf is inf
        for s in spec.states:
            engine.inputs[s.input][...] = engine.outputs[s.output]
    parts = {spec.values: [o.name for o in spec.outputs], spec.maps: spec.map_names}
    report = {}
    for tensor, rows in wanted.items():
        names = parts.get(tensor)
        for k, name in enumerate(names or [tensor]):
            part = (slice(None), 0, k) if names else ...
            report[name] = _off(off[tensor][part], rows[part])
    return report


def _off(off: NDArray[np.float64], wanted: F32) -> Off:
    size = np.abs(off)
    largest = np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted))
    return Off(float(np.sqrt(np.mean(size * size))), float(np.max(size)), float(largest))


def _rows(reference: Mapping[str, F32], name: str, n: int, buffers: Mapping[str, F32]) -> F32:
    shape = (n, *buffers[name].shape)
    if name not in reference or n < 1 or reference[name].size != math.prod(shape):
        raise ValueError(f"reference.npz has no {name} of the shape {shape}")
    return reference[name].reshape(shape)


def _tensor(name: str) -> str:
    if not name.endswith(".npy"):
        raise ValueError(f"{name} is no array")
    return name.removesuffix(".npy")


def _array(name: str, npy: bytes) -> F32:
    header = _HEADER.match(npy)
    if header is None or int.from_bytes(header[1], "little") != header.end() - 10:
        raise ValueError(f"{name} is no plain array of float32")
    shape = tuple(int(n) for n in header[3].split(b",") if n.strip())
    kind = np.dtype(f"<{header[2].decode()}")
    if len(npy) - header.end() != math.prod(shape) * kind.itemsize:
        raise ValueError(f"{name} is no whole array")
    array = np.frombuffer(npy, kind, offset=header.end()).reshape(shape)
    return np.asarray(array, np.float32)

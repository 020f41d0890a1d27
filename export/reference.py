"""What goes into ``reference.npz``: a stretch of inputs, and what a network makes of them."""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import nn

from edge.reference import write_reference
from export.onnx import input_names, output_names
from export.streams import F32, Network
from models.spec import ModelSpec

STEPS, MOST_BYTES = 64, 2 << 20  # a device repeats every step when it verifies the bundle


def torch_reference(
    net: nn.Module, spec: ModelSpec, examples: Iterable[Mapping[str, F32]]
) -> bytes:
    """The file's bytes, from PyTorch, on the inputs of ``examples`` as consecutive steps."""
    net = net.eval()

    def step(feed: Mapping[str, F32]) -> dict[str, F32]:
        with torch.inference_mode():
            given = net(*(torch.from_numpy(feed[n]) for n in input_names(spec)))
        results = (given,) if isinstance(given, torch.Tensor) else given
        return dict(zip(output_names(spec), (t.numpy() for t in results), strict=True))

    return reference_of(step, spec, examples)


def reference_of(network: Network, spec: ModelSpec, inputs: Iterable[Mapping[str, F32]]) -> bytes:
    """The same from any network: every input, every state as it was, every output of the spec.

    As many of the first steps as STEPS and MOST_BYTES allow, at least one.
    """
    states = {s.input: np.zeros(s.shape, np.float32) for s in spec.states}
    rows: dict[str, list[F32]] = {}
    size = 0
    for given in itertools.islice(inputs, STEPS):
        feed = {i.name: np.asarray(given[i.name], np.float32) for i in spec.inputs} | states
        found = network(feed)
        states = {s.input: found[s.output] for s in spec.states}
        said = {n: found[n] for n in (spec.values, spec.sd, spec.maps, spec.ahead) if n}
        step = {**feed, **said}
        size += sum(array.nbytes for array in step.values())
        if rows and size > MOST_BYTES:
            break
        for name, array in step.items():
            rows.setdefault(name, []).append(np.array(array))
    return write_reference({name: np.stack(arrays) for name, arrays in rows.items()})

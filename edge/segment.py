"""Where the sheets and muscles of a picture are, by a network: any bundle that gives those maps."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import BundleError, load_bundle
from edge.preprocess import UsPipeline
from edge.runtime import open_engine
from firmware_bridge.types import Geometry
from models.spec import Step

SEGMENTER = "calf-segmenter"  # the one that ships
MAPS = ("aponeurosis", "mg", "sol")


class Segmentation:
    """A segmenter on this machine; call it with pictures of any size.

    Raises BundleError for a bundle that gives no such maps, and EngineError.
    """

    def __init__(self, bundle: str = SEGMENTER):
        loaded = load_bundle(bundle)
        spec = loaded.spec
        if spec.map_names != MAPS or len(spec.inputs) != 1 or spec.states:
            raise BundleError(
                f"{loaded.id} does not turn one picture into maps of {', '.join(MAPS)}: "
                f"use {SEGMENTER}"
            )
        (given,) = spec.inputs
        lines, samples = given.shape[-2:]
        # The whole picture, however deep: on the device the network sees a window in millimetres.
        whole = Step("resize", {"lines": lines, "samples": samples})
        kept = (s for s in given.steps if s.op not in ("physical_crop", "resize"))
        self.id = loaded.id
        self._input = replace(given, steps=(whole, *kept))
        self._engine = open_engine(loaded)
        self._maps = spec.maps
        self._pipelines: dict[tuple[int, ...], UsPipeline] = {}

    def __call__(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities ``(3, lines, samples)`` of MAPS, of the network's own size, fresh.

        ``image`` is B-mode brightness 0..255, ``(lines, samples)`` of any size.
        """
        if image.shape not in self._pipelines:
            lines, samples = image.shape
            whole = Geometry("bmode", lines, samples, dz_mm=1.0, dx_mm=1.0)  # resize needs no scale
            self._pipelines[image.shape] = UsPipeline(whole, self._input)
        np.copyto(self._engine.inputs[self._input.name], self._pipelines[image.shape].run(image))
        self._engine.run()
        return np.array(self._engine.outputs[self._maps][0])

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()

"""Which recorded inputs a network is calibrated with, and the range of every tensor on them.

A quantised tensor has 256 values between its ends: the inputs that decide the ends must be among
those looked at, however rare they are.
"""

import contextlib
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Rows = Sequence[Mapping[str, F32]]  # inputs and states by tensor name, one step each

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy")
PERCENTILE = 99.99
LOOKS = 48  # random projections that a step is compared by, besides its own statistics


class RangeError(ValueError):
    """Inputs that no range can be had from; the message says why."""


def choose(rows: Rows, count: int, seed: int = 0) -> list[int]:
    """Places of ``count`` steps that differ most from each other, in order.

    Farthest points (Gonzalez 1985) from the one nearest to the mean, by each input's mean, SD,
    extremes and seeded random projections: rare inputs come first, repeated ones never.
    Raises RangeError where there is no row, or one is not finite.
    """
    if not rows:
        raise RangeError("no inputs to calibrate with: give a recording")
    looks = np.concatenate([_looks(np.stack([r[n] for r in rows]), seed) for n in rows[0]], 1)
    if not np.isfinite(looks).all():
        bad = int(np.flatnonzero(~np.isfinite(looks).all(1))[0])
        raise RangeError(f"input {bad} is not finite: leave out what the device would refuse")
    spread = looks.std(0)
    looks = (looks - looks.mean(0)) / np.where(spread > 0, spread, 1.0)
    found = [int(np.argmin((looks**2).sum(1)))]
    away = ((looks - looks[found[0]]) ** 2).sum(1)
    while len(found) < min(count, len(rows)) and away.max() > 0:
        found.append(int(np.argmax(away)))
        away = np.minimum(away, ((looks - looks[found[-1]]) ** 2).sum(1))
    return sorted(found)


def ranges_of(model: Any, rows: Rows, method: Method = "minmax") -> Any:
    """The range of every float tensor of ``model`` (a ModelProto) on ``rows``.

    By ONNX Runtime's calibrators, as its quantiser takes them (``TensorsData``).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows = iter(rows)

        def get_next(self) -> Mapping[str, F32] | None:
            return next(self.rows, None)

    how = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }[method]
    extra = {"percentile": PERCENTILE} if method == "percentile" else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        calibrator = create_calibrator(
            path, None, str(Path(folder) / "augmented.onnx"), how, extra_options=extra
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it reports its bins
            calibrator.collect_data(Reader())
            return calibrator.compute_data()


def _looks(x: F32, seed: int) -> NDArray[np.float64]:
    """``(n, ...)`` to ``(n, looks)``."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    plain = np.stack([flat.mean(1), flat.std(1), flat.min(1), flat.max(1)], 1)
    size = flat.shape[1]
    if size <= LOOKS:
        return np.concatenate([plain, flat], 1)
    directions = np.random.default_rng(seed).standard_normal((size, LOOKS)) / np.sqrt(size)
    return np.concatenate([plain, flat @ directions], 1)

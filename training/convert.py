"""From an original file of a data set to the file we read, and the digest that proves it right."""

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# of one clip of us_mg_dynamometer: 100 Hz signals (n,) float64, and for every video frame the
# index into them, int64
MG_ARRAYS = ("time", "torque_nm", "angle_deg", "velocity_deg_s", "frame_sample")


class ConversionError(ValueError):
    """An original does not hold what the registry says; nothing was written."""


def convert(original: Path, target: Path, how: str, sha256_content: str) -> bytes:
    """The bytes of ``target`` made from ``original``.  Raises ConversionError."""
    make: dict[str, Callable[[Path, Path, str], bytes]] = {
        "copy": lambda original, _target, _sha: original.read_bytes(),
        "gzip": lambda original, _target, _sha: gzip.compress(original.read_bytes(), mtime=0),
        "png": lambda original, _target, _sha: _png(original),
        "mg_signals": _mg_signals,
    }
    made = make[how](original, target, sha256_content)
    if _digest(made, how) != sha256_content:
        raise ConversionError(f"{target.name}: the content of {original.name} is not as recorded")
    return made


def content_sha256(path: Path, how: str) -> str:
    """Digest of what ``path`` holds, however it was packed; empty when it cannot be unpacked."""
    try:
        return _digest(path.read_bytes(), how)
    except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile):
        return ""


def pixels_sha256(data: bytes) -> str:
    """Digest of the pixels (h, w) or (h, w, 3) uint8 of an image file, preceded by the shape."""
    pixels = _pixels(data)
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def arrays_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Digest of MG_ARRAYS in that order, in millionths of their unit as little-endian int64.

    Rounded, so that it does not hang on the last bit of a time axis.
    """
    digest = hashlib.sha256()
    for name in MG_ARRAYS:
        digest.update(np.rint(1e6 * arrays[name]).astype("<i8").tobytes())
    return digest.hexdigest()


def _digest(data: bytes, how: str) -> str:
    if how == "png":
        return pixels_sha256(data)
    if how == "mg_signals":
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return arrays_sha256(arrays)
    return hashlib.sha256(gzip.decompress(data) if how == "gzip" else data).hexdigest()


def _pixels(data: bytes) -> NDArray[np.uint8]:
    """Decode; three identical channels are one."""
    import cv2

    coded = np.frombuffer(data, np.uint8)
    pixels = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED) if len(coded) else None
    if pixels is None:
        raise ConversionError("not an image that OpenCV reads")
    if pixels.ndim == 3 and all((pixels[..., 0] == pixels[..., c]).all() for c in (1, 2)):
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _png(original: Path) -> bytes:
    import cv2

    _, png = cv2.imencode(".png", _pixels(original.read_bytes()))
    return bytes(png.tobytes())


def _mg_signals(original: Path, target: Path, sha256_content: str) -> bytes:
    """One clip of ``clips.<trial>.<push>`` as .npz of MG_ARRAYS.

    The authors' own program names four fields (time, TOR, POS and the 1-based frameInds) but never
    reads the velocity: of the remaining channels it is the one that gives the recorded digest.
    """
    trial, push = target.stem[: -len("_push_01")], target.stem[-len("push_01") :]
    fields = _clip_fields(original, trial, push)
    try:
        arrays = {
            "time": fields.pop("time"),
            "torque_nm": fields.pop("TOR"),
            "angle_deg": fields.pop("POS"),
            "frame_sample": fields.pop("frameInds").astype(np.int64) - 1,
        }
    except KeyError as e:
        raise ConversionError(f"{original.name}: clip {target.stem} has no field {e}") from e
    for velocity in fields.values():
        arrays["velocity_deg_s"] = velocity
        if arrays_sha256(arrays) == sha256_content:
            packed = io.BytesIO()
            np.savez_compressed(
                packed, allow_pickle=False, **{name: arrays[name] for name in MG_ARRAYS}
            )
            return packed.getvalue()
    raise ConversionError(f"{original.name}: clip {target.stem} is not as recorded")


def _clip_fields(path: Path, trial: str, push: str) -> dict[str, NDArray[np.float64]]:
    """Every numeric field of one clip, flat, from a MATLAB file before or since version 7.3."""
    try:
        return dict(
            _fields_hdf5(path, trial, push) if _is_hdf5(path) else _fields(path, trial, push)
        )
    except Exception as e:  # on a torn file the MATLAB readers raise whatever they stumble over
        raise ConversionError(f"{path.name}: no clip {trial}.{push} in it ({e})") from e


def _is_hdf5(path: Path) -> bool:
    """MATLAB 7.3 puts HDF5 after its own 512-byte header."""
    with path.open("rb") as f:
        return f.read(520)[-8:] == b"\x89HDF\r\n\x1a\n"


def _fields(path: Path, trial: str, push: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    from scipy.io import loadmat

    clips = loadmat(path, squeeze_me=True, struct_as_record=False)["clips"]
    clip = getattr(getattr(clips, trial), push)
    for name in clip._fieldnames:
        value = np.asarray(getattr(clip, name))
        if value.dtype.kind in "fiu":
            yield name, value.astype(np.float64).ravel()


def _fields_hdf5(path: Path, trial: str, push: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    import h5py

    with h5py.File(path) as f:
        for name, value in f["clips"][trial][push].items():
            if isinstance(value, h5py.Dataset) and value.dtype.kind in "fiu":
                yield name, value[()].astype(np.float64).ravel()

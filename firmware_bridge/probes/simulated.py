"""``usb:sim?…``: a simulated probe behind the ``usb:`` driver, in this process.

``usb:sim`` shows moving speckle, ``lines`` by ``samples``.
``usb:sim?video=push.mp4&px_mm=0.0883&crop=215,45,720,574&lines=180&samples=287&fps=61`` shows a
recorded B-mode video, reduced to lines and samples by area averaging.
``usb:sim?frames=wearer.npy&dx_mm=0.35&dz_mm=0.18`` shows an array (frames, lines, samples) of uint8
B-mode or int16 RF.  ``video`` and ``frames`` may name several files, shown one after another;
``loop=off`` falls silent at their end.  ``fault=garbage@120x3,hang@200`` does harm on purpose
(``simulated_faults.py``).

Every opening is a new unit: it begins with frame 0.  Frame ``seq`` shows picture ``seq % count``.
"""

from collections.abc import Callable
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.address import Address, flag
from firmware_bridge.probes.simulated_backend import SimulatedBus
from firmware_bridge.probes.simulated_faults import parse_faults
from firmware_bridge.probes.simulated_firmware import Firmware, Picture, Source
from firmware_bridge.probes.video_frames import parse_crop, read_video
from firmware_bridge.probes.wire import Capability, Info, Range, State, raster_of
from firmware_bridge.types import DeviceError, Geometry

SPECKLE_FRAMES = 32
_NONE: tuple[str, ...] = ()


def simulated_bus(a: Address) -> SimulatedBus:
    """A bus with the probe that ``a`` describes; takes its parameters.  Raises DeviceError."""
    videos, arrays = a.take("video", _NONE, _list), a.take("frames", _NONE, _list)
    crop = a.take("crop", None, parse_crop)
    px_mm, dx_mm, dz_mm = (a.take(key, 0.0, float) for key in ("px_mm", "dx_mm", "dz_mm"))
    lines, samples = a.take("lines", 0, int), a.take("samples", 0, int)
    loop, faults = a.take("loop", True, flag), a.take("fault", parse_faults(""), parse_faults)
    rate_hz = 30.0
    if videos:
        _need(a, px_mm, "how large a pixel of the video is: px_mm=0.1")
        video = read_video(videos, crop, lines, samples)
        pictures, rate_hz = video.frames, video.fps
        dx_mm, dz_mm = (px_mm * pixels for pixels in video.pixels)
    elif arrays:
        _need(a, min(dx_mm, dz_mm), "how far lines and samples are apart: dx_mm=0.3&dz_mm=0.1")
        pictures = load_arrays(arrays)
    else:
        pictures, dx_mm, dz_mm = speckle(lines or 128, samples or 512), dx_mm or 0.3, dz_mm or 0.1
    geometry = Geometry(
        "bmode" if pictures.dtype == np.uint8 else "rf",
        pictures.shape[1],
        pictures.shape[2],
        dz_mm=dz_mm,
        dx_mm=dx_mm,
    )
    source = recorded(pictures, loop=loop)
    info = probe_info(geometry, rate_hz)
    return SimulatedBus(lambda: Firmware(info, source, faults))


def probe_info(
    geometry: Geometry,
    rate_hz: float,
    capabilities: Capability = Capability.RATE | Capability.HV,
) -> Info:
    """What a simulated probe says of itself: a recording has its own depth and gain."""
    depth = min(round(10 * (geometry.depth0_mm + geometry.samples * geometry.dz_mm)), 0xFFFF)
    return Info(
        raster_of(geometry),
        capabilities,
        State(0),
        depth=Range(depth, depth, depth),
        gain=Range(0, 0, 0),
        rate=Range(round(rate_hz * 100), 100, 0xFFFF),
    )


def recorded(pictures: NDArray[Any], *, loop: bool = True) -> Source:
    """Pictures (frames, lines, samples), with bytes and checksums made now, not while serving."""
    ready = [_picture(p) for p in pictures]
    return lambda k: ready[k % len(ready)] if loop or k < len(ready) else None


def drawn(draw: Callable[[int], NDArray[Any]]) -> Source:
    """Pictures (lines, samples) made when they are needed, by frame counter."""
    return lambda k: _picture(draw(k))


def speckle(lines: int, samples: int) -> NDArray[np.uint8]:
    """(32, lines, samples): noise that sinks by one sample per frame, so that frames differ."""
    noise = np.random.default_rng(1).rayleigh(40, (lines, samples)).clip(0, 255).astype(np.uint8)
    return np.stack([np.roll(noise, k, axis=1) for k in range(SPECKLE_FRAMES)])


def load_arrays(paths: tuple[str, ...]) -> NDArray[Any]:
    """``.npy`` files of (frames, lines, samples), uint8 or int16, joined.  Raises DeviceError."""
    try:
        parts = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
        joined: NDArray[Any] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    except (OSError, ValueError) as e:
        raise DeviceError(f"no pictures in {', '.join(paths)}: {e}") from e
    if joined.ndim != 3 or not joined.size or joined.dtype not in (np.uint8, np.int16):
        raise DeviceError(
            f"{', '.join(paths)}: expected (frames, lines, samples) uint8 or int16, "
            f"found {joined.shape} {joined.dtype}"
        )
    return joined


def _picture(pixels: NDArray[Any]) -> Picture:
    payload = np.ascontiguousarray(pixels).data.cast("B")
    return payload, crc32(payload)


def _need(a: Address, value: float, what: str) -> None:
    if not value > 0:
        raise DeviceError(f"{a.text!r}: say {what}")


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))

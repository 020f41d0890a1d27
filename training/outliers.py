"""Pictures that no estimate may trust: spoilt ones made from good ones, and plain noise.

Half of the kinds are shown to the network in training (outlier exposure, Hendrycks et al. 2019),
the others are kept for testing, so that a test says something about what nobody thought of.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.state_data import MapsOf, Pictures

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Spoil = Callable[[F32, np.random.Generator], NDArray[np.floating]]

NOBODY = -1  # person of a picture that shows none


@dataclass(frozen=True)
class Spoilt(Pictures):
    """Spoilt pictures; ``person`` is whom each was made from, ``NOBODY`` where it shows none.

    That keeps them out of folds which hold the person out.
    """

    kinds: tuple[str, ...]
    kind: NDArray[np.intp]  # (n,) indexes ``kinds``


def spoil(
    pictures: Pictures, kinds: Sequence[str], each: int, seed: int, maps_of: MapsOf
) -> Spoilt:
    """``each`` pictures of every kind, made from pictures drawn at random and segmented again.

    Deterministic in ``seed``.  Raises ValueError for a kind that is not in SHOWN or UNSEEN.
    """
    known = {**SHOWN, **UNSEEN}
    if unknown := set(kinds) - set(known):
        raise ValueError(f"no kind of outlier {sorted(unknown)}; known: {list(known)}")
    images = np.empty((len(kinds) * each, *pictures.images.shape[1:]), np.uint8)
    person = np.empty(len(images), np.intp)
    for k, name in enumerate(kinds):
        rng = np.random.default_rng([seed, list(known).index(name)])
        for j in range(k * each, (k + 1) * each):
            source = rng.integers(len(pictures.images))
            images[j] = spoilt(pictures.images[source], name, rng)
            person[j] = NOBODY if name in EMPTY else pictures.person[source]
    kind = np.repeat(np.arange(len(kinds)), each)
    return Spoilt(images, maps_of(images), person, tuple(kinds), kind)


def made_from(pictures: Spoilt, people: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of the pictures that show one of ``people``, or nobody."""
    return np.flatnonzero(np.isin(pictures.person, [NOBODY, *people]))


def spoilt(image: U8, kind: str, rng: np.random.Generator) -> U8:
    """One picture ``(lines, samples)`` spoilt in one way."""
    changed = {**SHOWN, **UNSEEN}[kind](image.astype(np.float32), rng)
    return np.clip(np.round(changed), 0, 255).astype(np.uint8)


def _flat(x: F32, rng: np.random.Generator) -> F32:
    """One grey level, black as often as not, with what little noise a receiver has."""
    level = rng.choice([0.0, rng.uniform(0, 255)])
    return np.asarray(level + rng.uniform(0, 3) * rng.standard_normal(x.shape), np.float32)


def _noise(x: F32, rng: np.random.Generator) -> F32:
    """Grains of any size, a probe in air included: log-compressed Rayleigh noise, smoothed."""
    field = rng.standard_normal((2, *x.shape)) * np.exp(rng.uniform(-1, 1))
    field = ndimage.gaussian_filter(field, (0, *rng.uniform(0.01, 2.5, 2)))
    level = 20 * np.log10(np.hypot(*field) / np.hypot(*field).max() + 1e-4)
    return np.asarray(255 + level * 255 / rng.uniform(30, 70) - rng.uniform(0, 80), np.float32)


def _clouds(x: F32, rng: np.random.Generator) -> F32:
    """Noise with a power-law spectrum: structure at every scale, none of it muscle."""
    f = np.hypot(
        np.fft.fftfreq(x.shape[0])[:, None], np.fft.fftfreq(x.shape[1]) * rng.uniform(0.3, 3)
    )
    f[0, 0] = np.inf
    waves = np.fft.fft2(rng.standard_normal(x.shape)) * f ** -rng.uniform(0.5, 2)
    clouds = np.real(np.fft.ifft2(waves))
    return np.asarray(
        rng.uniform(30, 130) + rng.uniform(15, 60) * clouds / clouds.std(), np.float32
    )


def _stripes(x: F32, rng: np.random.Generator) -> F32:
    """Regular stripes: a test pattern, or mains hum over the picture."""
    i, j = np.indices(x.shape)
    phase = rng.uniform(0.05, 1.2) * (i * np.sin(a := rng.uniform(0, np.pi)) + j * np.cos(a))
    return np.asarray(rng.uniform(40, 120) + rng.uniform(20, 100) * np.sin(phase), np.float32)


def _zoom(x: F32, across: float, deep: float) -> F32:
    """Resampled about the middle of the skin line; what was never seen is black."""
    n = x.shape[0]
    offset = ((n - 1) / 2 * (1 - across), 0.0)
    return np.asarray(ndimage.affine_transform(x, (across, deep), offset, order=1), np.float32)


def _too_deep(x: F32, rng: np.random.Generator) -> F32:
    """The depth set is half to two thirds of the true one: everything looks smaller."""
    return _zoom(x, s := rng.uniform(1.6, 2.2), s)


def _too_shallow(x: F32, rng: np.random.Generator) -> F32:
    """The opposite: everything looks 1.8 to 2.5 times its size."""
    return _zoom(x, s := 1 / rng.uniform(1.8, 2.5), s)


def _squeezed(x: F32, rng: np.random.Generator) -> F32:
    """Wrong along depth only: the video grabber's aspect ratio."""
    return _zoom(x, 1.0, rng.uniform(1.7, 2.3))


def _stretched(x: F32, rng: np.random.Generator) -> F32:
    return _zoom(x, 1.0, 1 / rng.uniform(1.8, 2.5))


def _sunk(x: F32, rng: np.random.Generator) -> F32:
    """A gel pad, or no contact but at depth: the leg begins 20 to 35 mm down."""
    down = int(rng.uniform(0.4, 0.7) * x.shape[1])
    pad = rng.uniform(0, 40) * rng.random((x.shape[0], down))
    return np.concatenate([pad.astype(np.float32), x[:, :-down]], 1)


def _risen(x: F32, rng: np.random.Generator) -> F32:
    """The window begins below the muscle: what is deeper than the picture is noise."""
    up = int(rng.uniform(0.5, 0.8) * x.shape[1])
    deep = x[:, -8:].mean() + 6 * rng.standard_normal((x.shape[0], up))
    return np.concatenate([x[:, up:], deep.astype(np.float32)], 1)


def _jigsaw(x: F32, rng: np.random.Generator) -> F32:
    """Tiles in the wrong places: every texture is right, the anatomy is not."""
    k = int(rng.choice([2, 4, 8]))
    n, m = x.shape[0] // k, x.shape[1] // k
    tiles = x.reshape(k, n, k, m).swapaxes(1, 2).reshape(k * k, n, m)
    order = rng.permutation(k * k)
    while np.array_equal(order, np.arange(k * k)):
        order = rng.permutation(k * k)
    return tiles[order].reshape(k, k, n, m).swapaxes(1, 2).reshape(x.shape)


def _halves(x: F32, rng: np.random.Generator) -> F32:
    """The probe has lifted off: half to nine tenths of the lines are dark."""
    lost = int(rng.uniform(0.5, 0.9) * len(x))
    first = rng.choice([0, len(x) - lost])
    y = x.copy()
    y[first : first + lost] = rng.uniform(0, 12) * rng.random((lost, x.shape[1]))
    return y


def _burnt(x: F32, rng: np.random.Generator) -> F32:
    """Far too much gain: most of the picture is white."""
    return np.asarray((x - rng.uniform(0, 20)) * rng.uniform(6, 12), np.float32)


# kind: how a picture of 0..255 becomes one of it
SHOWN: dict[str, Spoil] = {
    "flat": _flat,
    "noise": _noise,
    "inverted": lambda x, rng: 255 - x,
    "mirrored": lambda x, rng: x[::-1],
    "blurred": lambda x, rng: ndimage.gaussian_filter(x, rng.uniform(5, 12)),
    "too deep": _too_deep,
    "squeezed": _squeezed,
    "sunk": _sunk,
    "jigsaw": _jigsaw,
    "buried": lambda x, rng: 0.25 * x + rng.uniform(30, 60) * np.abs(rng.standard_normal(x.shape)),
}
UNSEEN: dict[str, Spoil] = {
    "upside down": lambda x, rng: x[:, ::-1],
    "turned": lambda x, rng: x.T,
    "too shallow": _too_shallow,
    "stretched": _stretched,
    "risen": _risen,
    "half lost": _halves,
    "burnt": _burnt,
    "clouds": _clouds,
    "stripes": _stripes,
}
EMPTY = ("flat", "noise", "clouds", "stripes")  # show nobody

"""The surface that a scene is painted on: colour, elevation, slope light and labels, addressed in metres.

Colours are linear light 0..1; x grows to the right and y downwards from the upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

GAMMA = 2.2


def linear(colour: ArrayLike) -> Floats:
    """Linear light 0..1 of an sRGB colour 0..255 (the plain 2.2 power, close enough here)."""
    return (np.asarray(colour, np.float32) / 255) ** GAMMA


class Noise:
    """Fractal noise of unit variance, made once per scene by shaping white noise in the Fourier domain.

    Periodic, so any roll of a field is as good as a new one: that is what keeps scenes fast.

    Args:
        rng: source of randomness.
        shape: rows, columns of the canvas.
    """

    SLOPES: ClassVar[dict[str, float]] = {"fine": 0.4, "grain": 0.9, "patchy": 1.5, "smooth": 2.3}

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int]) -> None:
        rows, columns = (scipy.fft.next_fast_len(n, real=True) for n in shape)
        frequency = np.hypot(np.fft.fftfreq(rows)[:, None] * rows, np.fft.rfftfreq(columns)[None] * columns).astype(
            np.float32
        )
        frequency[0, 0] = np.inf
        self.shape = shape
        self._fields: dict[str, Floats] = {}
        for name, slope in self.SLOPES.items():
            spectrum = scipy.fft.rfft2(rng.standard_normal((rows, columns), dtype=np.float32))
            field = scipy.fft.irfft2(spectrum * frequency**-slope, s=(rows, columns))
            self._fields[name] = (field / field.std()).astype(np.float32)

    def field(self, name: str, rng: np.random.Generator) -> Floats:
        """A canvas-sized field [h, w], rolled at random."""
        source = self._fields[name]
        shift = (int(rng.integers(source.shape[0])), int(rng.integers(source.shape[1])))
        return np.roll(source, shift, (0, 1))[: self.shape[0], : self.shape[1]]

    def cut(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """A piece of the given shape from a random place."""
        source = self._fields[name]
        row = int(rng.integers(max(source.shape[0] - shape[0], 0) + 1))
        column = int(rng.integers(max(source.shape[1] - shape[1], 0) + 1))
        return source[row : row + shape[0], column : column + shape[1]]


@dataclass(frozen=True)
class Patch:
    """A window of the canvas with local coordinates in metres: ``u`` along, ``v`` across, both [h, w]."""

    window: tuple[slice, slice]
    u: Floats
    v: Floats
    cosine: float
    sine: float

    def box(self, u: float, v: float, half_u: float, half_v: float) -> Bools:
        """Where the pixel centre lies in a rectangle of the local frame."""
        return (np.abs(self.u - u) < half_u) & (np.abs(self.v - v) < half_v)

    def to_canvas(self, du: Floats, dv: Floats) -> tuple[Floats, Floats]:
        """A local vector field (du, dv) in canvas axes (dx, dy)."""
        return self.cosine * du - self.sine * dv, self.sine * du + self.cosine * dv


class Canvas:
    """Layers of one date, all [h, w] float32 unless said.

    Attributes:
        colour: [h, w, 3] linear light under full sun on flat ground.
        elevation: metres above the ground.
        slope_light: direct sunlight relative to flat ground.
        semantic: uint8 class.
        building: int32 id of the house, 0 = none.
    """

    def __init__(self, shape: tuple[int, int], pixel: float) -> None:
        self.shape = shape
        self.pixel = pixel
        self.colour = np.zeros((*shape, 3), np.float32)
        self.elevation = np.zeros(shape, np.float32)
        self.slope_light = np.ones(shape, np.float32)
        self.semantic = np.zeros(shape, np.uint8)
        self.building = np.zeros(shape, np.int32)
        self._y = (np.arange(shape[0], dtype=np.float32) + 0.5) * pixel
        self._x = (np.arange(shape[1], dtype=np.float32) + 0.5) * pixel

    def patch(self, x: float, y: float, angle: float, half_u: float, half_v: float) -> Patch | None:
        """The window around a rotated rectangle, or None where it misses the canvas.

        Args:
            x: centre, metres.
            y: centre, metres.
            angle: of the local u axis from +x towards +y.
            half_u: half extent along u.
            half_v: half extent along v.
        """
        cosine, sine = float(np.cos(angle)), float(np.sin(angle))
        reach_x = abs(cosine) * half_u + abs(sine) * half_v + self.pixel
        reach_y = abs(sine) * half_u + abs(cosine) * half_v + self.pixel
        left, right = int((x - reach_x) // self.pixel), int((x + reach_x) // self.pixel) + 1
        top, bottom = int((y - reach_y) // self.pixel), int((y + reach_y) // self.pixel) + 1
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, self.shape[1]), min(bottom, self.shape[0])
        if left >= right or top >= bottom:
            return None
        dx = self._x[None, left:right] - np.float32(x)
        dy = self._y[top:bottom, None] - np.float32(y)
        window = (slice(top, bottom), slice(left, right))
        return Patch(window, cosine * dx + sine * dy, -sine * dx + cosine * dy, cosine, sine)

    def whole(self, angle: float) -> Patch:
        """The whole canvas with a rotated frame around its upper left corner."""
        cosine, sine = float(np.cos(angle)), float(np.sin(angle))
        x, y = self._x[None], self._y[:, None]
        window = (slice(0, self.shape[0]), slice(0, self.shape[1]))
        return Patch(window, cosine * x + sine * y, -sine * x + cosine * y, cosine, sine)

    def paint(
        self,
        patch: Patch,
        where: Bools | Floats,
        colour: Floats,
        semantic: int | None = None,
    ) -> None:
        """Lay a colour ((3,) or [h, w, 3]) over a patch, by mask or by opacity 0..1.

        The class changes where the opacity exceeds one half.
        """
        target = self.colour[patch.window]
        if where.dtype == bool:
            target[where] = colour[where] if colour.ndim == 3 else colour
            solid = where
        else:
            target += where[..., None] * (colour - target)
            solid = where > 0.5
        if semantic is not None:
            self.semantic[patch.window][solid] = semantic

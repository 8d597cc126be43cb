"""From the painted surface to a picture: shadows, viewing angle, atmosphere and sensor."""

from __future__ import annotations

import io

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from PIL import Image

from changen2.scenes.canvas import GAMMA, Canvas, Floats
from changen2.scenes.style import DateStyle

SKY = np.array([0.86, 0.97, 1.2], np.float32)  # light in shadow is bluish


def _shifted(source: NDArray[np.generic], rows: int, columns: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices (target, origin) so that target[p] = source[p + (rows, columns)] within the array."""
    height, width = source.shape[:2]
    target = (slice(max(-rows, 0), height - max(rows, 0)), slice(max(-columns, 0), width - max(columns, 0)))
    origin = (slice(max(rows, 0), height - max(-rows, 0)), slice(max(columns, 0), width - max(-columns, 0)))
    return target, origin


def cast_shadow(elevation: Floats, pixel: float, date: DateStyle, softness: float = 0.5) -> Floats:
    """Share of direct sun that is blocked, 0..1 [h, w], by marching from each pixel towards the sun.

    Args:
        elevation: metres [h, w].
        pixel: metres a pixel.
        date: the sun.
        softness: metres of height over which the shadow's edge fades.
    """
    slope = float(np.tan(date.sun_elevation))
    reach = float(elevation.max()) / slope
    dx, dy = float(np.cos(date.sun_azimuth)), float(np.sin(date.sun_azimuth))
    step = pixel / max(abs(dx), abs(dy))
    above = np.full(elevation.shape, -np.inf, np.float32)
    for k in range(1, int(reach / step) + 2):
        distance = k * step
        rows, columns = round(dy * distance / pixel), round(dx * distance / pixel)
        if abs(rows) >= elevation.shape[0] or abs(columns) >= elevation.shape[1]:
            break
        target, origin = _shifted(elevation, rows, columns)
        part = above[target]
        np.maximum(part, elevation[origin] - np.float32(distance * slope), out=part)
    above -= elevation
    return np.clip(above / softness, 0, 1)


def illuminate(canvas: Canvas, date: DateStyle) -> Floats:
    """Linear light [h, w, 3] leaving the surface: sun times slope times shadow, plus sky."""
    shadow = scipy.ndimage.gaussian_filter(cast_shadow(canvas.elevation, canvas.pixel, date), 0.7)
    sun = canvas.slope_light * (1 - shadow) * (1 - date.skylight)
    around = scipy.ndimage.gaussian_filter(canvas.elevation, 1.5 / canvas.pixel)
    open_sky = np.clip(1 - 0.09 * np.maximum(around - canvas.elevation, 0), 0.55, 1)
    return canvas.colour * (sun[..., None] + (date.skylight * open_sky)[..., None] * SKY)


def lean(canvas: Canvas, picture: Floats, date: DateStyle) -> None:
    """See the scene from the side, in place: what is high moves by its height times the viewing tangent.

    Walls that come into view are painted in a plain tone; labels and building ids move with the roofs.
    """
    shift_x, shift_y = date.lean
    reach = float(np.hypot(shift_x, shift_y)) * float(canvas.elevation.max()) / canvas.pixel
    count = int(np.ceil(reach))
    if count == 0:
        return
    step = float(canvas.elevation.max()) / count
    flat = (canvas.elevation.copy(), picture.copy(), canvas.semantic.copy(), canvas.building.copy())
    for k in range(1, count + 1):
        level = k * step
        rows = -round(shift_y * level / canvas.pixel)
        columns = -round(shift_x * level / canvas.pixel)
        target, origin = _shifted(flat[0], rows, columns)
        reached = flat[0][origin] >= level - 0.5 * step
        wall = reached & (flat[0][origin] > level + 0.5 * step) & (flat[3][origin] > 0)
        picture[target][reached] = flat[1][origin][reached]
        canvas.semantic[target][reached] = flat[2][origin][reached]
        canvas.building[target][reached] = flat[3][origin][reached]
        picture[target][wall] = picture[target][wall] * 0.35 + 0.12


def expose(linear_light: Floats, date: DateStyle, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as delivered: uint8 [h, w, 3] after haze, tone, blur, noise and compression."""
    haze = np.array([0.46, 0.52, 0.6], np.float32)
    light = linear_light * np.asarray(date.cast, np.float32) * np.float32(date.exposure)
    light = light * (1 - date.haze) + haze * date.haze * 0.6
    light = scipy.ndimage.gaussian_filter(light, (date.blur, date.blur, 0))
    display = np.power(np.clip(light, 0, 1.5), 1 / GAMMA)
    # A soft shoulder keeps bright roofs from clipping to a flat white.
    display = np.where(display > 0.8, 0.8 + 0.2 * np.tanh((display - 0.8) / 0.2), display)
    display = (display - 0.42) * date.contrast + 0.42
    coarse = scipy.ndimage.gaussian_filter(rng.standard_normal(display.shape, dtype=np.float32), (0.5, 0.5, 0))
    picture = np.clip(display * 255 + coarse * date.noise * 1.6, 0, 255).astype(np.uint8)
    if date.jpeg is None:
        return picture
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=date.jpeg)
    return np.array(Image.open(buffer))

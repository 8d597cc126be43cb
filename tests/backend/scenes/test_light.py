"""Shadows fall away from the sun, as long as trigonometry says."""

from dataclasses import replace

import numpy as np

from changen2.scenes.canvas import Canvas
from changen2.scenes.light import cast_shadow, lean
from changen2.scenes.style import DateStyle

DATE = replace(DateStyle.random(np.random.default_rng(0)), sun_azimuth=0.0, sun_elevation=np.pi / 4, lean=(0.5, 0.0))


def test_a_block_casts_a_shadow_of_its_height_away_from_the_sun() -> None:
    elevation = np.zeros((21, 41), np.float32)
    elevation[8:13, 20:25] = 6.0
    shadow = cast_shadow(elevation, 1.0, DATE, softness=0.01)
    # The sun stands to the right at 45 degrees, so the shadow of 6 m lies on the left, 6 pixels long.
    assert shadow[10, 15:20].min() > 0.9
    assert shadow[10, :13].max() == 0
    assert shadow[10, 25:].max() == 0
    assert shadow[:8].max() == 0


def test_what_is_high_moves_with_its_label() -> None:
    canvas = Canvas((9, 30), 1.0)
    canvas.elevation[3:6, 5:10] = 8.0
    canvas.building[3:6, 5:10] = 1
    picture = np.zeros((9, 30, 3), np.float32)
    picture[3:6, 5:10] = 1.0
    lean(canvas, picture, DATE)
    # 8 m seen at a tangent of 0.5 moves 4 pixels; the roof keeps its size.
    assert canvas.building[4, 9:14].all()
    assert not canvas.building[4, 14:].any()
    assert (picture[4, 9:14] == 1).all()

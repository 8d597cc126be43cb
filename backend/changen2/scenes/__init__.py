"""Simulated scenes drawn by code, with perfect labels.

``draw_pair(seed, height, width, gsd)`` gives a picture before and after with class maps and the change of
buildings; ``SceneStyle`` says what is drawn.
"""

from changen2.scenes.classes import CLASSES
from changen2.scenes.pair import ScenePair, draw_pair
from changen2.scenes.style import DateStyle, SceneStyle

__all__ = ["CLASSES", "DateStyle", "ScenePair", "SceneStyle", "draw_pair"]

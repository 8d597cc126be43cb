"""Accuracy and areas of a map from a stratified sample of points, with confidence intervals.

The strata need not be the map's classes: a map may have changed since its points were drawn. Every measure is a ratio
of two totals over all pixels, estimated by Stehman 2014 (International Journal of Remote Sensing 35, equations 22 to
28). Where the strata are the map's classes, these are the estimates of Olofsson et al. 2014 (Remote Sensing of
Environment 148, equations 1 to 11) with finite population correction, as Stehman has it: of a stratum that was drawn
whole nothing is uncertain.

Points of a stratum that were all seen alike have no variance, and an interval made of it would say that nothing else is
in the whole stratum. How much else may be there the rule of three tells (Hanley & Lippman-Hand 1983, JAMA 249).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Sample:
    """Pixels that were drawn at random within strata, and what a person saw there.

    Attributes:
        stratum: that each was drawn in, from 0 ``[n]``.
        sizes: pixels of each stratum, of which at least two, or all, were drawn ``[strata]``.
        said: class on the map, from 0 ``[n]``.
        true: class in reality ``[n]``.
        ground: area of the pixel, any unit; 0 where the map holds nothing ``[n]``.
    """

    stratum: NDArray[np.int64]
    sizes: NDArray[np.float64]
    said: NDArray[np.int64]
    true: NDArray[np.int64]
    ground: NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % confidence interval, which is None where it is not known."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Alike:
    """A stratum that was not drawn whole, and whose points were all seen alike.

    Attributes:
        stratum: from 0.
        points: of it on the map.
        true: the class that they all are.
        unseen: area that may be of another class all the same, with 95 % confidence, in the unit of the ground.
    """

    stratum: int
    points: int
    true: int
    unseen: float


def alike_strata(sample: Sample) -> list[Alike]:
    """Return the strata in which a sample saw one class alone, though there may be others."""
    found = []
    for stratum, size in enumerate(sample.sizes):
        here = sample.stratum == stratum
        drawn, on_map = np.count_nonzero(here), here & (sample.ground > 0)
        true, points = np.unique(sample.true[on_map]), np.count_nonzero(on_map)
        if drawn < size and true.size == 1:
            # Of what lies on the map the points there alone tell: they are a random sample of it.
            pixels = size * points / drawn
            unseen = min(3 / points * pixels, pixels - points) * sample.ground[on_map].mean()
            found.append(Alike(stratum, int(points), int(true[0]), float(unseen)))
    return found


def area_adjusted(sample: Sample, area: float, classes: int = 2) -> dict[str, list[Estimate | None]]:
    """Estimate accuracy and true areas from a sample.

    Args:
        sample: with a point on the map at least.
        area: of the map, any unit.
        classes: how many there are.

    Returns:
        ``overall`` (one), ``users`` and ``producers`` (a class each), and ``area`` in the unit given. None where no
        point tells: of a class that is nowhere in the sample. Intervals within what is possible; not known where they
        would rest on a stratum of which the sample saw one class alone, see `alike_strata`.
    """
    everywhere = np.ones(len(sample.said), bool)
    right = sample.said == sample.true
    said, true = ([column == number for number in range(classes)] for column in (sample.said, sample.true))
    return {
        "overall": [_share(sample, right, everywhere, everywhere)],
        "users": [_share(sample, right & here, here, here) for here in said],
        "producers": [_share(sample, right & here, here, everywhere) for here in true],
        "area": [_share(sample, here, everywhere, everywhere, area) for here in true],
    }


def _share(
    sample: Sample,
    part: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    rests_on: NDArray[np.bool_],
    scale: float = 1.0,
) -> Estimate | None:
    """The area of a part as a share of the area of the whole, times ``scale``.

    It rests on the strata of some of the points: none of them may have been seen alike for the interval to be known.
    """
    drawn = np.bincount(sample.stratum, minlength=len(sample.sizes))
    stands_for = (sample.sizes / drawn)[sample.stratum]
    part_area, whole_area = part * sample.ground, whole * sample.ground
    total = (stands_for * whole_area).sum()
    if total == 0:
        return None
    ratio = (stands_for * part_area).sum() / total
    rest = part_area - ratio * whole_area  # its variance is s²(y) + R² s²(x) − 2 R s(x, y)
    in_strata = (rest[sample.stratum == stratum] for stratum in range(len(sample.sizes)))
    spread = np.array([values.var(ddof=1) if values.size > 1 else 0.0 for values in in_strata])
    not_drawn = np.maximum(0, 1 - drawn / sample.sizes)
    variance = (sample.sizes**2 * not_drawn * spread / drawn).sum() / total**2
    strata = np.unique(sample.stratum[rests_on])
    alike = np.isin(strata, [each.stratum for each in alike_strata(sample)]).any()
    if alike or (variance == 0 and not_drawn[strata].any()):
        return Estimate(float(scale * ratio), None, None)
    half = NORMAL_95 * float(np.sqrt(variance))
    low, high = max(0.0, ratio - half), min(1.0, ratio + half)
    return Estimate(*(float(scale * value) for value in (ratio, low, high)))

"""An exemplar start: the change begins as a picture of the wanted class instead of noise (SDEdit, Meng et al. 2022).

That is a whole object of the same raster, turned and stretched into the change; where its labels hold none that fits,
an object drawn by code; and for what is neither, a patch of the class from the same raster or from another picture. It
is noised to some level and denoised to fit its surroundings. What goes on with an object of its class that stays begins
as that object, mirrored inwards: half a house does not become another one. What is to become background begins as a
piece of ground nearby that continues its rim, or as the ground around it, mirrored inwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from changen2.gpcm.cloning import clone_ground, within_reach
from changen2.gpcm.fitting import fit_object
from changen2.gpcm.labels import Box, mirrored_places
from changen2.gpcm.libraries import Exemplars, ExemplarsAt, GroundAt, Library, Mask, Picture

BACKGROUND = 0
"""The generator's class of what is nothing else; nothing can be copied for it."""

SIDES = (256, 96, 40)
"""Largest sides of a patch in pixels, tried in turn; a region larger than its patch repeats it mirrored."""

TRIES = 24
"""Patches that are compared for one region."""

GOOD, ENOUGH = 0.97, 0.6
"""Share of a region that a patch covers with the wanted class: good ends the search, less than enough is no patch."""

RIM = 4
"""Pixels around a region in which a patch had better show something else: the edge of a roof, not its middle."""

FITS = 0.7
"""Least score of a whole object that is turned and stretched into a region."""

TOUCHES = 0.15
"""Least share of a region's rim on which an object of its class stays, for the region to go on with that."""

NARROW = 1.5
"""Most pixels of a region for each of the object that its mirror image is of: more would only repeat its rim."""

SLIVER = 5
"""Pixels of ground along each side that what is removed is filled with where no piece of ground fits."""

BAND = 256
"""Rows that are mirrored at once, which bounds memory."""

SURROUNDINGS = "surroundings"
SAME_OBJECT = "same object"


@dataclass(frozen=True)
class Patch:
    """A picture with what of it shows the wanted class.

    Attributes:
        rgb: [3, h, w].
        covered: [h, w].
        score: how well it fits, at most 1.
        source: where it is from.
    """

    rgb: Picture
    covered: Mask
    score: float
    source: str


def start_picture(
    before: Picture,
    wanted: NDArray[np.uint8],
    change: Mask,
    valid: Mask,
    exemplars_at: ExemplarsAt,
    ground_at: GroundAt,
    seed: Sequence[int],
    counted: Mask | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Picture, dict[str, int]]:
    """Lay objects and patches of the wanted classes into the change.

    Args:
        before: the image [3, h, w].
        wanted: the generator's classes [h, w].
        change: [h, w].
        valid: where there is an image; nothing is taken from elsewhere [h, w].
        exemplars_at: what they come from, by the box around a region.
        ground_at: what shows ground, by a box around a region that is to become background.
        seed: numbers that decide which are tried.
        counted: only regions that meet it are counted [h, w]; all where None.
        check: called before each region; may raise to cancel.

    Returns:
        The picture [3, h, w], equal to ``before`` outside the change, and how many regions came from which source.
    """
    stays = ~change & valid
    picture = mirrored(before, change, stays)
    sources: dict[str, int] = {}
    for value in np.unique(wanted[change]) if change.any() else []:
        regions, _ = scipy.ndimage.label(change & (wanted == value), np.ones((3, 3), int))
        for number, window in enumerate(scipy.ndimage.find_objects(regions), 1):
            check()
            inside = regions[window] == number
            rng = np.random.default_rng([*seed, int(value), number])
            laid, source = None, SURROUNDINGS
            if value == BACKGROUND:
                colours = _ground(before, regions, number, window, stays, ground_at, rng)
                if colours is not None:
                    picture[:, window[0], window[1]][:, inside] = colours
            else:
                rows, columns = window
                laid, source = _continued(before, window, inside, stays & (wanted == value)), SAME_OBJECT
                if laid is None:
                    exemplars = exemplars_at(Box(rows.start, columns.start, rows.stop, columns.stop))
                    ground_colour = before[:, rows, columns][:, inside].mean(1)
                    laid, source = _laid(inside, int(value), exemplars, ground_colour, rng)
            if laid is not None:
                picture[:, window[0], window[1]][:, inside] = laid[:, inside]
            if counted is not None and not counted[window][inside].any():
                continue
            sources[source] = sources.get(source, 0) + 1
    return picture, sources


def _ground(
    before: Picture,
    regions: NDArray[np.int32],
    number: int,
    window: tuple[slice, ...],
    stays: Mask,
    ground_at: GroundAt,
    rng: np.random.Generator,
) -> Picture | None:
    """Ground for a region's pixels, in their order, from around it [3, n]; None where there is none.

    Only what is near is looked at: a large change may hold thousands of regions.

    Args:
        before: the image [3, h, w].
        regions: numbers of what becomes ground [h, w].
        number: which of them.
        window: its bounding box.
        stays: where the image is known and stays [h, w].
        ground_at: what shows ground, by a box.
        rng: decides which pieces are tried.
    """
    near = within_reach(window, regions.shape)
    nearby, here = before[:, near[0], near[1]], regions[near] == number
    ground = stays[near] & ground_at(Box(near[0].start, near[1].start, near[0].stop, near[1].stop))
    colours = clone_ground(nearby, here, ground, rng)
    if colours is not None:
        return colours
    # A sliver between two roofs is their shadow rather than a yard.
    wide = scipy.ndimage.binary_opening(ground, np.ones((SLIVER, SLIVER), bool))
    return mirrored(nearby, here, wide)[:, here] if wide.any() else None


def _continued(before: Picture, window: tuple[slice, ...], inside: Mask, stays: Mask) -> Picture | None:
    """What stays of a region's object, mirrored into its bounding box [3, h, w]; None where hardly anything does.

    Args:
        before: the image [3, h, w].
        window: the region's bounding box in it.
        inside: the region there.
        stays: where its class is and stays [h, w].
    """
    reach = [side.stop - side.start for side in window]
    near = tuple(
        slice(max(side.start - far, 0), min(side.stop + far, length))
        for side, far, length in zip(window, reach, stays.shape, strict=True)
    )
    region = np.zeros(stays[near].shape, bool)
    here = tuple(
        slice(side.start - part.start, side.stop - part.start) for side, part in zip(window, near, strict=True)
    )
    region[here] = inside
    rim = scipy.ndimage.binary_dilation(region) & ~region
    if not rim.any() or stays[near][rim].mean() < TOUCHES:
        return None
    objects, _ = scipy.ndimage.label(stays[near], np.ones((3, 3), int))
    touched = np.unique(objects[rim & (objects > 0)])
    same = np.isin(objects, touched)
    if region.sum() > NARROW * same.sum():
        return None
    return mirrored(before[:, near[0], near[1]], ~same)[:, here[0], here[1]]


def _laid(
    inside: Mask, wanted: int, exemplars: Exemplars, ground: NDArray[np.float64], rng: np.random.Generator
) -> tuple[Picture | None, str]:
    """A picture of a class for a region in its bounding box [3, h, w], and where it is from."""
    for library in exemplars.own:
        fitted = fit_object(inside, wanted, library, ground, FITS, rng)
        if fitted is not None:
            return mirrored(fitted.rgb, ~fitted.covered), library.name
    if exemplars.drawer is not None:
        drawn = exemplars.drawer.draw(inside, wanted, exemplars.own, ground, rng)
        if drawn is not None:
            return drawn, exemplars.drawer.name
    patch = find_patch(inside, wanted, [*exemplars.own, *exemplars.others], rng)
    return (_tiled(patch, inside.shape), patch.source) if patch else (None, SURROUNDINGS)


def mirrored(before: Picture, change: Mask, source: Mask | None = None) -> Picture:
    """The image with its change filled by what lies around it, mirrored at the change's rim [3, h, w].

    Args:
        before: the image [3, h, w].
        change: [h, w].
        source: pixels outside the change that may fill it [h, w]; all of them where None.
    """
    picture = before.copy()
    source = ~change if source is None else source
    if not change.any() or not source.any():
        return picture
    nearest = scipy.ndimage.distance_transform_edt(~source, return_distances=False, return_indices=True)
    limits = np.array(change.shape)[:, None] - 1
    for top in range(0, len(change), BAND):
        places = np.stack(np.nonzero(change[top : top + BAND]))
        places[0] += top
        rim = nearest[:, places[0], places[1]]
        across = np.clip(2 * rim - places, 0, limits)
        # A mirrored place may be none to take from (a narrow gap): the rim itself always is one.
        taken = np.where(source[across[0], across[1]], across, rim)
        picture[:, places[0], places[1]] = before[:, taken[0], taken[1]]
    return picture


def find_patch(inside: Mask, wanted: int, libraries: Sequence[Library], rng: np.random.Generator) -> Patch | None:
    """The patch that fits a region best, from the first library that has one that fits at all.

    Args:
        inside: the region in its bounding box [h, w].
        wanted: its class.
        libraries: searched in order.
        rng: decides which places are tried.
    """
    for library in libraries:
        places = library.places(wanted)
        if not len(places) or min(library.shape) < 2:
            continue
        for side in SIDES:
            patch = _best_patch(inside[:side, :side], wanted, library, places, rng)
            if patch.score >= ENOUGH:
                return patch
            if max(inside.shape) <= SIDES[-1]:
                break
    return None


def _best_patch(
    inside: Mask, wanted: int, library: Library, places: NDArray[np.int64], rng: np.random.Generator
) -> Patch:
    """The best of some patches from a library."""
    tried = []
    for row, column in places[rng.integers(len(places), size=TRIES)]:
        tried.append(_patch_at(library, int(row), int(column), wanted, inside))
        if tried[-1].score >= GOOD:
            break
    return max(tried, key=lambda patch: patch.score)


def _patch_at(library: Library, row: int, column: int, wanted: int, inside: Mask) -> Patch:
    """The patch around an object, in the one of its four mirror images that fits best."""
    shape = (min(inside.shape[0], library.shape[0]), min(inside.shape[1], library.shape[1]))
    row, column = _middle(library, row, column, wanted, shape)
    box = _box_around(row, column, shape, library.shape)
    rgb, covered = library.rgb(box), library.labels(box) == wanted
    inside = inside[: shape[0], : shape[1]]
    rim = scipy.ndimage.binary_dilation(np.pad(inside, RIM), iterations=RIM)[RIM:-RIM, RIM:-RIM] & ~inside
    best = Patch(rgb, covered, -1.0, library.name)
    if not inside.any():  # the region's corner, of which it has nothing
        return best
    for down in (1, -1):
        for right in (1, -1):
            flipped = covered[::down, ::right]
            score = float(flipped[inside].mean())
            if rim.any():
                score -= 0.25 * float(flipped[rim].mean())
            if score > best.score:
                best = Patch(rgb[:, ::down, ::right], flipped, score, library.name)
    return best


def _middle(library: Library, row: int, column: int, wanted: int, shape: tuple[int, int]) -> tuple[int, int]:
    """The middle of the object at a place, or the place itself where the object is larger than what is looked at."""
    box = _box_around(row, column, (2 * shape[0], 2 * shape[1]), library.shape)
    numbers, _ = scipy.ndimage.label(library.labels(box) == wanted, np.ones((3, 3), int))
    number = numbers[row - box.top, column - box.left]
    if number == 0:
        return row, column
    rows, columns = scipy.ndimage.find_objects(numbers)[number - 1]
    if rows.stop - rows.start == box.shape[0] or columns.stop - columns.start == box.shape[1]:
        return row, column
    return (rows.start + rows.stop) // 2 + box.top, (columns.start + columns.stop) // 2 + box.left


def _box_around(row: int, column: int, shape: tuple[int, int], limits: tuple[int, int]) -> Box:
    height, width = min(shape[0], limits[0]), min(shape[1], limits[1])
    top = min(max(row - height // 2, 0), limits[0] - height)
    left = min(max(column - width // 2, 0), limits[1] - width)
    return Box(top, left, top + height, left + width)


def _tiled(patch: Patch, shape: tuple[int, int]) -> Picture:
    """A patch of the wanted class all over, repeated mirrored to a shape [3, h, w]."""
    rgb = mirrored(patch.rgb, ~patch.covered)
    rows, columns = (mirrored_places(0, length, side) for length, side in zip(shape, rgb.shape[1:], strict=True))
    return rgb[:, rows[:, None], columns[None, :]]

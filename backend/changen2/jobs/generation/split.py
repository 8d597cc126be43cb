"""Which ground of a data set is held out: whole images, or one end of the only one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from changen2.jobs.generation.sources import Place, Source


def hold_out_images(count: int, share: float, seed: int) -> set[int]:
    """Numbers of the images that are held out.

    Of two and more at least one is held out and one is not, unless the share is 0 or 1. One image alone is not held
    out: see :func:`hold_out_end`.

    Args:
        count: of all images.
        share: of them that is held out.
        seed: decides which.
    """
    wanted = round(share * count)
    if 0 < share < 1:
        wanted = min(max(wanted, 1), count - 1)
    return set(np.random.default_rng([seed, count]).permutation(count)[:wanted].tolist())


def hold_out_end(
    source: Source, found: list[tuple[Place, bool]], size: int, share: float
) -> tuple[list[Source], list[tuple[Place, bool]]]:
    """Cut an image in two, so that its far end holds about a share of the places where something can change.

    It is cut across its longer side, else across the shorter one. Places that lie across the cut are left out.

    Args:
        source: the image.
        found: its places, each with whether it holds objects.
        size: pixels along a place's side.
        share: of the places that is held out.

    Returns:
        Both parts and their places; the image as it is where no cut leaves places on both of its sides.
    """
    counted = [place for place, has_objects in found if has_objects] or [place for place, _ in found]
    axes = [("top", "bottom"), ("left", "right")]
    for first, last in sorted(axes, key=lambda axis: getattr(source.part, axis[0]) - getattr(source.part, axis[1])):
        starts = np.array([getattr(place, first) for place in counted])
        sides = {int(cut): ((starts + size <= cut).sum(), (starts >= cut).sum()) for cut in np.unique(starts)}
        shares = {cut: held_out / (kept + held_out) for cut, (kept, held_out) in sides.items() if kept and held_out}
        if not shares:
            continue
        cut = min(shares, key=lambda cut: abs(shares[cut] - share))
        near = replace(source, part=replace(source.part, **{last: cut}), split="train")
        far = replace(source, part=replace(source.part, **{first: cut}), split="val")
        parted = [
            (replace(place, source=far if getattr(place, first) >= cut else near), has_objects)
            for place, has_objects in found
            if not cut - size < getattr(place, first) < cut
        ]
        return [near, far], parted
    return [source], found

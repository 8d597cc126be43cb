"""What is drawn comes in pieces, one after the other; where each was decoded in a tone of its own they are blended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

import numpy as np
from numpy.typing import NDArray

from changen2.gpcm.labels import Box

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Drawn:
    """A finished piece.

    Attributes:
        box: pixels that this piece is to be used for.
        seen: pixels that were decoded, somewhat more.
        rgb: 0..255 over ``seen`` [3, h, w].
    """

    box: Box
    seen: Box
    rgb: Floats


def blended(pieces: Iterable[Drawn], reach: int) -> Iterator[Drawn]:
    """Pieces that go over into each other: a ramp from ``reach`` pixels before their common border to as many behind.

    Three rows of pieces are held at once.

    Args:
        pieces: row by row; each is decoded ``reach`` pixels beyond its box, where there is anything.
        reach: pixels.
    """
    above: list[Drawn] = []
    here: list[Drawn] = []
    for _, row in chain(groupby(pieces, lambda piece: piece.box.top), [(None, iter(()))]):
        below = list(row)
        near = [*above, *here, *below]
        for piece in here:
            yield replace(piece, rgb=_mean(piece.seen, near, reach))
        above, here = here, below


def _mean(seen: Box, pieces: Sequence[Drawn], reach: int) -> Floats:
    """The mean of all pieces over some pixels [3, h, w], each weighing the less the farther outside its box."""
    total, weight = np.zeros((3, *seen.shape), np.float32), np.zeros(seen.shape, np.float32)
    for piece in pieces:
        part = piece.seen.meet(seen)
        if min(part.shape) <= 0:
            continue
        box = piece.box
        share = np.outer(
            _ramp(np.arange(part.top, part.bottom), box.top, box.bottom, reach),
            _ramp(np.arange(part.left, part.right), box.left, box.right, reach),
        )
        here, there = part.inside(seen), part.inside(piece.seen)
        total[:, here[0], here[1]] += share * piece.rgb[:, there[0], there[1]]
        weight[here] += share
    return total / weight


def _ramp(places: NDArray[np.int64], first: int, end: int, reach: int) -> Floats:
    """1 well inside a span, a half at its ends, nearly 0 ``reach`` outside."""
    depth = np.minimum(places + 0.5 - first, end - places - 0.5)
    return np.clip((depth + reach) / (2 * reach), 0, 1).astype(np.float32)

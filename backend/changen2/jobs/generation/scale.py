"""At what scale the images of a data set are read."""

from __future__ import annotations

from collections.abc import Sequence

from changen2.jobs.detection.resolution import resampling_factor, suits
from changen2.jobs.generation.sources import Source
from changen2.models.registry import ModelCard
from changen2.protocol import GenerateRequest


def scale(request: GenerateRequest, card: ModelCard, own: float | None) -> tuple[float, float]:
    """Metres of a pixel that an image is read at, and how many of those pixels make one of its own, along a side.

    Args:
        request: of the data set.
        card: the generator's.
        own: metres of the image's own pixel; None where it does not tell.

    Raises:
        InputError: ``bad_value`` where the two are too far apart.
    """
    gsd = own or request.pixel_size or card.gsd_native
    wanted = request.gsd or gsd
    if wanted == "auto":
        wanted = gsd if suits(card, gsd) else card.gsd_native
    factor = resampling_factor(gsd, wanted)
    return (gsd if factor == 1 else wanted), factor


def scale_warnings(request: GenerateRequest, card: ModelCard, sources: Sequence[Source]) -> list[str]:
    """What the user should know of the scale: that it is only assumed, that it does not suit the generator."""
    silent = sum(not source.tells_gsd for source in sources)
    outside = [source.gsd for source in sources if not suits(card, source.gsd)]
    said = []
    if silent and not request.pixel_size:
        said.append(
            f"{silent} of {len(sources)} images do not say how large a pixel is. {card.gsd_native:g} m is assumed: it "
            "decides on the resampling and stands in the file names. Give it if that is wrong (--pixel-size)."
        )
    if outside:
        said.append(
            f"{len(outside)} of {len(sources)} images are read at {min(outside):.2f} to {max(outside):.2f} m; the "
            f"generator was trained at {card.gsd_min:g} to {card.gsd_max:g} m, so expect worse pictures."
        )
    return said

"""Which regions an extent needs."""

import numpy as np

from changen2.gpcm.labels import Box
from changen2.gpcm.regions import Region
from changen2.gpcm.synthesis import HALO
from changen2.jobs.synthesis.image_drawing import needed


def test_an_extent_needs_all_that_a_later_region_looks_at() -> None:
    """The encoder sees some latent places more than a region's own box; cells are of 64 pixels, places of 4."""
    early = Region(np.array([[0, 0]]), Box(0, 0, 16, 16))
    near = Region(np.array([[0, 2]]), Box(0, 16 + HALO - 1, 64, 80))
    far = Region(np.array([[0, 2]]), Box(0, 16 + HALO, 64, 80))
    asked = Box(0, 128, 64, 192)
    assert needed([[early], [near]], asked, 64, 4) == [[early], [near]]
    assert needed([[early], [far]], asked, 64, 4) == [[], [far]]

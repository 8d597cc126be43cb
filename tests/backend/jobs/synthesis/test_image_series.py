"""What is known of an image before anything is drawn on it."""

import numpy as np

from changen2.jobs.synthesis.image_series import SourceImage


def test_gaps_of_a_band_tell_nothing_of_its_spectrum(write_raster):
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.integers(60, 140, (3, 128, 128)), np.full((1, 128, 128), 900)]).astype(np.uint16)
    values[3, :, :64] = 0
    with SourceImage(write_raster("four.tif", values, nodata=0)) as source:
        guess = source.spectrum(source.radiometry()).guess(rng.uniform(0, 255, (50, 3)))
    assert (guess == 900).all()

"""The sample's files: georeferenced, overlapping, on grids of their own, said to be simulated."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.warp import Resampling, reproject

from changen2.scenes.sample import write_sample


def test_sample_files(tmp_path: Path) -> None:
    paths = write_sample(tmp_path / "sample", size=192, seed=7)
    with rasterio.open(paths["before"]) as before, rasterio.open(paths["after"]) as after:
        assert before.crs.is_projected
        assert before.crs == after.crs
        assert before.transform != after.transform
        assert before.count == after.count == 3
        assert before.tags()["SIMULATED"] == "yes"
        # ``after`` covers all of ``before``.
        assert after.bounds.left <= before.bounds.left and after.bounds.right >= before.bounds.right
        assert after.bounds.bottom <= before.bounds.bottom and after.bounds.top >= before.bounds.top
        assert after.read().min(axis=0).max() > 0
        warped = np.zeros((192, 192), np.float32)
        reproject(
            after.read(2).astype(np.float32), warped, src_transform=after.transform, src_crs=after.crs,
            dst_transform=before.transform, dst_crs=before.crs, resampling=Resampling.bilinear,
        )  # fmt: skip
        reference = rasterio.open(paths["change_reference"]).read(1)
        assert set(np.unique(reference)) <= {0, 1}
        assert reference.shape == before.shape
        # Warped on to the first date's grid, the places that did not change line up best without a shift.
        steady = reference == 0
        now = before.read(2).astype(np.float32)

        def likeness(rows: int) -> float:
            return float(np.corrcoef(np.roll(warped, rows, 0)[steady], now[steady])[0, 1])

        assert likeness(0) > max(likeness(-4), likeness(4))

"""Rasters of any size: grid, aligned reading, blending, writing, vectorising. Knows no torch."""

"""Neural networks, their registry and checkpoints. Knows no rasters."""

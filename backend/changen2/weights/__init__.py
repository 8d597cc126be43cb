"""The embedded weights (safetensors) and their machine-readable cards."""

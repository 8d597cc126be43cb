"""Training data and loops for the embedded models."""

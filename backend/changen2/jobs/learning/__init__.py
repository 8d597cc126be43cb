"""What is learned from and what becomes of it, around training."""

"""Simulated scenes drawn by code, with perfect labels."""

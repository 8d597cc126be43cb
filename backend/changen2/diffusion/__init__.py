"""Diffusion schedules and samplers as plain functions."""

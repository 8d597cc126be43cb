"""Generative probabilistic change modelling: change event simulation and the generative step."""

"""The parts of simulation and synthesis: events, labels and images of a series."""

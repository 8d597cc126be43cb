"""The parts of the synthesis report: each a function from a subject to a section."""

"""The jobs: one file each, the same for the terminal, the worker, Python and QGIS."""

"""``python -m changen2`` is the command ``changen2``."""

from changen2.cli import main

main()

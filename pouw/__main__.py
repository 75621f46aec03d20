"""``python -m pouw`` is the command ``pouw``."""

from pouw.cli import main

main()

"""``python -m pouw`` is the command ``pouw``."""

from pouw.cli import main

if __name__ == "__main__":  # a process that hashes beside this one imports the module again
    main()

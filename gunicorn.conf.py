"""Gunicorn's configuration for those who start it by hand; ``pouw serve`` uses the same module."""

from pouw.serving import *  # noqa: F403 - Gunicorn reads the settings as names of this module

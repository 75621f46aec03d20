"""Drills: what may happen to a node, done to a real one on this machine, and what came of it, measured.

``python -m deploy.drills NAME``. Each starts servers of its own in a temporary folder, on free ports, and leaves
nothing behind.
"""

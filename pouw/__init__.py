"""A Proof-of-Useful-Work node: challenges out, signed receipts in, rewards that add up."""

__version__ = "0.1.0"

"""Measurements of the node and its parts; nothing here is a test."""

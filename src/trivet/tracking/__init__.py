"""Leg two, keeping track: runs, comparison, the model registry."""

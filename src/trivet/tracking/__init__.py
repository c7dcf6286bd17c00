"""Leg two, keeping track: runs, comparison, the model registry.

``runs`` writes; ``search``, ``compare`` and ``difference`` read; ``registry`` gives names to models.
"""

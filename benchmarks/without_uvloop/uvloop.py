"""Hides uvloop from a process whose PYTHONPATH has this folder."""

raise ImportError("uvloop is hidden")

"""Networks and muscle physics, one per file; ``spec.py`` is the contract of a model (no torch)."""

"""Measurements. ``python -m benchmarks.spine URL`` and ``pytest benchmarks``."""

"""Benchmarks: ``pytest benchmarks`` and ``python -m benchmarks``; see docs/benchmarks.md."""

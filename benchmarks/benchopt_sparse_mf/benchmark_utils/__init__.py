"""Shared code of this benchmark, which makes the package ``benchmarks`` importable."""

import sys
from pathlib import Path

_CLONE = str(Path(__file__).resolve().parents[3])
if _CLONE not in sys.path:
    sys.path.insert(0, _CLONE)

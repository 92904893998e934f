"""Pairings: stored (row, column) pairs with ids, how they are built, and the file format."""

from twofold.data.builder import PairBuilder
from twofold.data.csr import Duplicates
from twofold.data.pairings import Pairings
from twofold.data.report import ReadReport

__all__ = ["Duplicates", "PairBuilder", "Pairings", "ReadReport"]

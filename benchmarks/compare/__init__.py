"""Comparison of solvers with one objective and the same initial factors; times exclude scoring.

Modules: ``entries`` (twofold's solvers, and how to add others), ``peers`` (other packages),
``problems``, ``worker`` (one run in a separate process), ``store`` (results in SQLite), ``summary``
(figures and Markdown), ``page``, ``figure`` and ``regression`` (comparison of two results files).
"""

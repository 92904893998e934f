"""The comparison of solvers: one objective, the same start, time without evaluation.

``entries`` (ours, and how to add yours), ``peers`` (other packages), ``problems``, ``worker`` (one
run in a process of its own), ``store`` (results in SQLite), ``table`` and ``page`` (what readers
see).
"""

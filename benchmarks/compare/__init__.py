"""The comparison of solvers: one objective, the same initial factors, time without scoring.

``entries`` (ours, and how to add yours), ``peers`` (other packages), ``problems``, ``worker`` (one
run in a process of its own), ``store`` (results in SQLite), ``summary`` (the figures) and its
``page``, ``figure`` and Markdown, ``regression`` (old and new).
"""

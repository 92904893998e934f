"""The comparison of solvers: one objective, the same start, time without evaluation.

``entries`` (ours, and how to add yours), ``peers`` (other packages), ``problems`` (what is solved),
``worker`` (one run in a process of its own), ``store`` (results in SQLite), ``summary`` (the
figures that readers see) and its ``page``, ``figure`` and Markdown, ``regression`` (old and new).
"""

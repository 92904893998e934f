"""The limits that keep functions readable: 12 parameters, 60 lines of code, 4 levels of nesting."""

import ast
from pathlib import Path

import twofold

PACKAGE = Path(twofold.__file__).parent
MAX_PARAMETERS, MAX_LINES, MAX_DEPTH = 12, 60, 4
BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.Try)
# Readers with many options that are keywords, and what is to be rebuilt.
OLD = {
    "io/sql_read.py read_sql",
    "io/tabular.py read_csv",
}


def depth(node, inside=0):
    """Return the levels of blocks; an `elif` is on the level of its `if`."""
    deepest = inside
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        is_block = isinstance(child, BLOCKS) and not is_elif
        deepest = max(deepest, depth(child, inside + is_block))
    return deepest


def excesses():
    """Yield the functions beyond a limit, and by how much."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names = node.args
                n_parameters = len(names.posonlyargs) + len(names.args) + len(names.kwonlyargs)
                doc = ast.get_docstring(node, clean=False)
                n_lines = node.end_lineno - node.lineno + 1
                n_lines -= doc.count("\n") + 1 if doc else 0
                found = (n_parameters, n_lines, depth(node))
                limits = (MAX_PARAMETERS, MAX_LINES, MAX_DEPTH)
                if any(size > most for size, most in zip(found, limits, strict=True)):
                    yield f"{path.relative_to(PACKAGE).as_posix()} {node.name}", found


def test_functions_stay_within_the_limits():
    beyond = {name: found for name, found in excesses() if name not in OLD}
    assert not beyond, beyond


def test_the_list_of_old_functions_has_no_more_than_there_are():
    assert {name for name, _ in excesses()} >= OLD

"""A page for each public name, in groups by module, and links from docstrings to these pages.

The modules are those of ``twofold/__init__.pyi`` and a few that it does not import. A name of the
top level, such as ``twofold.Objective``, has its page there and no other.
"""

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

from docutils.parsers.rst.states import Inliner
from sphinx.util.nodes import make_refnode

import twofold

FURTHER_MODULES = (
    "evaluation",
    "exceptions",
    "metrics.statistics",
    "objective",
    "testing.reference",
)
KINDS = ("Classes", "Functions", "Values")


def module_names() -> list[str]:
    """Return the names of the documented modules, ``twofold`` first."""
    stub = ast.parse(Path(twofold.__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom) and not node.module]
    found = {alias.name for node in imports for alias in node.names} | set(FURTHER_MODULES)
    return ["twofold", *(f"twofold.{name}" for name in sorted(found))]


def public_names(module_name: str) -> dict[str, str]:
    """Return the public names of a module with the full name under which each has its page."""
    module = importlib.import_module(module_name)
    found = {}
    for name in sorted(module.__all__, key=str.lower):
        thing = getattr(module, name)
        if not inspect.ismodule(thing):
            is_at_top = thing is getattr(twofold, name, None)
            found[name] = f"twofold.{name}" if is_at_top else f"{module_name}.{name}"
    return found


def _kind(module_name: str, name: str) -> str:
    thing = getattr(importlib.import_module(module_name), name)
    if inspect.isclass(thing):
        return "Classes"
    return "Functions" if inspect.isroutine(thing) else "Values"


def _module_page(module_name: str) -> str:
    names = public_names(module_name)
    parts = [module_name, "=" * len(module_name), ""]
    parts += [f".. py:module:: {module_name}", ""]
    parts += [inspect.getdoc(importlib.import_module(module_name)) or "", ""]
    parts += [".. py:currentmodule:: None", ""]  # the names below are full ones
    for kind in KINDS:
        pages = [page for name, page in names.items() if _kind(module_name, name) == kind]
        if pages:
            parts += [f".. rubric:: {kind}", "", ".. autosummary::", "   :toctree: generated"]
            parts += ["   :nosignatures:", ""]
            parts += [*(f"   ~{page}" for page in pages), ""]
    return "\n".join(parts)


def write_pages(app: Any, config: Any) -> None:
    """Write the pages of modules, from which autosummary makes those of names."""
    folder = Path(app.srcdir) / "api" / "modules"
    folder.mkdir(parents=True, exist_ok=True)
    for name in module_names():
        path, text = folder / f"{name}.rst", _module_page(name)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def resolve_short_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Link a name of a docstring, such as `ALS` or `Solver.solve`, to its only page."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target:
        return None
    objects = env.get_domain("py").objects
    found = [name for name in objects if name.endswith(f".{target}")]
    if not found:
        return None
    name = min(found, key=lambda name: (name.count("."), name))
    entry = objects[name]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)


def drop_docstring_of_type(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Leave the docstring of the type of a constant out, which is all that Python has of it."""
    if what == "data":
        lines.clear()


def plain_bar(inliner: Any, match: Any, lineno: int) -> tuple[str, list[Any], str, list[Any]]:
    """Take a bar as text: docstrings write absolute values as |x|, and have no substitutions."""
    end = match.end("start")
    return match.string[:end], [], match.string[end:], []


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    Inliner.dispatch["|"] = plain_bar
    app.connect("config-inited", write_pages)  # before Sphinx looks for pages
    app.connect("autodoc-process-docstring", drop_docstring_of_type)
    app.connect("missing-reference", resolve_short_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

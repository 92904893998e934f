"""The page that ``python -m benchmarks report`` makes, within the one of the benchmarks."""

import shutil
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "benchmarks.html"
COPY = "interactive-benchmarks.html"
FRAME = f"""
```{{raw}} html
<iframe class="interactive" src="{COPY}" title="Interactive benchmarks" loading="lazy"></iframe>
<p><a href="{COPY}">The interactive page alone</a></p>
```
"""


def embed_page(app: Any, docname: str, source: list[str]) -> None:
    """Embed the page below the title."""
    if docname == "benchmarks" and PAGE.exists():
        title, _, rest = source[0].partition("\n")
        source[0] = f"{title}\n{FRAME}\n{rest}"


def copy_page(app: Any, error: Exception | None) -> None:
    """Copy the page into the site."""
    if error is None and app.builder.format == "html" and PAGE.exists():
        shutil.copyfile(PAGE, Path(app.outdir) / COPY)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", embed_page)
    app.connect("build-finished", copy_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The blocks of docs/distributed.md run in their order on a cluster."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/distributed.md"


def test_the_page_runs(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    script = "\n".join(blocks).replace("tcp://host:8786", cluster.scheduler_address)
    # The workers have another working directory than this test.
    script = script.replace('"first.npz"', f'"{tmp_path}/first.npz"')
    script = script.replace('"second.npz"', f'"{tmp_path}/second.npz"')
    script = script.replace('partial(read_parquet, f"', f'partial(read_parquet, f"{tmp_path}/')
    names, shown = {}, io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            exec(compile(script, str(PAGE), "exec"), names)
    finally:
        if "client" in names:
            names["client"].close()
    assert "most popular" in shown.getvalue()
    assert [path.name for path in names["files"]] == ["part-00000.npy", "part-00001.npy"]
    assert {path.name for path in tmp_path.iterdir()} >= {"lists", "lists.db", "factors"}

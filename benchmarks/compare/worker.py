"""One run in a process of its own, so that a crash is a row and memory is its own."""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from benchmarks.compare.entries import all_entries, warm_up
from benchmarks.compare.problems import start, task

_TOLERANCE = 1e-4  # between the objective that a solver claims and the one it has


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Run an entry and score its factors after every epoch by `Objective.value` in float64."""
    extra = request["entries"]
    entry = all_entries(Path(extra) if extra else None)[request["solver"]]
    if request["objective"] not in entry.objectives:
        reason = f"it does not minimise the objective {request['objective']!r}"
        return {"status": "unsupported", "message": reason, "points": [], "peak_mb": None}
    chosen = task(request["data"], request["objective"])
    n_factors, n_threads = request["n_factors"], request["n_threads"]
    warm_up(entry, chosen.objective, n_factors, n_threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    matrix = chosen.seen.matrix
    init = start(matrix.shape, n_factors, request["seed"])
    status, message, points = "finished", "", []
    steps = entry.run(chosen.objective, matrix, init, request["max_epochs"], n_threads)
    for epoch, (seconds, P, Q, claimed) in enumerate(steps):
        total = chosen.objective.value(matrix, P, Q).total
        points.append([epoch, seconds, total, chosen.metric(P, Q)])
        if claimed is not None and abs(claimed - total) > _TOLERANCE * abs(total):
            status = "wrong"
            message = f"at epoch {epoch} it claims {claimed:.6g}, but the objective is {total:.6g}"
            break
    if status == "finished" and len(points) <= request["max_epochs"]:
        status = "stopped early"
        message = f"it stopped after {len(points) - 1} of {request['max_epochs']} epochs"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "status": status,
        "message": message,
        "points": points,
        "peak_mb": (peak - before) / 1024 if peak > before else None,
    }


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    try:
        answer = measure(asked)
    except Exception as error:
        answer = {
            "status": "failed",
            "message": f"{type(error).__name__}: {error}",
            "points": [],
            "peak_mb": None,
        }
    sys.stdout.write("\n" + json.dumps(answer))

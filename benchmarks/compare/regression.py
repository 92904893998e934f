"""Regressions between two results files that exceed the noise."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.compare.store import Run
from benchmarks.compare.summary import epoch_seconds

_SLOWER = 0.05  # smallest relative change that is reported
_WORSE = 1e-6
_BAD = ("failed", "wrong", "diverged")


@dataclass(frozen=True)
class Finding:
    """One change."""

    what: str
    """``slower``, ``worse``, ``broken`` or ``unknown``."""
    text: str


def compare(old: Iterable[Run], new: Iterable[Run]) -> list[Finding]:
    """Compare the runs that both files contain, by solver, task and threads.

    A solver is slower if the median time of its epochs increased by more than 5% and by more than
    the sum of the old and the new range (largest - smallest, over repeats). It is worse if its last
    objective increased by more than 1e-6 and by more than that of the objectives. Without repeats,
    the noise and the result are unknown.
    """
    before, after = _by_key(old), _by_key(new)
    findings: list[Finding] = []
    for key in sorted(before.keys() & after.keys()):
        findings += _compare_one("{}, {}, {}, n_factors={}, {} threads".format(*key),
                                 before[key], after[key])  # fmt: skip
    return findings


def _by_key(runs: Iterable[Run]) -> dict[tuple[object, ...], list[Run]]:
    found: dict[tuple[object, ...], list[Run]] = defaultdict(list)
    for run in runs:
        found[run.solver, run.data, run.problem, run.n_factors, run.n_threads].append(run)
    return found


def _compare_one(name: str, old: list[Run], new: list[Run]) -> list[Finding]:
    broken = next((run for run in new if run.status in _BAD), None)
    if broken is not None:
        known = any(run.status == broken.status for run in old)
        text = f"{name}: {broken.status}: {broken.message}"
        return [] if known else [Finding("broken", text)]
    if any(not run.points or epoch_seconds(run) is None for run in (*old, *new)):
        return []
    if len(old) < 2 or len(new) < 2:
        return [Finding("unknown", f"{name}: one run only; use --repeats 2 or more")]
    findings = []
    for what, limit, values in (
        ("slower", _SLOWER, [[epoch_seconds(run) or 0.0 for run in runs] for runs in (old, new)]),
        ("worse", _WORSE, [[run.points[-1][2] for run in runs] for runs in (old, new)]),
    ):
        was, now = (median(each) for each in values)
        noise = sum((max(each) - min(each)) / abs(median(each)) for each in values)
        change = (now - was) / abs(was)
        if change > max(limit, noise):
            findings.append(Finding(
                what, f"{name}: {was:.4g} -> {now:.4g} ({change:+.1%}, noise {noise:.1%})"
            ))  # fmt: skip
    return findings

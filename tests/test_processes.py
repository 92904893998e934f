"""Other processes and threads, and Ctrl-C: the same bits, and everything as it was before.

All of it runs in processes of their own, because the failures are hangs and crashes.
"""

import os

import pytest
from subprocesses import run_python

COMMON = """
    import os, threading, time, multiprocessing
    from twofold import FactorModel, L2, Objective, Pairings, fold_in
    from twofold.solvers import ALS, GD, SGD

    rng = np.random.default_rng(7)
    R = sparse.csr_array((rng.random((300, 120)) < 0.1).astype(float))
    objective = Objective(regularizer=L2(0.2), unobserved_weight=0.1)
    Q = rng.normal(size=(120, 16)).astype(np.float32)

    def folded(number=0):
        return fold_in(objective, R[number::3], Q).tobytes()
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
@pytest.mark.parametrize("layers", [1, 2])
def test_a_forked_process_folds_in_to_the_same_bits(layers):
    """Also a child of a child, and after each of the solvers has run in the parent."""
    run_python(
        COMMON
        + """
    def fork(layers):
        process = os.fork()
        if process:
            _, status = os.waitpid(process, 0)
            assert os.waitstatus_to_exitcode(status) == 0, status
            return
        try:
            if layers > 1:
                fork(layers - 1)
            assert [folded(number) for number in range(3)] == expected
            again = GD(n_factors=4, max_epochs=2, rng=0).solve(objective, R).row_factors
            assert again.tobytes() == trained.row_factors.tobytes()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)

    if __name__ == "__main__":
        ALS(n_factors=16, max_epochs=2, rng=0).solve(objective, R)
        SGD(n_factors=16, max_epochs=2, rng=0).solve(Objective(), R)
        trained = GD(n_factors=4, max_epochs=2, rng=0).solve(objective, R)
        expected = [folded(number) for number in range(3)]
        for _ in range(3):
            fork(int(sys.argv[1]))
        assert [folded(number) for number in range(3)] == expected
    """,
        layers,
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes_folds_in_to_the_same_bits(method):
    if method != "spawn" and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    run_python(
        COMMON
        + """
    if __name__ == "__main__":
        ALS(n_factors=16, max_epochs=2, rng=0).solve(objective, R)
        expected = [folded(number) for number in range(3)]
        with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
            assert pool.map(folded, [0, 1, 2, 0, 1, 2]) == 2 * expected
        assert [folded(number) for number in range(3)] == expected
    """,
        method,
        timeout=90.0,
    )


@needs_fork
def test_a_process_forked_while_another_thread_solves_can_fold_in():
    run_python(
        COMMON
        + """
    if __name__ == "__main__":
        expected, stop = folded(), threading.Event()

        def train():
            while not stop.is_set():
                ALS(n_factors=16, max_epochs=1, rng=0).solve(objective, R)

        thread = threading.Thread(target=train)
        thread.start()
        for _ in range(10):
            process = os.fork()
            if not process:
                os._exit(0 if folded() == expected else 1)
            assert os.waitpid(process, 0)[1] == 0
        stop.set()
        thread.join()
    """
    )


@needs_fork
def test_a_process_forked_while_blas_is_limited_does_not_keep_the_limit():
    run_python(
        COMMON
        + """
    from threadpoolctl import threadpool_info
    from twofold._kernels.threads import with_one_blas_thread

    def limits():
        return sorted((info["filepath"], info["num_threads"]) for info in threadpool_info())

    def hold():
        started.set()
        time.sleep(0.3)

    if __name__ == "__main__":
        expected, started = limits(), threading.Event()
        thread = threading.Thread(target=with_one_blas_thread, args=(hold,))
        thread.start()
        started.wait()
        process = os.fork()
        if not process:
            os._exit(0 if limits() == expected and folded() else 1)
        assert os.waitpid(process, 0)[1] == 0
        thread.join()
        assert limits() == expected
    """
    )


MODEL = (
    COMMON
    + """
    pairings = Pairings(R, np.arange(300), np.arange(120))
    parts = [np.arange(first, 300, 5) for first in range(5)]

    def answers(model, rows):
        ranking = model.recommend(model.row_ids[rows], n=9)
        folded = model.fold_in(model.pairings.take_rows(rows)).row_factors
        return ranking.positions.tobytes(), ranking.scores.tobytes(), folded.tobytes()

    def keep(given):
        global kept
        kept = given

    def answers_of_kept(rows):
        return answers(kept, rows)

    def fit(solver):
        return FactorModel(objective, solver).fit(pairings)
"""
)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_models_go_to_other_processes_and_come_back(method):
    """As an argument of each call, kept by each process, and fitted there."""
    if method != "spawn" and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    run_python(
        MODEL
        + """
    if __name__ == "__main__":
        solver = ALS(n_factors=8, max_epochs=3, rng=0)
        model = fit(solver)
        expected = [answers(model, rows) for rows in parts]
        pool = multiprocessing.get_context(sys.argv[1]).Pool(2, keep, (model,))
        with pool:
            assert pool.map(answers_of_kept, parts) == expected
            assert pool.starmap(answers, [(model, rows) for rows in parts]) == expected
            for again in pool.map(fit, [solver, solver]):
                assert [answers(again, rows) for rows in parts] == expected
                assert [one.total for one in again.solution.history] == [
                    one.total for one in model.solution.history
                ]
    """,
        method,
        timeout=90.0,
    )


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_models_go_through_joblib(backend):
    """With arrays that joblib maps read-only into the memory of all processes."""
    pytest.importorskip("joblib")
    run_python(
        MODEL
        + """
    import joblib

    def checked(model, rows):
        return answers(model, rows), model.col_factors.flags.writeable

    if __name__ == "__main__":
        model = fit(ALS(n_factors=8, max_epochs=3, rng=0))
        expected = [answers(model, rows) for rows in parts]
        run = joblib.Parallel(n_jobs=2, backend=sys.argv[1], max_nbytes=100)
        found = run(joblib.delayed(checked)(model, rows) for rows in parts)
        assert [one for one, _ in found] == expected
        is_mapped = sys.argv[1] != "threading"
        assert [writeable for _, writeable in found] == [not is_mapped] * len(parts)
    """,
        backend,
        timeout=90.0,
    )


def test_eight_threads_that_do_everything_at_once_get_the_serial_bits():
    run_python(
        COMMON
        + """
    pairings = Pairings(R, np.arange(300), np.arange(120))
    model = FactorModel(objective, ALS(n_factors=8, max_epochs=2, rng=0)).fit(pairings)

    def solve(solver, objective):
        def run():
            solution = solver.solve(objective, R)
            return solution.row_factors.tobytes() + solution.col_factors.tobytes()
        return run

    def recommend():
        ranking = model.recommend(np.arange(0, 300, 7), n=9)
        return ranking.positions.tobytes() + ranking.scores.tobytes()

    def evaluate():
        slopes = objective.gradient(R, model.row_factors, Q[:, :8])
        value = objective.value(R, model.row_factors, Q[:, :8])
        return slopes[0].tobytes() + np.float64(value.total).tobytes()

    work = [
        solve(ALS(n_factors=8, max_epochs=2, rng=1), objective),
        solve(GD(n_factors=8, max_epochs=3, rng=1), objective),
        solve(SGD(n_factors=8, max_epochs=3, rng=1), Objective()),
        solve(ALS(n_factors=8, max_epochs=2, rng=1, n_threads=1), Objective()),
        folded, recommend, evaluate, lambda: model.fold_in(pairings).row_factors.tobytes(),
    ]
    expected = [call() for call in work]
    wrong, errors = [], []
    start = threading.Barrier(len(work))

    def run(first):
        try:
            start.wait()
            for turn in range(2 * len(work)):
                number = (first + turn) % len(work)
                if work[number]() != expected[number]:
                    wrong.append(number)
        except BaseException as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=run, args=(first,)) for first in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not errors, (wrong, errors)
    """,
        timeout=120.0,
    )


def test_threads_fold_in_while_one_trains():
    run_python(
        COMMON
        + """
    expected = [folded(number) for number in range(3)]
    solver = ALS(n_factors=16, max_epochs=3, rng=0)
    trained = solver.solve(objective, R).row_factors.tobytes()
    wrong, errors, done = [], [], threading.Event()

    def train():
        try:
            for _ in range(20):
                if solver.solve(objective, R).row_factors.tobytes() != trained:
                    wrong.append("the solver")
        except BaseException as error:
            errors.append(repr(error))
        finally:
            done.set()

    def serve(number):
        try:
            while not done.is_set():
                if folded(number % 3) != expected[number % 3]:
                    wrong.append(number)
        except BaseException as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(8)]
    threads.append(threading.Thread(target=train))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not errors, (wrong, errors)
    """,
        timeout=120.0,
    )


@pytest.mark.parametrize("what", ["ALS", "GD", "SGD", "fold_in", "checkpoint"])
def test_ctrl_c_at_any_moment_leaves_everything_as_it_was(what, tmp_path):
    """Limits of BLAS, threads, the caller's arrays; and the next call gives the same bits."""
    run_python(
        COMMON
        + """
    import random, signal
    from pathlib import Path
    from threadpoolctl import threadpool_info
    from twofold.solvers import Solution

    what, path = sys.argv[1], Path(sys.argv[2]) / "checkpoint.twofold"
    init = tuple(rng.normal(size=(n, 16)) for n in R.shape)
    if what == "SGD":
        objective = Objective(regularizer=L2(0.2))
    arrays = (R.data, R.indices, R.indptr, Q, *init)
    before, of_objective = [array.tobytes() for array in arrays], repr(objective)
    kind = {"GD": GD, "SGD": SGD}.get(what, ALS)
    options = {"checkpoint": path} if what == "checkpoint" else {}

    def run():
        if what == "fold_in":
            return fold_in(objective, R, Q)
        solver = kind(n_factors=16, max_epochs=12, rng=0)
        return solver.solve(objective, R, init, **options).row_factors

    def limits():
        return sorted((info["filepath"], info["num_threads"]) for info in threadpool_info())

    expected = run().tobytes()
    as_before, n_threads = limits(), threading.active_count()
    draw = random.Random(0)
    for _ in range(60):
        delay = draw.uniform(0.001, 0.02)
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        interrupted = False
        try:
            timer.start()
            while timer.is_alive():
                run()
            run()
        except KeyboardInterrupt:
            interrupted = True
        timer.join()
        assert interrupted, "the KeyboardInterrupt was swallowed"
        assert limits() == as_before, (limits(), as_before)
        assert threading.active_count() <= n_threads + 4, threading.enumerate()
        assert [array.tobytes() for array in arrays] == before
        assert repr(objective) == of_objective
        if what == "checkpoint" and path.exists():
            assert np.isfinite(Solution.load(path).row_factors).all()
            assert [file.name for file in path.parent.iterdir()] == [path.name]
        assert run().tobytes() == expected
    """,
        what,
        tmp_path,
        timeout=120.0,
    )


@pytest.mark.parametrize("what", ["ALS", "GD", "SGD"])
def test_ctrl_c_at_any_moment_can_be_kept_and_continued_exactly(what):
    run_python(
        COMMON
        + """
    import random, signal
    from twofold.solvers import Solution, Status

    kind = {"GD": GD, "SGD": SGD, "ALS": ALS}[sys.argv[1]]
    if kind is SGD:
        objective = Objective(regularizer=L2(0.2))
    solver = kind(n_factors=16, max_epochs=60, rng=0)
    whole = solver.solve(objective, R)
    started = time.perf_counter()
    solver.solve(objective, R)
    seconds = time.perf_counter() - started
    draw, n_kept, n_runs = random.Random(0), 0, 0
    while n_runs < 25 or (n_kept < 4 and n_runs < 200):  # Other work may make a run slower.
        n_runs += 1
        delay = draw.uniform(0.0, 1.2) * seconds
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        kept = None
        try:
            timer.start()
            kept = solver.solve(objective, R, on_interrupt="keep")
            timer.join()
        except KeyboardInterrupt:  # before the first epoch, or after the run
            timer.join()
        if kept is None or kept.status is not Status.INTERRUPTED:
            continue
        n_kept += 1
        assert kept.n_epochs < 60
        assert [record.epoch for record in kept.history] == list(range(kept.n_epochs + 1))
        rest = solver.solve(objective, R, init=kept)
        assert rest.row_factors.tobytes() == whole.row_factors.tobytes()
        assert rest.col_factors.tobytes() == whole.col_factors.tobytes()
        assert [r.total for r in rest.history] == [r.total for r in whole.history]
    assert n_kept > 3, (n_kept, n_runs)
    """,
        what,
        timeout=120.0,
    )

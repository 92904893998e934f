"""Requests to examples/service.py in a process of its own, over HTTP, also while it swaps models.

The clients are threads of this process, and take a part of the processor. Each request is that of
`benchmarks.test_requests`.
"""

import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from benchmarks.test_requests import playlists, synthetic_model

pytest.importorskip("starlette", reason='needs pip install "twofold[test]"')
pytest.importorskip("uvicorn", reason='needs pip install "twofold[test]"')

PROGRAM = Path(__file__).parents[1] / "examples" / "service.py"
N_COLS = [20_000, 200_000]
N_CLIENTS, N_REQUESTS = 8, 10_000


@dataclass
class Service:
    """A running service and the bodies of requests to it."""

    port: int
    path: Path
    model: object
    bodies: list[str]
    times: set[str] = field(default_factory=set)
    """Times of the models in the answers."""

    def ask(self, connection: http.client.HTTPConnection, body: str) -> float:
        """Return the milliseconds of a request, which must not fail."""
        started = time.perf_counter()
        connection.request("POST", "/recommend", body)
        response = connection.getresponse()
        answer = json.loads(response.read())
        spent = 1e3 * (time.perf_counter() - started)
        assert (response.status, len(answer.get("tracks", ()))) == (200, 10), answer
        self.times.add(answer["model"])
        return spent

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def started(program: list[str], service: Service):
    """Run the service, from its first answer to the end of the block."""
    environment = os.environ | {"NUMBA_NUM_THREADS": "1"}
    with subprocess.Popen(program, env=environment) as process:
        try:
            connection = service.connect()
            for _ in range(600):
                assert process.poll() is None, "the service has ended"
                try:
                    connection.request("GET", "/health")
                    connection.getresponse().read()
                    break
                except OSError:
                    connection.close()
                    time.sleep(0.1)
            yield
            connection.close()
        finally:
            process.terminate()


@pytest.fixture(scope="module", params=N_COLS)
def service(request, tmp_path_factory, n_threads):
    model = synthetic_model(request.param, n_threads)
    path = tmp_path_factory.mktemp("service") / "serving.twofold"
    model.save(path, serving=True)
    bodies = [json.dumps({"tracks": tracks}) for tracks in playlists(model)]
    running = Service(free_port(), path, model, bodies)
    words = ["--port", running.port, "--interval", 0.1, "--threads", 2]
    with started([sys.executable, str(PROGRAM), str(path), *map(str, words)], running):
        yield running


def answer_all(service: Service, n_requests: int) -> np.ndarray:
    """Return the milliseconds of requests by several clients."""

    def requests(client: int) -> list[float]:
        connection, bodies = service.connect(), itertools.cycle(service.bodies[client:])
        some = itertools.islice(bodies, n_requests // N_CLIENTS)
        spent = [service.ask(connection, body) for body in some]
        connection.close()
        return spent

    with ThreadPoolExecutor(N_CLIENTS) as pool:
        return np.concatenate([*pool.map(requests, range(N_CLIENTS))])


@contextmanager
def swapped(service: Service, every: float):
    """Save the model again and again, in another thread; yield the number of times, in a list."""
    is_over, n_swaps = threading.Event(), [0]

    def swap() -> None:
        while not is_over.wait(every):
            service.model.save(service.path, serving=True)
            n_swaps[0] += 1

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        yield n_swaps
    finally:
        is_over.set()
        swapping.join()


def percentiles(spent: np.ndarray) -> dict[str, float]:
    return {f"p{q}_ms": float(np.percentile(spent, q)) for q in (50, 99, 100)}


@pytest.mark.benchmark(group="service")
def test_requests(measure, service):
    """Time requests over HTTP by several clients."""
    spent = answer_all(service, 1_000)
    n_cols = service.model.col_ids.size
    n = 400
    measure(
        answer_all, service, n, rounds=3, work={"requests": n}, n_cols=n_cols, **percentiles(spent)
    )


@pytest.mark.benchmark(group="service")
@pytest.mark.parametrize("service", N_COLS[:1], indirect=True)
def test_swaps(measure, service):
    """Make 10,000 requests while the model is swapped; `Service.ask` fails if one of them does."""
    service.times.clear()
    with swapped(service, every=0.5) as n_swaps:
        spent = answer_all(service, N_REQUESTS)
        assert spent.size == N_REQUESTS
        assert min(n_swaps[0], len(service.times)) >= 3
        figures = {"swaps": n_swaps[0], "models": len(service.times)} | percentiles(spent)
        n, n_cols = 400, service.model.col_ids.size
        measure(answer_all, service, n, rounds=3, work={"requests": n}, n_cols=n_cols, **figures)

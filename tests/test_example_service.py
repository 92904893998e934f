"""examples/service.py over HTTP: its answers, its refusals, and a model that is exchanged."""

import http.client
import importlib.util
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from twofold import FactorModel, Pairings
from twofold.solvers import ALS

pytest.importorskip("starlette", reason='needs pip install "twofold[test]"')
uvicorn = pytest.importorskip("uvicorn", reason='needs pip install "twofold[test]"')

PATH = Path(__file__).parents[1] / "examples" / "service.py"


@pytest.fixture(scope="module")
def service():
    spec = importlib.util.spec_from_file_location("example_service", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["example_service"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["example_service"]


@pytest.fixture(scope="module")
def models(playlists):
    """Two models of the same pairs, with different answers."""
    return [
        FactorModel(solver=ALS(n_factors=k, max_epochs=2, rng=0)).fit(playlists.pairings)
        for k in (3, 5)
    ]


@pytest.fixture
def file(tmp_path, models):
    models[0].save(tmp_path / "serving.twofold", serving=True)
    return tmp_path / "serving.twofold"


class Client:
    """One connection to the service."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method, path, body=None):
        """Return the status and the JSON of an answer."""
        given = body if body is None or isinstance(body, bytes) else json.dumps(body)
        self.connection.request(method, path, given)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())

    def recommend(self, tracks, **options):
        return self.ask("POST", "/recommend", {"tracks": tracks} | options)


@pytest.fixture
def serve(service):
    """Start the service of a file in a thread; return a function that connects."""
    servers, clients = [], []

    def start(file, **options):
        app = service.create_app(file, **options)
        config = uvicorn.Config(app, port=0, log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]

        def connect():
            clients.append(Client(port))
            return clients[-1]

        return connect

    yield start
    for client in clients:
        client.connection.close()
    for server, thread in servers:
        server.should_exit = True
        thread.join()


def found(ranking):
    ((_, tracks),) = ranking
    return [{"track": track, "score": score} for track, score in tracks]


def test_answers_are_those_of_the_model(serve, file, models):
    client = serve(file)()
    status, health = client.ask("GET", "/health")
    n_tracks = models[0].col_ids.size
    assert (status, health["tracks"], health["factors"]) == (200, n_tracks, 3)
    assert health["problem"] is None
    options = {"n": 4, "exclude": [7, 8], "candidates": list(range(1, 100))}
    for given in ({}, options):
        status, answer = client.recommend([1, 5, 9], **given)
        assert (status, answer["model"]) == (200, health["model"])
        assert answer["tracks"] == found(models[0].recommend_new([1, 5, 9], **given))
    assert client.recommend([10**9])[1]["tracks"] == []
    assert len(client.recommend([10**9], fallback="popular")[1]["tracks"]) == 10
    status, answer = client.ask("GET", "/similar?track=5&n=3")
    assert (status, answer["tracks"]) == (200, found(models[0].similar_cols([5], 3)))
    assert len(client.ask("GET", "/similar?track=5")[1]["tracks"]) == 10


def test_tracks_with_text_ids(serve, tmp_path):
    pairings = Pairings.from_arrays(["a", "a", "b", "b"], ["x", "7", "7", "z"])
    model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
    model.save(tmp_path / "m", serving=True)
    client = serve(tmp_path / "m")()
    assert client.recommend(["x", "7"], n=1)[1]["tracks"] == found(
        model.recommend_new(["x", "7"], 1)
    )
    assert client.ask("GET", "/similar?track=7&n=1")[1]["tracks"] == found(
        model.similar_cols(["7"], 1)
    )
    status, answer = client.recommend([7])
    assert (status, "text" in answer["error"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        ([1, 2], "the body has no tracks"),
        ({"n": 3}, "the body has no tracks"),
        ({"tracks": [1], "top": 3}, "there is no option 'top'"),
        ({"tracks": [1], "n": 0}, "n is 0"),
        ({"tracks": [1], "n": "ten"}, "n is 'ten'"),
        ({"tracks": [1], "n": 2.5}, "n is 2.5"),
        ({"tracks": [1], "n": None}, "n is None"),
        ({"tracks": [1], "n": 10**9}, "ask for at most 1000"),
        ({"tracks": [1], "fallback": "mean"}, "fallback is 'mean'"),
        ({"tracks": ["one"]}, ""),
        ({"tracks": [1.5]}, ""),
        ({"tracks": [None]}, ""),
        ({"tracks": [[1], [2, 3]]}, ""),
        ({"tracks": [10**30]}, ""),
        ({"tracks": {"a": 1}}, ""),
        ({"tracks": [1], "exclude": ["a"]}, ""),
        ({"tracks": [1], "candidates": {"a": 1}}, ""),
    ],
)
def test_a_wrong_body_is_refused(serve, file, body, sentence):
    client = serve(file)()
    status, answer = client.ask("POST", "/recommend", body)
    assert status == 400
    assert answer["error"].startswith(sentence) or sentence in answer["error"]
    assert "\n" not in answer["error"]
    assert client.recommend([1])[0] == 200


def test_a_wrong_query_is_refused(serve, file):
    client = serve(file)()
    for query, code, sentence in (
        ("", 400, "there is no track"),
        ("?track=99999", 404, "99999 is unknown"),
        ("?track=one", 404, "'one' is unknown"),
        ("?track=1&n=0", 400, "n is 0"),
        ("?track=1&n=x", 400, "n is 'x'"),
        ("?track=1&n=5000", 400, "at most 1000"),
    ):
        status, answer = client.ask("GET", f"/similar{query}")
        assert (query, status) == (query, code)
        assert sentence in answer["error"]


def test_no_request_fails_while_the_file_is_exchanged(serve, file, models):
    """Every answer is that of one of the models as a whole, and the newest is served at last."""
    connect = serve(file, interval=0.01)
    asked = [1, 5, 9]
    answers = [found(model.recommend_new(asked, 20)) for model in models]
    assert answers[0] != answers[1]
    is_over = threading.Event()

    def requests():
        client, seen = connect(), []
        while not is_over.is_set() or len(seen) < 200:
            status, answer = client.recommend(asked, n=20)
            assert status == 200, answer
            seen.append((answer["model"], answers.index(answer["tracks"])))
        return seen

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(requests) for _ in range(4)]
        try:
            watching = connect()
            for swap in range(1, 12):
                models[swap % 2].save(file, serving=True)
                factors = models[swap % 2].col_factors.shape[1]
                ends = time.monotonic() + 60
                while watching.ask("GET", "/health")[1]["factors"] != factors:
                    assert time.monotonic() < ends
        finally:
            is_over.set()
        of_clients = [one.result() for one in running]
    for seen in of_clients:
        assert sorted(seen) == seen  # of no older model than the answer before
        assert {model for _, model in seen} == {0, 1}
    pairs = {pair for seen in of_clients for pair in seen}
    assert len(dict(pairs)) == len(pairs)  # one model for each time


def test_a_request_keeps_its_model(service, file, models):
    served = service.ModelFile(file)
    old = served.current
    models[1].save(file, serving=True)
    served.refresh()
    assert served.current.model.col_factors.shape[1] == 5
    assert found(old.model.recommend_new([1, 5])) == found(models[0].recommend_new([1, 5]))
    new = served.current
    served.refresh()
    assert served.current is new  # the same file is not loaded again


def test_a_file_that_is_no_model_is_not_served(service, file, models):
    served = service.ModelFile(file)
    good = served.current
    file.with_name("other").write_text("no model")
    file.with_name("other").replace(file)
    served.refresh()
    assert (served.current, "not a file" in served.problem) == (good, True)
    file.unlink()
    served.refresh()
    assert (served.current, "No such file" in served.problem) == (good, True)
    models[1].save(file, serving=True)
    served.refresh()
    assert served.current.model.col_factors.shape[1] == 5
    assert not served.problem

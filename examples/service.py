"""A web service that recommends tracks, and exchanges its model while it answers.

It needs ``pip install starlette uvicorn``. One process answers in several threads, which share the
model::

    NUMBA_NUM_THREADS=1 python examples/service.py serving.twofold --port 8000

    curl localhost:8000/recommend -d '{"tracks": [5, 17], "n": 10}'
    curl "localhost:8000/similar?track=5&n=10"
    curl localhost:8000/health

The file is one of ``model.save(path, serving=True)``. To exchange it, save the next model under the
same path: `FactorModel.save` renames the new file over the old one, which stays in memory until its
last request is answered. Do not copy over the file in place, because its pages are mapped.

With ``NUMBA_NUM_THREADS=1`` every request has one thread, which is the best for many at once.
"""

import argparse
import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from twofold import FactorModel
from twofold.exceptions import InvalidInputError, TwofoldError, UnknownIdError
from twofold.model import Ranking

MAX_N = 1000
OPTIONS = ("n", "candidates", "exclude", "fallback")  # of FactorModel.recommend_new
EXAMPLE = '{"tracks": [5, 17], "n": 10}'
log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class ServedModel:
    """A model and the file that it is from."""

    model: FactorModel
    written: str
    """Time at which the file was written."""


class ModelFile:
    """The model of a file, and of the file that replaces it.

    Parameters
    ----------
    path : path-like
        File of ``model.save(path, serving=True)``.
    """

    def __init__(self, path: os.PathLike[str]) -> None:
        self.path, self.problem = Path(path), ""
        self._status = self._stat()
        self.current = self._load()

    def refresh(self) -> None:
        """Load the file if it is another one; the old model stays if it cannot be loaded."""
        try:
            status = self._stat()
            if status == self._status:
                return
            self._status = status
            self.current, self.problem = self._load(), ""
            log.info("the model of %s is served", self.current.written)
        except (TwofoldError, OSError, MemoryError) as error:
            if str(error) != self.problem:
                log.error("the model of %s stays: %s", self.current.written, error)
            self.problem = str(error)

    def _stat(self) -> tuple[int, int, int]:
        status = self.path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _load(self) -> ServedModel:
        """Load the model, and answer once, so that no request waits for what is prepared."""
        model = FactorModel.load(self.path, mmap=True)
        model.recommend_new(model.col_ids[:1], 1)
        model.similar_cols(model.col_ids[:1], 1)
        written = datetime.fromtimestamp(self._status[1] / 1e9, UTC)
        return ServedModel(model, written.isoformat(timespec="milliseconds"))


async def recommend(request: Request) -> JSONResponse:
    """POST /recommend: complete a new playlist, given by the ids of its tracks."""
    try:
        asked = await request.json()
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"the body is not JSON ({error}): send {EXAMPLE}") from None
    if not isinstance(asked, dict) or "tracks" not in asked:
        raise InvalidInputError(f"the body has no tracks: send {EXAMPLE}")
    unknown = [name for name in asked if name not in ("tracks", *OPTIONS)]
    if unknown:
        raise InvalidInputError(f"there is no option {unknown[0]!r}: there are {OPTIONS}")
    tracks = asked.pop("tracks")
    check_is_short(asked.get("n"))
    served = request.app.state.file.current  # of the whole request
    ranking = await run_in_threadpool(served.model.recommend_new, tracks, **asked)
    return answer(served, ranking)


def similar(request: Request) -> JSONResponse:
    """GET /similar: the tracks that are similar to one."""
    track, n = (request.query_params.get(name) for name in ("track", "n"))
    if track is None:
        raise InvalidInputError("there is no track: ask for /similar?track=5&n=10")
    n = 10 if n is None else number(n)
    check_is_short(n)
    served = request.app.state.file.current
    has_texts = served.model.col_ids.dtype == object
    return answer(served, served.model.similar_cols([track if has_texts else number(track)], n))


def health(request: Request) -> JSONResponse:
    """GET /health: the time and size of the model, and why a newer file is not served."""
    file = request.app.state.file
    served = file.current
    n_tracks, n_factors = served.model.col_factors.shape
    values = {"model": served.written, "tracks": n_tracks, "factors": n_factors}
    return JSONResponse(values | {"problem": file.problem or None})


def answer(served: ServedModel, ranking: Ranking) -> JSONResponse:
    """Return the tracks of a ranking of one row."""
    ((_, found),) = ranking
    tracks = [{"track": track, "score": score} for track, score in found]
    return JSONResponse({"model": served.written, "tracks": tracks})


def number(text: str) -> Any:
    """Return a whole number; another text as it is, which the model refuses."""
    try:
        return int(text)
    except ValueError:
        return text


def check_is_short(n: Any) -> None:
    """Raise if n is more than a response may have."""
    if isinstance(n, int) and n > MAX_N:
        raise InvalidInputError(f"n is {n}: ask for at most {MAX_N} tracks")


def refused(request: Request, error: Exception) -> JSONResponse:
    """Answer wrong input with the sentence of the package."""
    status = 404 if isinstance(error, UnknownIdError) else 400
    return JSONResponse({"error": str(error)}, status)


def create_app(path: os.PathLike[str], *, interval: float = 1.0, n_threads: int = 4) -> Starlette:
    """Make the application.

    Parameters
    ----------
    path : path-like
        File of ``model.save(path, serving=True)``.
    interval : float, default 1.0
        Seconds between two looks at the file.
    n_threads : int, default 4
        Number of requests that are answered at once.
    """
    file = ModelFile(path)

    async def watch() -> None:
        while True:
            await asyncio.sleep(interval)
            await run_in_threadpool(file.refresh)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = n_threads
        watching = asyncio.create_task(watch())
        yield
        watching.cancel()

    app = Starlette(
        routes=[
            Route("/recommend", recommend, methods=["POST"]),
            Route("/similar", similar),
            Route("/health", health),
        ],
        exception_handlers={InvalidInputError: refused, UnknownIdError: refused},
        lifespan=lifespan,
    )
    app.state.file = file
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, help="file of model.save(path, serving=True)")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks")
    parser.add_argument("--threads", type=int, default=4, help="requests answered at once")
    given = parser.parse_args()
    application = create_app(given.path, interval=given.interval, n_threads=given.threads)
    uvicorn.run(application, port=given.port, access_log=False)

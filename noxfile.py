"""The steps of continuous integration: `nox -l` lists them, `nox -s lint types` runs two."""

import shutil
import tempfile
from itertools import chain
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
PARALLEL = ["-q", "-n", "2", "--dist", "worksteal"]
# The tests most likely to fail with another version of Python or of a dependency.
SELECTION = [f"tests/{name}" for name in ("solvers", "objective", "io", "model", "kernels")]
KERNELS = "twofold/_kernels/*,twofold/objective/_compiled.py"
# Functions that generate LLVM code run in the compiler, so they do not run without the JIT.
GENERATORS = r"class Matrix:|def _\w+\([^)]*: Matrix|def generate\("
COMPILER = "*/_kernels/announce.py,*/_kernels/cache.py,*/_kernels/device.py"


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after `--` replace those of pytest."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *(session.posargs or PARALLEL))


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, the format and the layers of imports."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package, and of code that uses it."""
    session.install("-e", ".[dev]")
    session.run("mypy")
    session.run("python", "-m", "pytest", "-q", "tests/typing")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Run the checks of the benchmarks without timing anything."""
    session.install("-e", ".[bench,dev]")
    session.run("python", "-m", "pytest", "-q", "benchmarks", "--benchmark-disable")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site, in which warnings are errors, and check its links and its search."""
    session.install("-e", ".[docs,test]")
    session.run("python", "-m", "pytest", "-q", "tests/test_site.py",
                env={"TWOFOLD_SITE": "docs/_build/html"})  # fmt: skip


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist and, from it, the wheel into `dist`; check what they say of themselves."""
    session.install("build", "twine")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST))
    session.run("twine", "check", "--strict", *map(str, DIST.iterdir()))


@nox.session(python=PYTHONS)
@nox.parametrize("ending", [".whl", ".tar.gz"], ids=["wheel", "sdist"])
def package(session: nox.Session, ending: str) -> None:
    """Install a file of `dist` into an empty environment and test it; `build` must come before."""
    built = {name: next(DIST.glob(f"*{name}"), None) for name in (".whl", ".tar.gz")}
    artefact, source = built[ending], built[".tar.gz"]
    if artefact is None or source is None:
        session.error("dist has no wheel or no sdist: run `nox -s build` first")
    folder = Path(session.create_tmp())
    session.chdir(folder)
    session.install(str(artefact))
    session.run("twofold", "demo", "--folder", "demo", "--playlists", "300", "--tracks", "200",
                "--quiet")  # fmt: skip
    session.run("twofold", "fit", "demo/demo.db", "--solver", "sgd", "--preset", "notebook",
                "--n-factors", "8", "--output", "sgd.twofold", "--quiet")  # fmt: skip
    session.run("python", "-m", "twofold", "evaluate", "sgd.twofold", "demo/demo.db", "--quiet")

    session.install(f"twofold[test] @ {artefact.as_uri()}")
    shutil.unpack_archive(source, folder)
    unpacked = folder / source.name.removesuffix(".tar.gz")
    shutil.rmtree(unpacked / "twofold")  # so that the installed one is tested
    session.chdir(unpacked)
    session.run("pytest", *(session.posargs or ["-x", *PARALLEL, *SELECTION]))


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run a selection of the tests with the lowest versions that pyproject.toml allows."""
    constraints = Path(session.create_tmp()) / "constraints.txt"
    # pyparsing 3.3 warns of names that the lowest matplotlib uses.
    constraints.write_text("\n".join([*_lower_bounds(), "pyparsing<3.3"]))
    session.install("-c", str(constraints), "-e", ".[test]")
    cluster = "tests/distributed/test_dask_als.py"
    selection = [*SELECTION, "tests/data", "tests/plot", "tests/tuning", cluster]
    session.run("python", "-m", "pytest", *(session.posargs or ["-x", *PARALLEL, *selection]))


def _lower_bounds() -> list[str]:
    project = PYPROJECT["project"]
    lines = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    return [
        f"{requirement.name}=={specifier.version}"
        for requirement in map(Requirement, lines)
        for specifier in requirement.specifier
        if specifier.operator == ">="
    ]


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the lines that tests run: all tests, and some of the kernels without the JIT."""
    session.install("-e", ".[dev]")
    run, report = ["coverage", "run"], ["coverage", "report", "--fail-under=95"]
    session.run("coverage", "erase")
    # Kernels that an earlier run has compiled would not run the code that generates them.
    with tempfile.TemporaryDirectory() as cache:
        env = {"NUMBA_CACHE_DIR": cache, "TIMEOUT_FACTOR": "5"}
        # Otherwise the processes of tests, which have a limit of time, would compile.
        session.run(*run, "-m", "twofold", "warm-up", env=env)
        session.run(*run, "-m", "pytest", *PARALLEL, env=env)
    session.run(*run, "--context=plain", "-m", "pytest", "-q", "tests/kernels/test_nojit.py",
                env={"NUMBA_DISABLE_JIT": "1"})  # fmt: skip
    session.run("coverage", "combine")
    session.run(*report, "--include=twofold/*", f"--omit={KERNELS}")  # not copies made by tests
    session.run(*report, f"--include={KERNELS}")
    session.run(*report, f"--include={KERNELS}", f"--omit={COMPILER}", "--contexts=plain",
                env={"NOT_COVERED": GENERATORS})  # fmt: skip

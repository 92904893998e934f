"""Compilation, disk cache and messages of kernels, in a package of one kernel and its callee."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from devices import call

import twofold
from twofold._kernels.jit import device

SOURCE = Path(twofold.__file__).parent
pty = pytest.importorskip("pty", reason="needs terminals and permissions of POSIX")

INNER = """
from twofold._kernels.jit import device
@device
def double(x):
    return 2 * x
"""
OUTER = """
from twofold._kernels.inner import double
from twofold._kernels.jit import kernel
@kernel
def total(x):
    s = 0.0
    for i in range(x.size):
        s += double(x[i])
    return s
"""
RUN = """
import json
import numpy as np
from twofold._kernels.outer import total
{before}
value = total(np.arange(4.0))
{after}
stats = total.stats
print(json.dumps([value, sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""
HIT, MISS = [12.0, 1, 0], [12.0, 0, 1]


class Package:
    """Copy of the code under test with its own cache folder."""

    def __init__(self, folder: Path) -> None:
        self.site, self.cache = folder / "site", folder / "cache"
        self.kernels = self.site / "twofold" / "_kernels"
        self.kernels.mkdir(parents=True)
        self.inner = self.kernels / "inner.py"
        (self.site / "twofold" / "__init__.py").write_text("")
        shutil.copy(SOURCE / "exceptions.py", self.site / "twofold")
        for name in ("jit", "device", "cache", "announce"):
            shutil.copy(SOURCE / "_kernels" / f"{name}.py", self.kernels)
        self.inner.write_text(INNER)
        (self.kernels / "outer.py").write_text(OUTER)
        self.env = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(self.cache),
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def command(self, before: str = "", after: str = "", prefix: tuple[str, ...] = ()) -> list[str]:
        return [*prefix, sys.executable, "-c", RUN.format(before=before, after=after)]

    def run(self, *args: str, prefix: tuple[str, ...] = ()) -> tuple[list[float], str]:
        """Return the value, the hits and the misses of the kernel, and the text of stderr."""
        done = subprocess.run(
            self.command(*args, prefix=prefix), env=self.env, capture_output=True, text=True,
            check=False, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    def files(self) -> list[Path]:
        return sorted(path for path in self.cache.rglob("*") if path.is_file())


@pytest.fixture
def package(tmp_path) -> Package:
    return Package(tmp_path)


def check_one_warning(stderr: str) -> None:
    assert stderr.count("KernelCacheWarning") == 1, stderr
    assert "set NUMBA_CACHE_DIR" in stderr


def test_second_process_loads_from_the_cache_silently(package):
    assert package.run() == (MISS, "")
    assert len(package.files()) == 1  # of the kernel; the device function is a part of it
    assert package.run() == (HIT, "")


def test_nothing_is_written_into_the_package(package):
    before = sorted(package.site.rglob("*"))
    assert package.run() == (MISS, "")
    assert sorted(package.site.rglob("*")) == before  # so an uninstallation leaves nothing


def test_editing_a_function_recompiles_its_callers(package):
    package.run()
    package.inner.write_text(INNER.replace("2 * x", "3 * x"))
    assert package.run() == ([18.0, 0, 1], "")
    package.inner.write_text(INNER)
    assert package.run() == (HIT, "")


def test_file_edited_after_the_import_is_not_cached(package):
    edit = f"open({str(package.inner)!r}, 'a').write('# edited')"
    assert package.run(edit) == (MISS, "")
    assert package.files() == []


def test_every_kernel_file_is_part_of_the_stamp(tmp_path):
    shutil.copytree(SOURCE, tmp_path / "twofold", ignore=shutil.ignore_patterns("__pycache__"))
    code = """
from pathlib import Path
from twofold._kernels import cache
stamps = [cache._stamp()]
for path in sorted(Path(cache.__file__).parent.rglob("*.py")):
    path.write_text(path.read_text() + "# edited")
    stamps.append(cache._stamp())
assert len(set(stamps)) == len(stamps) > 10, stamps
"""
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, cwd=tmp_path)


def test_kernels_are_in_stamped_files_only():
    for path in SOURCE.rglob("*.py"):
        if "_kernels" not in path.parts:
            text = path.read_text()
            assert "import device" not in text, path
            assert "import kernel" not in text, path
            assert "cache=True" not in text, path


def test_old_stamps_are_removed(package):
    root = package.cache / "twofold"
    for number in range(6):
        (root / str(number)).mkdir(parents=True)
        (root / str(number) / "old.kernel").touch()
        os.utime(root / str(number), (number, number))
    package.run()
    kept = sorted(path.name for path in root.iterdir())
    assert kept[:3] == ["3", "4", "5"]
    assert len(kept) == 4


def test_damaged_file_is_recompiled(package):
    package.run()
    for damage in ("cut", "empty", "changed"):
        for path in package.files():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 255
            path.write_bytes({"cut": content[:-9], "empty": b"", "changed": content}[damage])
        assert package.run() == (MISS, ""), damage
    assert package.run() == (HIT, "")


def test_concurrent_processes_with_an_empty_cache(package):
    both = [
        subprocess.Popen(
            package.command(), env=package.env, stdout=subprocess.PIPE, text=True, cwd="/"
        )
        for _ in range(2)
    ]
    for process in both:
        out, _ = process.communicate()
        assert process.returncode == 0
        assert json.loads(out)[0] == 12.0
    assert len(package.files()) == 1  # of the kernel; the device function is a part of it
    assert package.run() == (HIT, "")


def unprivileged_command() -> tuple[str, ...]:
    """Return the command prefix with which root is subject to file permissions."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root can write everywhere, and setpriv is missing")
    return ("setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override")


def test_warning_without_a_writable_folder(package, tmp_path):
    prefix = unprivileged_command()
    home = tmp_path / "home"
    home.mkdir()
    package.env["HOME"] = str(home)
    del package.env["XDG_CACHE_HOME"]
    for path in (home, package.kernels):
        path.chmod(0o555)
    result, stderr = package.run("", "total(np.ones(3, np.float32))", prefix=prefix)
    assert result == [12.0, 0, 2]
    check_one_warning(stderr)


def test_importing_does_not_warn(package):
    package.env |= {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/proc/nonexistent"}
    code = "import twofold._kernels.outer"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=package.env, capture_output=True, check=False, cwd="/")
    assert (done.returncode, done.stderr) == (0, b"")
    check_one_warning(package.run()[1])


def test_warning_without_a_home_folder(package):
    package.env["XDG_CACHE_HOME"] = ""
    before = "import os; os.environ.pop('HOME'); os.path.expanduser = lambda path: path"
    result, stderr = package.run(before)
    assert result == MISS
    check_one_warning(stderr)
    assert "there is no home folder" in stderr


def test_warning_if_the_disk_is_full(package):
    before = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
"""
    result, stderr = package.run(before, "total(np.ones(3, np.float32))")
    assert result == [12.0, 0, 2]
    check_one_warning(stderr)
    assert "File too large" in stderr
    assert package.files() == []


@pytest.mark.parametrize(
    ("which", "how"), [("root", "owner"), ("stamp", "owner"), ("file", "owner"), ("stamp", "mode")]
)
def test_files_writable_by_another_user_are_not_loaded(package, which, how):
    if how == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    package.run()
    root = package.cache / "twofold"
    paths = {"root": [root], "stamp": list(root.iterdir()), "file": package.files()}[which]
    for path in paths:
        if how == "owner":
            os.chown(path, 65534, 65534)
        else:
            path.chmod(0o777)
    result, stderr = package.run()
    assert result == MISS
    if which == "file":  # The file is replaced.
        assert package.run() == (HIT, "")
    else:
        check_one_warning(stderr)
        assert "can be written by another user" in stderr


def test_numba_cache_dir_is_used(package, tmp_path):
    package.env["NUMBA_CACHE_DIR"] = str(tmp_path / "chosen")
    package.run()
    assert package.files() == []
    assert len(list((tmp_path / "chosen").rglob("*.kernel"))) == 1
    package.env["NUMBA_CACHE_DIR"] = "/proc/nonexistent"
    assert package.run() == (MISS, "")
    assert len(package.files()) == 1


def terminal_output(package: Package, before: str = "") -> str:
    """Return everything that the process writes to a terminal."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        package.command(before), env=package.env, cwd="/",
        stdin=side, stdout=subprocess.DEVNULL, stderr=side,
    )  # fmt: skip
    os.close(side)
    parts = []
    while True:
        try:
            part = os.read(main, 1 << 16)
        except OSError:  # End of file on Linux.
            break
        if not part:
            break
        parts.append(part)
    os.close(main)
    assert process.wait() == 0
    return b"".join(parts).decode()


def test_terminal_line_is_erased(package):
    before = """
import numba
numba.njit(lambda x: x + 1)(1)  # a function of the user
"""
    output = terminal_output(package, before)
    assert "\n" not in output
    assert "compiling kernels, once on this machine: 0 so far (total)" in output
    assert "double" not in output
    assert "lambda" not in output
    assert output.endswith("\r")
    assert output.split("\r")[-2].strip() == ""
    assert terminal_output(package) == ""


def test_logger_level_disables_the_line(package):
    before = "import logging; logging.getLogger('twofold').setLevel('WARNING')"
    assert terminal_output(package, before) == ""


def test_numba_debug_records_are_suppressed(package):
    before = "import logging; logging.basicConfig(level=0)"
    after = "assert logging.getLogger('numba').level == logging.NOTSET"
    result, stderr = package.run(before, after)
    assert result == MISS
    lines = stderr.splitlines()
    assert len(lines) == 2, lines[:10]
    assert lines[0] == "INFO:twofold:compiling total, once on this machine"
    assert lines[1].startswith("INFO:twofold:compiled total in ")
    assert lines[1].endswith(" s")
    assert package.run(before) == (HIT, "")


def test_numba_log_level_of_the_user_is_kept(package):
    before = "import logging; logging.basicConfig(); logging.getLogger('numba').setLevel(10)"
    assert package.run(before)[1].count("DEBUG:numba") > 100


def test_compile_seconds_are_per_thread(package):
    before = """
import threading, time
from twofold._kernels.jit import compile_seconds
seconds = []
def work():
    total(np.ones(3))
    seconds.append(compile_seconds())
before = compile_seconds()
start = time.perf_counter()
thread = threading.Thread(target=work)
thread.start()
thread.join()
wall = time.perf_counter() - start
assert compile_seconds() == before < 0.1
assert 0.5 * wall < seconds[0] <= wall, (seconds, wall)
"""
    after = """
assert compile_seconds() < before + 0.1
total(np.ones(3, np.float32))
first = compile_seconds()
total(np.ones(3, np.float32))
assert compile_seconds() == first > 0.0
"""
    assert package.run(before, after)[0] == [12.0, 0, 2]
    loading = before.replace("0.5 * wall <", "0.0 <")  # Loading is counted, but is fast.
    assert package.run(loading, after)[0] == [12.0, 2, 0]


@device
def halve(x):
    return x / 2


def test_device_function_is_not_callable_from_python():
    assert call(halve, np.float32(3)) == 1.5
    if not numba.config.DISABLE_JIT:
        with pytest.raises(TypeError, match="halve is a device function: call it from a kernel"):
            halve(1.0)

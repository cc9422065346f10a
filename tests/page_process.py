"""The page's server: whether it can run here, and one in a process of its own; for the tests of the page."""

import contextlib
import importlib.util
import subprocess
import sys

import pytest

HAS_SERVER = all(importlib.util.find_spec(name) is not None for name in ("starlette", "uvicorn"))


@contextlib.contextmanager
def started(finished, temporary, **options):
    """The page in a process of its own, as its users start it, with a temporary folder of its own."""
    if not HAS_SERVER:
        pytest.skip("needs starlette and uvicorn (the extra app)")
    command = [sys.executable, "-m", "fmnist_mlp", "app", "--results-dir", finished.results]
    process = subprocess.Popen(
        command,
        cwd=finished.folder,
        env=finished.environment() | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("open http://127.0.0.1:"), line + process.stderr.read()
        yield process, line.split()[1]
    finally:
        process.kill()
        process.communicate(timeout=20)

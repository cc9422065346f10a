"""Engines, and runs of a few calls on them that leave nothing behind; for test_engine and the files beside it."""

import multiprocessing
import os
from pathlib import Path

import engine_calls
import pytest

from fmnist_mlp.engines.calls import Call, WorkerSettings
from fmnist_mlp.engines.inline import InlineEngine
from fmnist_mlp.engines.pool import Pool

ROOT = Path(__file__).parent.parent
SCRIPT_ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


@pytest.fixture(params=["in this process", "one worker", "two workers"])
def make_engine(request):
    def make(settings=None, **options):
        settings = settings or WorkerSettings()
        if request.param == "in this process":
            return InlineEngine(0, settings, **options)
        return Pool(1 if request.param == "one worker" else 2, settings, **options)

    return make


@pytest.fixture(autouse=True)
def nothing_left_behind():
    before = dict(os.environ)
    files = open_files()
    yield
    assert multiprocessing.active_children() == []
    assert dict(os.environ) == before | {"PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}
    # Three more at most: the pipe of the resource tracker, which lives as long as this process, and the last engine's.
    assert open_files() <= files + 3


def open_files():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def run(engine, *calls):
    """The outcomes by key, each only once."""
    outcomes = list(engine.run(calls))
    by_key = {outcome.call.key: outcome for outcome in outcomes}
    assert len(by_key) == len(outcomes)
    return by_key


def call(function, *args, key=None, **options):
    return Call(key or function.__name__, f"{function.__module__}:{function.__name__}", args, **options)


def numbered(function, count, *args, **options):
    return [call(function, *args, key=str(n), **options) for n in range(count)]


def doubles(count):
    return [call(engine_calls.double, n, key=str(n)) for n in range(count)]


def local(jobs=1, environment=None, initializer=None, initargs=(), **options):
    return Pool(jobs, WorkerSettings(environment or {}, initializer, initargs), **options)

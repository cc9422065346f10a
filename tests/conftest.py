"""Fixtures: tiny images, records by hand, and a process that computes on one CPU core like a worker does."""

import ctypes
import functools
import gc
import os
import sys
from pathlib import Path

from fmnist_mlp.training.program_cache import VARIABLE as PLACE_OF_PROGRAMS
from fmnist_mlp.training.worker import own_environment

# Before anything imports TensorFlow: the same surroundings as a worker's.
for _name, _value in own_environment("cpu", threads=1).items():
    if _value is None:
        os.environ.pop(_name, None)
    else:
        os.environ[_name] = _value

# A worker asks TensorFlow for one thread by a call, which a test process cannot repeat; this is the same by variable.
os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

# Compiling is most of what a tiny training takes here, and half of that is making fast code of it. Worker processes
# start with their own flags, so what is compared with a worker's bits has to be made by one.
os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"

# Sweeps that tests start compile the same few stacks again and again: here they keep them for each other.
os.environ.setdefault(PLACE_OF_PROGRAMS, str(Path(__file__).parents[1] / ".pytest_cache" / "programs"))

import numpy as np
import pytest
import sweeping

from fmnist_mlp.data import synthetic


@pytest.fixture(scope="session", autouse=True)
def _draw_the_stand_in_once():
    """It takes a second, and its images are always the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fmnist_mlp.data.synthetic.make_garments", functools.cache(synthetic.make_garments))
        yield


# Whatever looks at what these make takes more than a few seconds: trained sweeps, a browser, a Ray cluster.
SLOW_FIXTURES = {"swept", "make_fitted", "browser", "ray_here"}


def pytest_addoption(parser):
    parser.addoption("--part", default="1/1", metavar="K/N", help="every N-th test from the K-th on; for run_all.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    part, parts = map(int, config.getoption("--part").split("/"))
    items[:] = items[part - 1 :: parts]
    for item in items:
        is_borrowed = getattr(item, "function", None) and item.function.__module__ != item.module.__name__
        if SLOW_FIXTURES & {*item.fixturenames} or is_borrowed:  # another file's test, which runs there every day
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _forget_models():
    """What the models of a file took is free for the next; programs that TensorFlow compiled stay to the end."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session(free_memory=False)
        gc.collect()
        gc.freeze()  # what is left are the libraries' million objects: the next collection need not look through them
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # back to the system


@pytest.fixture
def tiny_images():
    """203 images of 8x8 in four classes that a small stack can learn: uint8 `x`, integer `y`."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 203)
    x = rng.integers(0, 120, (203, 8, 8))
    for image, label in zip(x, y, strict=True):
        image[2 * (label // 2) : 2 * (label // 2) + 4, 2 * (label % 2) : 2 * (label % 2) + 4] += 100
    return x.astype(np.uint8), y.astype(np.uint8)


@pytest.fixture
def made(tmp_path):
    """A small sweep and a results folder, for records that nobody trained."""
    return sweeping.Made(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The sweep of `predicting.finished_sweep`; to look at only."""
    # Imported here: most tests need no TensorFlow.
    import predicting

    return predicting.finished_sweep(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def float64():
    """Keras computes in float64, for comparisons with another order of sums."""
    import learning  # TensorFlow with it, as above

    learning.compute_in("float64")
    yield
    learning.compute_in("float32")

"""Sweep files as text, for the tests of what they mean: loaded, complained of, and their trials' fingerprints."""

from pathlib import Path

import pytest

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.sweep import Overrides
from fmnist_mlp.sweepfile.trials import list_trials

STACK = "architectures:\n  - [64, 32]\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads text as `architectures.yaml` of an empty folder; messages then show that name alone."""
    monkeypatch.chdir(tmp_path)

    def load(text, overrides=None, name="architectures.yaml"):
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_sweep(name, overrides or Overrides())

    return load


@pytest.fixture
def complain(load):
    """The lines of the SweepError that a text gets."""

    def complain(text, *args, **kwargs):
        with pytest.raises(SweepError) as caught:
            load(text, *args, **kwargs)
        return str(caught.value).split("\n")

    return complain


def fingerprints(sweep, **options):
    return {
        trial.architecture.name: trial.fingerprint for trial in list_trials(sweep, **({"data_identity": "d"} | options))
    }

"""Commands in this process: a folder to stand in, `run("tiny.yaml")`, invented trials in the place of Keras's.

These leave what a trial leaves, with numbers made of its fingerprint. Real ones are in test_end_to_end.py.
"""

import os
import signal

import pytest
import sweeping
from image_folder import leave_nothing_to_download
from sweeping import Project, invented_latency, invented_record

from fmnist_mlp.cli.sweep import main
from fmnist_mlp.engines.calls import Stopped

TINY = """\
dataset: synthetic
seeds: 2
training: {epochs: 3}
architectures:
  - [8]
  - name: wide
    layers: [16]
"""


class Ran:
    """What one run of the command said, and its exit code."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        self.errors = err.splitlines()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty folder to stand in, with `tiny.yaml`, no images and no network."""
    folder = tmp_path / "project"
    project = Project(folder, TINY)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("FASHION_MNIST_DIR", raising=False)
    leave_nothing_to_download(monkeypatch, tmp_path / "keras")
    return project


@pytest.fixture
def run(project, capsys):
    """`run("tiny.yaml", "--dry-run")`: the command in this process, as `Ran`; a traceback fails the test."""

    def run(*arguments):
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:  # argparse
            code = exit_.code
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def trained(monkeypatch):
    """Invented trials instead of real ones; gives the list of those that ran, as `(architecture, seed)`.

    An architecture whose name begins with `bad` diverges; during one named `interrupted` the process gets a signal.
    """
    ran = []

    def run_trial(context, task):
        name, training = task.trial.architecture.name, task.trial.architecture.training
        ran.append((name, task.trial.seed))
        if name.startswith("bad"):
            raise ArithmeticError("loss became nan in epoch 1")
        for number in SIGNALS.get(name, ()):
            os.kill(os.getpid(), number)
        if context.stop_requested:
            raise Stopped
        accuracy = "accuracy" if task.trial.is_refit else "val_accuracy"
        context.report({"epoch": 1, "epochs": training.epochs, "loss": 0.5, accuracy: 0.5})
        return invented_record(task)

    environment = {"device": "cpu", "tensorflow": "0", "keras": "0"}
    monkeypatch.setattr("fmnist_mlp.training.trial.run_trial", run_trial)
    monkeypatch.setattr("fmnist_mlp.training.latency.measure_latency", invented_latency)
    monkeypatch.setattr("fmnist_mlp.training.worker.start_worker", lambda *arguments: environment)
    sweeping.leave_out_pictures(monkeypatch)
    return ran


@pytest.fixture
def drawn(trained, monkeypatch):
    """`trained`, and pictures are drawn too."""
    sweeping.draw_pictures(monkeypatch)
    return trained


SIGNALS = {
    "interrupted": [signal.SIGINT],
    "terminated": [signal.SIGTERM],
    "interrupted-twice": [signal.SIGINT, signal.SIGINT],
}

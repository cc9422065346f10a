"""A sweep whose trials are made up; it is planned, run and tabulated like a real one."""

import csv
import dataclasses

from one_trial import write_images
from sweeping import invented_latency, invented_record, leave_out_pictures

from fmnist_mlp.runner.loop import Listener, run_sweep
from fmnist_mlp.runner.plan import Options, make_plan
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.sweep import Overrides

SWEEP = """
name: fake
dataset: {idx: images}
seeds: 2
training: {epochs: 3}
architectures:
  - [8]
  - name: wide
    layers: [16]
  - name: wider
    layers: [32]
"""


AS_WRITTEN = Overrides()


class Fake:
    """A sweep whose trials are made up. `fate` maps (architecture, seed) to an exception or a function to call."""

    def __init__(self, folder, monkeypatch, text=SWEEP, pictures=False):
        self.folder, self.trained, self.fate = folder, [], {}
        write_images(folder / "images")
        self.write(text)
        self.options = Options(results_dir=folder / "results", logs_dir=folder / "logs", jobs=0)
        monkeypatch.setattr("fmnist_mlp.training.trial.run_trial", self._run_trial)
        monkeypatch.setattr("fmnist_mlp.training.latency.measure_latency", invented_latency)
        if not pictures:
            leave_out_pictures(monkeypatch)
        monkeypatch.setattr(
            "fmnist_mlp.training.worker.start_worker",
            lambda device, threads, source, is_alone: {"device": "cpu", "threads": str(threads)},
        )

    def write(self, text):
        (self.folder / "fake.yaml").write_text(text)

    def _run_trial(self, context, task):
        one = task.trial
        context.report({"epoch": 1, "epochs": 3, "loss": 0.5, "accuracy": 0.5, "val_accuracy": 0.5})
        self.trained.append((one.architecture.name, one.seed))
        fate = self.fate.get(self.trained[-1])
        if isinstance(fate, BaseException):
            raise fate
        if fate is not None:
            fate()
        return invented_record(task)

    def plan(self, overrides=AS_WRITTEN, **options):
        return make_plan(load_sweep(self.folder / "fake.yaml", overrides), dataclasses.replace(self.options, **options))

    def run(self, listener=None, overrides=AS_WRITTEN, **options):
        plan = self.plan(overrides, **options)
        self.trained = []
        return plan, run_sweep(plan, listener or Listener())

    def rows(self, name="trials.csv"):
        with (self.folder / "results" / "fake" / name).open(newline="") as file:
            return list(csv.DictReader(file))


def names(trials):
    return [(one.architecture.name, one.seed) for one in trials]


class EngineListener(Listener):
    """Keeps the engines of a run."""

    def __init__(self):
        self.engines = []

    def engine_made(self, engine):
        self.engines.append(engine)

"""Made-up sweeps for the tests of tables: figures by hand or by chance, and the rows that follow from them."""

import dataclasses

import numpy as np
from sweeping import Made, put_record

from fmnist_mlp.files import seal
from fmnist_mlp.results import table
from fmnist_mlp.results.record import METRICS
from fmnist_mlp.results.store import Results

TEXT = {"architecture", "layers", "dataset", "status", "weights", "loop", "device", "tensorflow", "keras", "error"}
TEXT |= {"fingerprint", "started_at", "verdict", "pareto", "mixed", "class_name"}
OPEN, FEW = "undecided", "too few seeds"
VALIDATION = {"a": [0.70, 0.72, 0.71], "b": [0.80, 0.83, 0.81], "c": [0.81, 0.82, 0.82]}


def sweep_text(architectures, seeds, folds=None, select_by=None, more=""):
    """A sweep file of one-layer stacks with these names, the first the smallest."""
    keys = {"seeds": seeds, "folds": folds, "select_by": select_by}
    lines = [f"{key}: {value}" for key, value in keys.items() if value is not None]
    listed = [f'  - {{name: "{name}", layers: [{4 * i}]}}' for i, name in enumerate(architectures, 1)]
    return "\n".join([*lines, more, "architectures:", *listed, ""])


def made_of(folder, figures, *, folds=None, select_by=None, others=lambda name, i: {}, more=""):
    """A sweep in which each architecture has these figures, one a trial in the order of the plan.

    Args:
        figures: by architecture what the sweep selects by; None was not trained, "failed" failed.
        others: from name and number of a trial to more of its record's figures.
    """
    folder.mkdir(exist_ok=True)
    seeds = len(next(iter(figures.values()))) // (folds or 1)
    made = Made(folder, sweep_text(figures, seeds, folds, select_by, more))
    metric = made.sweep.select_by.replace("cv_", "val_")
    for name, values in figures.items():
        trials = [trial for trial in made.plan if trial.architecture.name == name]
        for i, (trial, value) in enumerate(zip(trials, values, strict=True)):
            if value == "failed":
                keep(made, made.record(trial, failed=True))
            elif value is not None:
                keep(made, made.record(trial, **{metric: float(value)} | others(name, i)))
    return made


def keep(made, record):
    """Have a record in memory only: the table needs its files for nothing but the comparison on test images."""
    made.records[record.fingerprint] = record


def invent(made, seed, kinds=("done",)):
    """Give each trial a random record of one of these kinds: done, failed or none."""
    rng = np.random.default_rng(seed)
    for trial in made.plan:
        kind = rng.choice(kinds)
        if kind == "failed":
            keep(made, made.record(trial, failed=True))
        elif kind == "done":
            record = made.record(trial, epochs=int(rng.integers(1, 6)), **{name: rng.random() for name in METRICS})
            seconds = {
                "train_seconds": rng.random(),
                "epoch_seconds": rng.random(len(record.history["loss"])).tolist(),
                "peak_memory_bytes": int(rng.integers(10**9)),
            }
            sizes = {"model_bytes": int(rng.integers(1, 10**6)), "train_images": int(rng.integers(1, 10**5))}
            keep(made, record.model_copy(update=sizes | {"measured": record.measured | seconds}))


def rows_of(made, **changes):
    """The rows of the final table of this state, nothing remembered of another."""
    root = made.root.parent / "elsewhere"  # without predictions
    (root / made.sweep.name / "_comparison.json").unlink(missing_ok=True)
    return table.make_table(dataclasses.replace(made.state, **changes), Results(root))


def read(made, name):
    import pandas

    return pandas.read_csv(made.folder / name, dtype={"architecture": str})


def predictions_of(made, name, seed, fold=None):
    """The file with what a trial says of the test images."""
    (trial,) = (t for t in made.plan if (t.architecture.name, t.seed, t.fold) == (name, seed, fold))
    return made.results.record_folder(trial.fingerprint) / "predictions.npz"


def put_probabilities(made, trial, labels, probabilities):
    put_record(made.results, made.records[trial.fingerprint])
    place = made.results.record_folder(trial.fingerprint) / "predictions.npz"
    arrays = {"label": labels, "predicted": probabilities.argmax(axis=1).astype(np.uint8)}
    np.savez(place, **arrays, probabilities=probabilities.astype(np.float16))
    seal(place.parent)

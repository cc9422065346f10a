"""The table: its columns, means and verdicts, what pandas reads of it, what people read of it."""

import dataclasses
import io
import json
import math
import re
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sweeping import Made, put_record

from fmnist_mlp.files import seal
from fmnist_mlp.results import boundaries, cautions, columns, looks, ranking, sentences, table, verdicts
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.record import METRICS, ClassScores, Latency
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.variance import Bounds, interval_over_images, mean_squares
from fmnist_mlp.sweepfile import sweep as sweep_module
from fmnist_mlp.sweepfile.names import name_problem
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.trials import list_trials

# ---- made-up sweeps


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


# ---- files


def test_the_tables_are_the_same_bytes_again_and_are_then_left_alone(made):
    made.put_all()
    made.write_tables()
    names = ("results.csv", "trials.csv", "history.csv", "classes.csv", "results.md")
    paths = [made.folder / name for name in names]
    before = [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]
    made.records = dict(reversed(made.records.items()))
    made.write_tables()
    assert [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths] == before
    (made.folder / "_comparison.json").unlink()
    made.write_tables()
    assert [path.read_bytes() for path in paths] == [content for content, *_ in before], "and not only from memory"
    assert "\r" not in "".join(content.decode() for content, *_ in before), "on every system"


def test_the_table_begins_with_architecture_layers_parameters_and_test_figures(made):
    made.put_all()
    made.write_tables()
    header, *rows = (made.folder / "results.csv").read_text().splitlines()
    assert header.startswith("architecture,layers,params,test_loss,test_accuracy,")
    assert header.split(",") == [column.name for column in columns.RESULTS_COLUMNS]
    assert [row.split(",")[:2] for row in rows] == [["8", "8"], ["deep", "8-bn-4"]]
    others = {"trials": columns.TRIALS_COLUMNS, "history": columns.HISTORY_COLUMNS, "classes": columns.CLASSES_COLUMNS}
    for name, listed in others.items():
        header = (made.folder / f"{name}.csv").read_text().splitlines()[0]
        assert header.split(",") == [column.name for column in listed]


TEXT = {"architecture", "layers", "dataset", "status", "weights", "loop", "device", "tensorflow", "keras", "error"}
TEXT |= {"fingerprint", "started_at", "verdict", "pareto", "mixed", "class_name"}
COUNTS = ("params", "trials", "failed", "trainable_params", "flops")


@pytest.mark.parametrize("is_final", [True, False], ids=["at the end", "while it runs"])
@pytest.mark.parametrize("folds", [None, 2])
@pytest.mark.parametrize("state", ["all done", "one failed", "all failed", "one done", "nothing yet"])
def test_pandas_reads_plain_numbers_without_options(state, folds, is_final, tmp_path):
    import pandas

    made = Made(tmp_path, sweep_text(["a", "b", "c"], seeds=2, folds=folds))
    if state not in ("nothing yet", "all failed"):
        invent(made, seed=0)
    if state == "one done":
        made.records = dict([*made.records.items()][:1])
    for trial in made.plan if state == "all failed" else made.plan[:1] if state == "one failed" else ():
        keep(made, made.record(trial, failed=True))
    if state == "all done":
        made.latencies["b"] = Latency(latency_seconds=0.001, latency_1000_seconds=0.1)
    table.write_tables(made.state, made.results, is_final)
    lengths = {}
    for name in ("results.csv", "trials.csv", *["history.csv", "classes.csv"] * is_final):
        frame = pandas.read_csv(made.folder / name)
        lengths[name] = len(frame)
        for column in frame.columns:
            if column in TEXT or not len(frame):
                continue
            assert pandas.api.types.is_numeric_dtype(frame[column]), (name, column, frame[column].dtype)
            assert not pandas.api.types.is_bool_dtype(frame[column]), (name, column)
    done = sum(record.is_done for record in made.records.values())
    assert (lengths["results.csv"], lengths["trials.csv"]) == (3, len(made.records))
    assert (lengths.get("classes.csv", 0) > 0) == (is_final and done >= (folds or 1)), "a seed with all its folds"
    frame = pandas.read_csv(made.folder / "results.csv")
    assert frame.params.tolist() == [made.sizes[name].params for name in "abc"]
    assert all(pandas.api.types.is_integer_dtype(frame[column]) for column in COUNTS)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loss=st.floats(0, 1e6, exclude_min=True, allow_subnormal=False), accuracy=st.integers(0, 10_000))
@example(loss=0.1 + 0.2, accuracy=8901)
def test_pandas_reads_every_number_back_to_the_same_bits(loss, accuracy, made):
    import pandas

    keep(made, made.record(made.plan[0], test_loss=loss, test_accuracy=accuracy / 10_000))
    text = columns.csv_text(columns.TRIALS_COLUMNS, table.trial_rows(made.state))
    row = pandas.read_csv(io.StringIO(text)).iloc[0]
    assert row.test_loss == loss
    assert row.test_accuracy == accuracy / 10_000


@pytest.mark.parametrize(
    ("message", "cell"),
    [
        ("loss became\nnan", "loss became nan"),
        ("a\r\n\tb  c\u2028d", "a b c d"),
        ('expected "8", got 9, so', 'expected "8", got 9, so'),
        ("größer als 0 → 👟", "größer als 0 → 👟"),
        ("'; =1+1 | #", "'; =1+1 | #"),
    ],
)
def test_an_error_of_any_text_stays_one_row(message, cell, made):
    failed = made.record(made.plan[0], failed=True)
    keep(made, failed.model_copy(update={"error": failed.error | {"message": message}}))
    made.write_tables()
    assert read(made, "trials.csv").error.tolist() == [cell]
    assert len((made.folder / "trials.csv").read_text("utf-8").splitlines()) == 2


NAMES_LIKE_NUMBERS = ["1e5", "007", "7", "true", "inf", "0x10", "1_000", "2026-01-01", "n.a"]


def test_names_that_look_like_numbers_are_read_back_as_text_where_that_is_asked_for(tmp_path):
    made = Made(tmp_path, sweep_text(NAMES_LIKE_NUMBERS, seeds=1))
    invent(made, seed=0)
    made.write_tables()
    assert read(made, "results.csv").architecture.tolist() == NAMES_LIKE_NUMBERS
    assert read(made, "trials.csv").architecture.tolist() == NAMES_LIKE_NUMBERS
    assert read(made, "classes.csv").architecture.unique().tolist() == NAMES_LIKE_NUMBERS


def test_one_name_that_is_no_number_keeps_all_of_them_text(tmp_path):
    import pandas

    names = ["007", "1e5", "64", "64-32"]
    made = Made(tmp_path, sweep_text(names, seeds=1))
    made.write_tables()
    assert pandas.read_csv(made.folder / "results.csv").architecture.tolist() == names


# ---- means, spreads, intervals


def test_the_table_holds_means_and_spreads_over_finished_trials(made):
    first, second, *_ = made.plan
    made.put(
        made.record(first, test_loss=0.25, test_accuracy=0.5, val_loss=0.5, val_accuracy=0.75, epochs=3, seconds=2.0)
    )
    made.put(
        made.record(second, test_loss=0.75, test_accuracy=1.0, val_loss=1.5, val_accuracy=0.25, epochs=2, seconds=4.0)
    )
    row, untouched = made.write_tables()
    # 64 pixels to 8 units to 4 classes, by hand.
    assert (row["params"], row["trainable_params"]) == (64 * 8 + 8 + 8 * 4 + 4,) * 2
    assert row["flops"] == 2 * 64 * 8 + 8 + 2 * 8 * 4 + 4
    assert (row["test_loss"], row["test_accuracy"], row["val_loss"], row["val_accuracy"]) == (0.5, 0.75, 1.0, 0.5)
    assert row["test_loss_std"] == pytest.approx(math.sqrt(0.125))
    assert row["val_accuracy_std"] == statistics.stdev([0.75, 0.25])
    assert (row["trials"], row["failed"], row["epochs"], row["dataset"]) == (2, 0, 2.5, "idx:tiny")
    assert (row["train_seconds"], row["epoch_seconds"]) == (3.0, 0.75), "the first epoch holds the compilation"
    assert untouched["params"] == made.sizes["deep"].params, "counted without a trial"
    assert (untouched["trials"], untouched["failed"]) == (0, 0)
    assert {untouched[c] for c in ("test_loss", "test_accuracy_std", "epochs", "train_seconds")} == {None}
    assert untouched["dataset"] == "idx:tiny"


def test_a_failed_trial_is_counted_and_in_no_mean(made):
    first, second, *_ = made.plan
    made.put(made.record(first, test_accuracy=0.5))
    made.put(made.record(second, failed=True))
    row = made.write_tables()[0]
    assert (row["trials"], row["failed"], row["test_accuracy"]) == (1, 1, 0.5)
    assert row["test_accuracy_std"] is None, "one trial has no spread"
    assert row["test_accuracy_ci95_low"] is None


NOT_DONE = SimpleNamespace(is_done=False)
SPREAD_OVER_TRIALS = ("test_loss", "test_accuracy", "val_loss", "val_accuracy", "cv_accuracy", "test_macro_precision")
SPREAD_OVER_TRIALS += ("test_macro_recall", "test_macro_f1", "test_ece", "val_macro_f1")
MEANS_OVER_TRIALS = ("epochs", "model_bytes", "train_seconds", "epoch_seconds", "images_per_second")
MEANS_OVER_TRIALS += ("peak_memory_bytes",)


def by_seed_with_pandas(trials, metric, folds):
    """A figure of each seed whose folds are all done: the mean over them."""
    groups = trials.groupby("seed")[metric]
    return groups.mean()[groups.size() == (folds or 1)]


def spread_by_scipy(values):
    """Mean, standard deviation and 95 % interval."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return [values.mean() if n else math.nan, math.nan, math.nan, math.nan]
    scale = values.std() / math.sqrt(n)
    return [values.mean(), values.std(), *t.interval(0.95, n - 1, loc=values.mean(), scale=scale)]


REFIT = ("refit_test_loss", "refit_test_accuracy")  # tested in test_refit.py
ENSEMBLE = ("ensemble_test_loss", "ensemble_test_accuracy")  # tested at the end of this file


@pytest.mark.parametrize("folds", [None, 2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_mean_spread_and_interval_follows_from_the_trials_by_pandas_and_scipy(seed, folds, tmp_path):
    made = Made(tmp_path, sweep_text("abcdef", seeds=3, folds=folds))
    invent(made, seed, kinds=["done", "done", "done", "failed", "none"])
    for trial in made.plan:  # besides random numbers of trials: none, one, all failed, all done
        name, n = trial.architecture.name, trial.seed * (folds or 1) + (trial.fold or 0)
        if name == "a" or (name == "b" and n):
            made.records.pop(trial.fingerprint, None)
        elif name == "b":
            keep(made, made.record(trial))
        elif name == "c":
            keep(made, made.record(trial, failed=True))
        elif name == "d" and not made.records.get(trial.fingerprint, NOT_DONE).is_done:
            keep(made, made.record(trial, val_accuracy=n / 50))
    table.write_tables(made.state, made.results, is_final=False)
    rows, trials = read(made, "results.csv").set_index("architecture"), read(made, "trials.csv")
    spreads = {column.removesuffix("_std") for column in rows if column.endswith("_std")}
    assert spreads - {"test_accuracy_luck"} == {
        *SPREAD_OVER_TRIALS,
        "test_brier",  # from predictions, which these trials lack
        "refit_test_loss",
        "refit_test_accuracy",
        *ENSEMBLE,
    }  # refits: test_refit.py
    done = trials[trials.status == "done"].assign(cv_accuracy=lambda t: t.val_accuracy)
    assert {0, 1, 3 * (folds or 1)} <= {*rows.trials}
    for name, row in rows.iterrows():
        own = done[done.architecture == name]
        assert row.trials == len(own)
        assert row.failed == ((trials.architecture == name) & (trials.status == "failed")).sum()
        for metric in SPREAD_OVER_TRIALS:
            found = row[[metric, f"{metric}_std", f"{metric}_ci95_low", f"{metric}_ci95_high"]].astype(float)
            expected = spread_by_scipy(by_seed_with_pandas(own, metric, folds))
            expected = [math.nan] * 4 if metric == "cv_accuracy" and not folds else expected
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14, err_msg=f"{name} {metric}")
        for column in MEANS_OVER_TRIALS:
            np.testing.assert_allclose(float(row[column]), own[column].mean(), rtol=1e-12, err_msg=f"{name} {column}")


def test_with_folds_the_interval_is_over_seeds_each_the_mean_over_its_folds(tmp_path):
    """Seeds 0.4 and 0.6: a standard deviation of 0.1414; Student's t of one degree of freedom is 12.7062."""
    figures = {"a": [0.3, 0.5, 0.65, 0.55], "b": [0.9, 0.8, None, 0.1]}
    row, other = rows_of(made_of(tmp_path, figures, folds=2))
    half = 12.7062 * 0.1
    assert [row["cv_accuracy"], row["cv_accuracy_std"]] == pytest.approx([0.5, 0.141421], abs=1e-6)
    assert row["cv_accuracy_ci95_low"] == pytest.approx(0.5 - half, abs=1e-5)
    assert row["cv_accuracy_ci95_high"] == pytest.approx(0.5 + half, abs=1e-5)
    assert (row["trials"], other["trials"]) == (4, 3)
    assert other["cv_accuracy"] == pytest.approx(0.85), "seed 1 lacks a fold and is in no mean"
    assert (other["cv_accuracy_std"], other["cv_accuracy_ci95_low"]) == (None, None)


def test_one_seed_of_many_folds_has_no_interval_over_seeds(tmp_path):
    (row,) = rows_of(made_of(tmp_path, {"a": [0.1, 0.2, 0.3]}, folds=3))
    assert row["cv_accuracy"] == pytest.approx(0.2)
    assert (row["cv_accuracy_std"], row["cv_accuracy_ci95_low"], row["cv_accuracy_ci95_high"]) == (None, None, None)


def test_an_architecture_without_a_seed_of_all_folds_has_no_figures_and_says_so(tmp_path):
    made = made_of(tmp_path, {"a": [0.9, "failed", 0.9], "b": [0.7, 0.8, 0.7]}, folds=3)
    rows = rows_of(made)
    assert [row["verdict"] for row in rows] == ["folds missing", "best"]
    assert [rows[0][name] for name in ("cv_accuracy", "test_accuracy", "behind_best")] == [None] * 3
    notes = table.notes(made.state, rows)
    assert "A seed's figure is the mean over its folds; a seed that lacks a fold has none." in notes
    assert not [note for note in notes if "No probabilities" in note]
    row = next(row for row in table.class_rows(made.state, made.results))
    assert row.architecture == "b", "its scores by class would be of two folds of three"


def test_an_epoch_is_the_median_after_the_first_and_images_are_counted_by_it(made):
    invent(made, seed=3)
    assert len(made.records) == 4
    for record in made.records.values():
        after_first = record.measured["epoch_seconds"][1:] or record.measured["epoch_seconds"]
        assert columns.epoch_seconds(record) == pytest.approx(np.median(after_first))
        assert columns.images_per_second(record) == pytest.approx(record.train_images / np.median(after_first))


def test_the_only_epoch_of_a_trial_is_its_median(made):
    assert columns.epoch_seconds(made.record(made.plan[0], epochs=1, seconds=4.0)) == 2.0


def test_trials_without_memory_are_in_no_mean_of_it(made):
    for trial, memory in zip(made.plan, [None, 3_000, None, None], strict=True):
        record = made.record(trial)
        keep(made, record.model_copy(update={"measured": record.measured | {"peak_memory_bytes": memory}}))
    assert [row["peak_memory_bytes"] for row in rows_of(made)] == [3_000, None]


def test_latencies_stand_in_the_row_of_their_architecture(made):
    made.latencies["deep"] = Latency(latency_seconds=0.25, latency_1000_seconds=2.0)
    columns = ("latency_seconds", "latency_1000_seconds")
    assert [[row[column] for column in columns] for row in rows_of(made)] == [[None, None], [0.25, 2.0]]


# ---- other intervals, luck on these images, Brier scores


def put_predictions(made, folds=None, images=60):
    """Probabilities for every finished trial; by seed and fold which images it has right, and its Brier score."""
    rng, kept = np.random.default_rng(12), {}
    labels = rng.integers(0, 4, images).astype(np.uint8)
    easy = rng.random(images)
    for trial in made.plan:
        keep(made, made.record(trial, val_accuracy=rng.random()))
        chances = rng.dirichlet(np.ones(4), images) + 2 * (rng.random(images) < easy)[:, None] * np.eye(4)[labels]
        probabilities = (chances / chances.sum(axis=1, keepdims=True)).astype(np.float16)
        put_probabilities(made, trial, labels, probabilities)
        score = np.mean(((probabilities.astype(float) - np.eye(4)[labels]) ** 2).sum(axis=1))
        correct = probabilities.argmax(axis=1) == labels
        kept.setdefault(trial.seed, []).append((correct, score))
    return kept


@pytest.mark.parametrize("folds", [None, 3])
def test_what_images_and_luck_contribute_follows_from_the_predictions_of_the_seeds(folds, tmp_path):
    made = Made(tmp_path, sweep_text("a", seeds=4, folds=folds))
    kept = put_predictions(made, folds)
    (row,) = made.write_tables()
    shares = np.array([np.mean([correct for correct, _ in of_seed], axis=0) for of_seed in kept.values()])
    bounds = interval_over_images(mean_squares(shares))
    assert (row["test_accuracy_any_images_ci95_low"], row["test_accuracy_any_images_ci95_high"]) == bounds
    rest = shares - shares.mean(axis=1, keepdims=True) - shares.mean(axis=0) + shares.mean()
    assert row["test_accuracy_luck_std"] == pytest.approx(math.sqrt((rest**2).sum() / (3 * 59) / 60))
    scores = [np.mean([score for _, score in of_seed]) for of_seed in kept.values()]
    assert row["test_brier"] == pytest.approx(np.mean(scores))
    assert row["test_brier_std"] == pytest.approx(np.std(scores, ddof=1))
    of_trials = read(made, "trials.csv").test_brier
    np.testing.assert_allclose(of_trials, [score for of_seed in kept.values() for _, score in of_seed])
    # Remembered: it needs no predictions, and a table that was deleted has them again.
    for trial in made.plan:
        predictions_of(made, "a", trial.seed, trial.fold).unlink()
    (made.folder / "trials.csv").unlink()
    assert made.write_tables() == [row]
    np.testing.assert_allclose(read(made, "trials.csv").test_brier, of_trials)


def test_while_trials_run_no_predictions_are_read(tmp_path):
    made = Made(tmp_path, sweep_text("a", seeds=2))
    put_predictions(made)
    (row,) = table.write_tables(made.state, made.results, is_final=False)
    assert {row[name] for name in FROM_PREDICTIONS} == {None}
    assert read(made, "trials.csv").test_brier.isna().all()
    (row,) = made.write_tables()
    assert None not in {row[name] for name in FROM_PREDICTIONS}


def test_each_file_of_predictions_is_read_once(tmp_path, monkeypatch):
    made = Made(tmp_path, sweep_text("ab", seeds=4, more="ensemble: 2"))
    put_predictions(made)
    reads, read_file = [], Results.read_file
    monkeypatch.setattr(Results, "read_file", lambda self, *of: reads.append(of) or read_file(self, *of))
    made.write_tables()
    files = [of for of in reads if of[1] == "predictions.npz"]
    assert len(files) == len({*files}) == 8


def test_a_trial_without_probabilities_leaves_its_architecture_without_a_brier_score(tmp_path):
    made = Made(tmp_path, sweep_text("ab", seeds=2))
    put_predictions(made)
    made.put(made.record(made.plan[0]), correct=np.arange(60) % 3 > 0)
    rows = made.write_tables()
    assert [row["test_brier"] is None for row in rows] == [True, False]
    assert [row["test_accuracy_any_images_ci95_low"] is None for row in rows] == [False, False]
    assert read(made, "trials.csv").test_brier.isna().tolist() == [True, False, False, False]


def test_the_interval_for_new_data_is_that_of_nadeau_and_bengio(tmp_path):
    """Five seeds with a standard deviation of 0.1, 20 images validated on for 80 trained on: 1/5 + 1/4."""
    accuracies = 0.5 + 0.1 * np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) / math.sqrt(0.625)
    row, other = rows_of(made_of(tmp_path, {"a": accuracies, "b": [0.7, *[None] * 4]}))
    half = 2.776445 * 0.1 * math.sqrt(1 / 5 + 1 / 4)
    assert row["val_accuracy_new_data_ci95_low"] == pytest.approx(0.5 - half, abs=1e-6)
    assert row["val_accuracy_new_data_ci95_high"] == pytest.approx(0.5 + half, abs=1e-6)
    assert (row["cv_accuracy_new_data_ci95_low"], other["val_accuracy_new_data_ci95_low"]) == (None, None)


def test_with_folds_the_interval_for_new_data_is_over_all_folds_of_all_seeds(tmp_path):
    """Bouckaert and Frank's: ten trainings, 1/10 + 1/4; one seed of five folds has it too."""
    accuracies = np.random.default_rng(13).random(10)
    made = made_of(tmp_path, {"a": accuracies, "b": [*accuracies[:5], *[None] * 5]}, folds=5)
    for record in made.records.values():
        assert record.val_images / record.train_images == 1 / 4
    for row, values in zip(rows_of(made), (accuracies, accuracies[:5]), strict=True):
        n = len(values)
        half = t_quantile(n - 1) * values.std(ddof=1) * math.sqrt(1 / n + 1 / 4)
        for name in ("cv_accuracy", "val_accuracy"):
            ends = row[f"{name}_new_data_ci95_low"], row[f"{name}_new_data_ci95_high"]
            assert ends == pytest.approx((values.mean() - half, values.mean() + half))


def t_quantile(df):
    from scipy.stats import t

    return t.ppf(0.975, df)


def made_rows(parts):
    """Rows with these seeds, standard deviations over seeds and of luck."""
    made = [metrics.Interval(0.88, std, 0.8, 0.9, seeds) for seeds, std, _ in parts]
    return [
        columns.TableRow(
            **dict.fromkeys(("architecture", "layers", "dataset"), "x"),
            **dict.fromkeys(("params", "trainable_params", "flops")),
            **{"trials": seeds, "failed": 0, "test_accuracy": figure, "test_accuracy_luck_std": luck},
        )
        for figure, (seeds, _, luck) in zip(made, parts, strict=True)
    ]


def test_what_of_the_spread_is_luck_is_said_where_there_are_five_seeds():
    rows = made_rows([(5, 0.005, 0.003), (5, 0.005, 0.003), (4, 0.1, 0.1), (9, 0.1, None)])
    (said,) = table.spread_in_words(table.spread_of(rows))
    assert said.startswith("Of the spread of test accuracy over seeds (0.0050), 0.0040 (95 %: ")
    assert "64 % of the variance; the rest (0.0030) is luck on these test images" in said
    assert table.spread_in_words(table.spread_of(rows[2:])) == []


def test_an_estimate_below_nothing_is_said_to_be_one():
    (said,) = table.spread_in_words(table.spread_of(made_rows([(5, 0.002, 0.003)])))
    assert "(0.0020), 0.0000 (95 %: 0.0000 to 0.00" in said
    assert said.endswith("As far as these seeds can tell, luck explains all of it.")


# ---- verdicts

FROM_PREDICTIONS = ("test_accuracy_any_images_ci95_low", "test_accuracy_any_images_ci95_high", "test_accuracy_luck_std")
FROM_PREDICTIONS += ("test_brier", "test_brier_std", "test_brier_ci95_low", "test_brier_ci95_high")
NO_VERDICT = ("verdict", "behind_best", "behind_best_ci95_low", "behind_best_ci95_high", "seeds_needed")
NO_VERDICT += ("test_behind_best", "test_behind_best_ci95_low", "test_behind_best_ci95_high")


@pytest.mark.parametrize(
    ("select_by", "seeds", "folds"),
    [
        ("val_accuracy", 6, None),
        ("val_loss", 6, None),
        ("cv_accuracy", 6, 3),
        ("val_accuracy", 6, 2),
        ("val_loss", 6, 2),
    ],
)
def test_verdicts_are_drawn_from_what_selects_with_folds_from_a_seeds_mean(select_by, seeds, folds, tmp_path):
    rng = np.random.default_rng(2)
    goodness = np.array([0.3, 0.795, 0.8])[:, None] + 0.05 * rng.normal(size=6) + 0.01 * rng.normal(size=(3, 6))
    in_fold = 0.2 * rng.normal(size=(3, 6, folds or 1))  # some folds are harder, by much more than any difference
    of_folds = goodness[:, :, None] + in_fold - in_fold.mean(axis=2, keepdims=True)
    figures = (2 - of_folds if select_by == "val_loss" else of_folds).reshape(3, -1)
    made = made_of(tmp_path, dict(zip("abc", figures, strict=True)), folds=folds, select_by=select_by)
    rows = rows_of(made)
    levels = boundaries.levels(3, [6])
    look = verdicts.Look(levels.stacks, levels.range[0], levels.pair[0])
    expected = verdicts.compare_with_best(
        {name: dict(enumerate(row)) for name, row in zip("abc", goodness, strict=True)}, look
    )
    assert [row["verdict"] for row in rows] == ["worse", "undecided", "best"]
    for row, comparison in zip(rows, expected.values(), strict=True):
        assert row["verdict"] == comparison.verdict
        assert row["behind_best"] == pytest.approx(comparison.behind, abs=1e-12)
        ends = (row["behind_best_ci95_low"], row["behind_best_ci95_high"])
        assert ends == (pytest.approx((comparison.low, comparison.high)) if comparison.low else (None, None))
    assert {row["seeds_needed"] for row in rows} == {None}


@pytest.mark.parametrize("folds", [None, 3])
def test_what_is_missing_or_failed_is_left_out_of_the_comparison(folds, tmp_path):
    rng = np.random.default_rng(4)
    values = 0.8 + 0.05 * rng.normal(size=6) + 0.01 * rng.normal(size=(3, 6)) + np.array([[0.0], [-0.02], [-0.2]])
    figures = dict(zip("abc", values.astype(object), strict=True))
    figures["a"][[0, 5]] = None, "failed"
    figures["b"][1] = "failed"
    figures["c"][[2, 3]] = None
    rows = rows_of(made_of(tmp_path, {n: np.repeat(row, folds or 1) for n, row in figures.items()}, folds=folds))
    known = {
        name: {seed: value for seed, value in enumerate(row) if isinstance(value, float)}
        for name, row in figures.items()
    }
    levels = boundaries.levels(3, [6])
    expected = verdicts.compare_with_best(known, verdicts.Look(3, levels.range[0], levels.pair[0]))
    assert [row["trials"] for row in rows] == [n * (folds or 1) for n in (4, 5, 4)]
    assert [row["failed"] for row in rows] == [n * (folds or 1) for n in (1, 1, 0)]
    assert [row["verdict"] for row in rows] == [comparison.verdict for comparison in expected.values()]
    assert [row["behind_best"] for row in rows] == pytest.approx([c.behind for c in expected.values()])


OPEN, FEW = "undecided", "too few seeds"


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        pytest.param({"a": [0.8, 0.9]}, ["best"], id="one architecture"),
        pytest.param({"a": [0.8]}, ["best"], id="one trial"),
        pytest.param({"a": [0.7], "b": [0.8]}, [FEW, "best"], id="one seed"),
        pytest.param({"a": [0.8, None], "b": [None, 0.7]}, ["best", FEW], id="no seed in common"),
        pytest.param({"a": [0.8, 0.9], "b": ["failed", 0.7]}, ["best", FEW], id="one seed in common"),
        pytest.param({"a": [0.8, 0.9], "b": ["failed", "failed"]}, ["best", "failed"], id="one failed whole"),
        pytest.param({"a": [0.8, 0.9], "b": ["failed", None]}, ["best", "failed"], id="one failed, not to its end"),
        pytest.param({"a": [0.8, 0.9], "b": [None, None]}, ["best", "not trained"], id="one not trained"),
        pytest.param({"a": ["failed"], "b": ["failed"]}, ["failed", "failed"], id="all failed"),
        pytest.param({"a": [None], "b": [None]}, ["not trained", "not trained"], id="nothing trained"),
        pytest.param({"a": ["failed"], "b": [None]}, ["failed", "not trained"], id="no trial done"),
        pytest.param({"a": [0.8, 0.9], "b": [0.7, 0.8]}, ["best", FEW], id="two seeds"),
        pytest.param({"a": [0.8, 0.9, 0.7], "b": [0.8, 0.9, 0.7]}, ["best", OPEN], id="equal on every seed"),
        pytest.param({"a": [0.8, 0.9, 0.7], "b": [0.9, 0.7, 0.8]}, ["best", OPEN], id="equal in the mean"),
        pytest.param({"a": [0.8, 0.9, 0.7], "b": [0.7, 0.8, 0.6]}, ["best", "worse"], id="apart by the same"),
        pytest.param({"a": [0.0] * 3, "b": [0.0] * 3}, ["best", OPEN], id="all zero"),
    ],
)
def test_every_row_has_the_verdict_that_its_trials_allow(figures, expected, tmp_path):
    rows = rows_of(made_of(tmp_path, figures))
    assert [row["architecture"] for row in rows] == [*figures]
    assert [row["verdict"] for row in rows] == expected
    for row, verdict in zip(rows, expected, strict=True):
        is_compared = verdict in (OPEN, "worse") or (verdict == FEW and [*figures.values()][1] == [0.7, 0.8])
        assert (row["behind_best"] is not None) == (row["trials"] > 0)
        assert (row["behind_best_ci95_low"] is not None, row["behind_best_ci95_high"] is not None) == (is_compared,) * 2
        if verdict == "best":
            assert row["behind_best"] == 0
        assert row["seeds_needed"] is None, "no margin is named"


def test_one_seed_says_how_far_behind_but_not_whether_it_means_anything(tmp_path):
    rows = rows_of(made_of(tmp_path, {"a": [0.75], "b": [0.875]}))
    assert [row["behind_best"] for row in rows] == [0.125, 0.0]


def test_an_architecture_over_budget_is_listed_and_in_nothing(tmp_path):
    made = Made(tmp_path, sweep_text("abc", seeds=2, more="max_params: 700"))
    over_budget = sweep_module.over_budget(made.sweep, made.sizes)
    assert over_budget == {name for name in "abc" if made.sizes[name].params > 700} == {"c"}
    made.plan = list_trials(made.sweep, data_identity="tiny", skip=over_budget)
    invent(made, seed=0)
    rows = rows_of(made, over_budget=over_budget)
    assert [row["architecture"] for row in rows] == ["a", "b", "c"]
    kept = {"architecture", "layers", "params", "trainable_params", "flops", "dataset", "trials", "failed", "verdict"}
    for row in rows:
        if row["architecture"] in over_budget:
            assert row["verdict"] == "over budget"
            assert (row["trials"], row["failed"]) == (0, 0)
            assert {row[name] for name in columns.BY_NAME if name not in kept} == {None}
        else:
            assert row["verdict"] in verdicts.Verdict.__args__


def test_test_images_decide_nothing(tmp_path):
    """The same validation with the test figures of another architecture, and with those of none worth having."""

    def made_with(name, test_figures):
        folder = tmp_path / name
        made = made_of(folder, VALIDATION, others=lambda a, i: {k: test_figures[a][i] for k in METRICS if "test" in k})
        for n, record in enumerate(made.records.values()):
            made.put(record, correct=np.random.default_rng([len(name), n]).random(9) < test_figures["a"][0])
        made.write_tables()
        return made

    rng = np.random.default_rng(0)
    figures = rng.random((3, 3))
    seen = []
    for name, order in (("as it is", [0, 1, 2]), ("turned", [2, 0, 1]), ("swapped", [1, 0, 2])):
        made = made_with(name, dict(zip("abc", figures[order], strict=True)))
        frame = read(made, "results.csv")
        assert frame.test_behind_best.notna().sum() == 2
        decided = frame[["architecture", "verdict", "behind_best", "behind_best_ci95_low", "seeds_needed", "pareto"]]
        best = {architecture: trial.seed for architecture, trial in ranking.rank(made.state).best_trials.items()}
        lines = (made.folder / "results.md").read_text().splitlines()
        order_of_rows = [line.split("|")[1] for line in lines if line.startswith("| ")]
        seen.append((decided.to_csv(), best, order_of_rows, frame.test_accuracy.tolist()))
    assert seen[0][:3] == seen[1][:3] == seen[2][:3]
    assert seen[0][3] != seen[1][3] != seen[2][3]


# ---- epochs


def with_curves(record, **curves):
    """The record with these curves, an epoch's number of seconds for each."""
    seconds = [float(number) for number, _ in enumerate(curves["loss"], start=1)]
    measured = record.measured | {"epoch_seconds": seconds}
    return record.model_copy(update={"history": curves, "measured": measured})


def test_the_history_has_a_row_an_epoch_of_each_finished_trial_in_the_plans_order(tmp_path):
    made = Made(tmp_path, sweep_text(["b", "a"], seeds=2, folds=2))
    names = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    expected = []
    for i, trial in reversed([*enumerate(made.plan)]):  # ended in another order than planned
        if i in (1, 6):  # one failed, one not trained
            if i == 1:
                keep(made, made.record(trial, failed=True))
            continue
        curves = {name: [1 / (3 + i + k + epoch) for epoch in range(1 + i)] for k, name in enumerate(names)}
        keep(made, with_curves(made.record(trial), **curves))
        identity = [trial.architecture.name, trial.seed, trial.fold, 0]
        rows = [[*identity, e + 1, *(curves[name][e] for name in names), e + 1.0] for e in range(1 + i)]
        expected = rows + expected
    made.write_tables()
    frame = read(made, "history.csv")
    assert frame.columns.tolist() == ["architecture", "seed", "fold", "refit", "epoch", *names, "epoch_seconds"]
    assert frame.to_numpy().tolist() == expected, "to the last bit"
    pandas = pytest.importorskip("pandas")
    pandas.testing.assert_frame_equal(pandas.DataFrame(table.history_rows(made.state)), frame, check_dtype=False)


def test_what_an_epoch_lacks_is_an_empty_cell(tmp_path):
    made = Made(tmp_path, sweep_text(["a"], seeds=1))
    (trial,) = made.plan
    keep(made, with_curves(made.record(trial), loss=[0.5, None], accuracy=[0.25, 0.75]))
    made.write_tables()
    assert (made.folder / "history.csv").read_text().splitlines()[1:] == [
        "a,0,,0,1,0.5,0.25,,,,1.0",
        "a,0,,0,2,,0.75,,,,2.0",
    ]


VALIDATION = {"a": [0.70, 0.72, 0.71], "b": [0.80, 0.83, 0.81], "c": [0.81, 0.82, 0.82]}


def test_while_trials_run_there_is_no_verdict_and_nothing_is_remembered(tmp_path):
    made = made_of(tmp_path, VALIDATION | {"d": [None] * 3, "e": ["failed", None, None]})
    rows = table.write_tables(made.state, made.results, is_final=False)
    assert {row[column] for row in rows[:3] for column in NO_VERDICT} == {None}
    assert {row[column] for row in rows[3:] for column in NO_VERDICT[1:]} == {None}
    assert sorted(path.name for path in made.folder.iterdir()) == ["_journal", "results.csv", "trials.csv"]
    final = made.write_tables()
    others = [column.name for column in columns.RESULTS_COLUMNS if column.name not in NO_VERDICT]
    assert [[row[name] for name in others] for row in rows] == [[row[name] for name in others] for row in final]
    before = {name: (made.folder / name).read_bytes() for name in ("results.md", "_comparison.json")}
    made.records.popitem()
    table.write_tables(made.state, made.results, is_final=False)
    assert {name: (made.folder / name).read_bytes() for name in before} == before
    assert read(made, "results.csv").behind_best.isna().all()


def test_a_margin_gives_verdicts_seeds_needed_the_cheapest_and_a_front_of_its_own(tmp_path):
    of_seeds = 0.8 + 0.05 * np.random.default_rng(2).normal(size=8)
    noise = [
        0.0005 * np.tile([1, -1], 4),
        0.0005 * np.tile([1, -1, -1, 1], 2),
        np.zeros(8),
        0.008 * np.repeat([1, -1], 4),
    ]
    behind = [[0.1], [0.012], [0.0], [0.0095]]
    made = made_of(tmp_path, dict(zip("abcd", of_seeds + noise - behind, strict=True)), more="margin: 0.018")
    rows = rows_of(made)
    assert [row["verdict"] for row in rows[:3]] == ["worse", "not worse than the margin", "best"]
    assert (rows[3]["verdict"], rows[3]["seeds_needed"] > 8) == (OPEN, True)
    assert [row["cheapest"] for row in rows] == [None, "params flops", None, None]
    assert [row["pareto"] for row in rows] == ["params flops", "params flops", None, None]
    assert sentences.found(made.state, rows) == [
        "The first by val_accuracy is c; of 3 others, 1 is shown to be worse, 1 is worse, but by less than 0.018, 1 is "
        "undecided.",
        "The cheapest that is less than 0.018 behind: b, with "
        f"{rows[1].params:,} parameters and {rows[1].flops:,} FLOPs.",
    ]


# ---- how far behind on test images

TEST_COLUMNS = ("test_behind_best", "test_behind_best_ci95_low", "test_behind_best_ci95_high")


def made_with_predictions(folder, figures=VALIDATION, folds=None, images=200):
    """Architectures that are right on 60, 70 and 80 % of the test images, whatever their figures of validation."""
    made = made_of(folder, figures, folds=folds)
    rng = np.random.default_rng(5)
    share = dict(zip(figures, (0.6, 0.7, 0.8), strict=True))
    for trial in made.plan:
        record = made.records.get(trial.fingerprint)
        if record is not None and record.is_done:
            correct = rng.random(images) < share[trial.architecture.name]
            figures_on_test = record.metrics | {"test_accuracy": correct.mean()}
            made.put(record.model_copy(update={"metrics": figures_on_test}), correct=correct)
    return made


def predictions_of(made, name, seed, fold=None):
    """The file with what a trial says of the test images."""
    (trial,) = (t for t in made.plan if (t.architecture.name, t.seed, t.fold) == (name, seed, fold))
    return made.results.record_folder(trial.fingerprint) / "predictions.npz"


def correct_of(made, *which):
    """Which test images a trial has right, read from its file: 0 or 1, `(images,)`."""
    with np.load(predictions_of(made, *which)) as arrays:
        return (arrays["label"] == arrays["predicted"]).astype(float)


def test_how_far_behind_on_test_images_is_a_paired_bootstrap_over_the_seeds_that_both_have(tmp_path):
    from scipy.stats import bootstrap

    figures = {"a": [0.70, "failed", 0.71, 0.7], "b": [0.80, 0.83, 0.81, 0.8], "c": [0.91, 0.92, 0.92, None]}
    made = made_with_predictions(tmp_path, figures)
    rows = {row["architecture"]: row for row in made.write_tables()}
    assert rows["c"]["verdict"] == "best"
    assert {rows["c"][column] for column in TEST_COLUMNS} == {None}
    for name, shared in (("a", [0, 2]), ("b", [0, 1, 2])):
        of_best, own = (np.mean([correct_of(made, n, seed) for seed in shared], axis=0) for n in ("c", name))
        assert rows[name]["test_behind_best"] == pytest.approx((of_best - own).mean())
        drawn = bootstrap((of_best - own,), np.mean, method="percentile", n_resamples=9999, random_state=0)
        # An end of a percentile interval of 10,000 resamples has a standard error of 0.027 of that of the mean.
        tolerance = 4 * math.sqrt(2) * 0.027 * drawn.standard_error
        low, high = rows[name]["test_behind_best_ci95_low"], rows[name]["test_behind_best_ci95_high"]
        assert (low, high) == pytest.approx(tuple(drawn.confidence_interval), abs=tolerance)
    behind = rows["c"]["test_accuracy"] - rows["b"]["test_accuracy"]
    assert rows["b"]["test_behind_best"] != pytest.approx(behind, abs=1e-6), "seed 3 is not in it"


def test_how_far_behind_on_test_images_is_over_seeds_and_folds_that_both_have(tmp_path):
    """Both have fold 0 of seed 0 and both folds of seed 1."""
    figures = {"a": [0.8, "failed", 0.81, 0.8], "b": [0.9, 0.9, 0.91, 0.92], "c": [None] * 4}
    made = made_with_predictions(tmp_path, figures, folds=2)
    row, best, untrained = made.write_tables()
    shared = [(0, 0), (1, 0), (1, 1)]
    differences = [correct_of(made, "b", *block) - correct_of(made, "a", *block) for block in shared]
    assert best["verdict"] == "best"
    assert row["test_behind_best"] == pytest.approx(np.mean(differences))
    assert {untrained[column] for column in TEST_COLUMNS} == {None}


def without_an_array(path):
    with np.load(path) as arrays:
        label = arrays["label"]
    np.savez(path, label=label)


def with_images(n):
    def damage(path):
        np.savez(path, label=np.zeros(n, np.uint8), predicted=np.zeros(n, np.uint8))

    return damage


def with_labels_of_another_number(path):
    np.savez(path, label=np.zeros(200, np.uint8), predicted=np.zeros(199, np.uint8))


def as_one_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(200, np.uint8))


def with_bits(signature, position, bits):
    """Some bits turned in the first part of the archive with this signature, `position` bytes from its beginning."""

    def damage(path):
        content = bytearray(path.read_bytes())
        content[content.index(signature) + position] ^= bits
        path.write_bytes(content)

    return damage


FILE, DIRECTORY = b"PK\x03\x04", b"PK\x01\x02"  # of the ZIP format
DAMAGES = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "text": lambda path: path.write_text("not an archive\n"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "one array": as_one_array,
    "an array less": without_an_array,
    "199 images": with_images(199),
    "no images": with_images(0),
    "labels of another number": with_labels_of_another_number,
    "compressed in another way": with_bits(DIRECTORY, 10, 0x40),
    "encrypted": with_bits(DIRECTORY, 8, 1),
    "longer than the file": with_bits(FILE, 29, 0xFF),
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A sweep with predictions, its rows, and how to have the rows again after a change of predictions."""
    made = made_with_predictions(tmp_path_factory.mktemp("compared"))

    def again():
        (made.folder / "_comparison.json").unlink(missing_ok=True)
        return made.write_tables()

    rows = again()
    assert [row["verdict"] for row in rows] == ["worse", OPEN, "best"]
    assert all(row[column] is not None for row in rows[:2] for column in TEST_COLUMNS)
    return SimpleNamespace(rows=rows, again=again, made=made)


@pytest.mark.parametrize("architecture", ["a", "c"], ids=["another", "the best"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_predictions_leave_their_cells_empty_and_nothing_else(damage, architecture, compared):
    path = predictions_of(compared.made, architecture, 1)
    whole = path.read_bytes()
    try:
        DAMAGES[damage](path)
        rows = compared.again()
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(whole)
    emptied = {"a": ["a"], "c": ["a", "b"]}[architecture]
    nothing = {"test_behind_best": metrics.Difference()}
    of_itself = {"test_accuracy_any_images": Bounds(), "test_accuracy_luck_std": None}
    assert rows == [
        row.model_copy(
            update=(nothing if row.architecture in emptied else {})
            | (of_itself if row.architecture == architecture else {})
        )
        for row in compared.rows
    ]
    assert compared.again() == compared.rows


# ---- what no other row beats


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([None, "failed", 0.25, 0.5, 0.75])),
        min_size=4,
        max_size=4,
    ),
    select_by=st.sampled_from(["val_accuracy", "val_loss"]),
)
def test_pareto_names_the_costs_at_which_no_other_row_is_better(rows, select_by, four):
    params, flops, figures = zip(*rows, strict=True)
    sizes = {name: StackSize(p, p, f) for name, p, f in zip("abcd", params, flops, strict=True)}
    four.records = {}
    for trial, figure in zip(four.plan, figures, strict=True):
        if figure is not None:
            keep(four, four.record(trial, failed=figure == "failed", **{select_by: figure}))
    sweep = four.sweep.model_copy(update={"select_by": select_by})
    state = dataclasses.replace(four.state, sweep=sweep, sizes=sizes)

    def is_beaten(i, costs):
        """By a row that is as cheap and as good, and one of the two strictly."""
        sign = 1 if select_by == "val_loss" else -1
        trained = [j for j in range(4) if isinstance(figures[j], float)]
        mine = (costs[i], sign * figures[i])
        theirs = [(costs[j], sign * figures[j]) for j in trained]
        return any(t[0] <= mine[0] and t[1] <= mine[1] and t != mine for t in theirs)

    for i, row in enumerate(table.make_table(state, four.results, is_final=False)):
        if isinstance(figures[i], float):
            best_at = [name for name, costs in (("params", params), ("flops", flops)) if not is_beaten(i, costs)]
            assert row["pareto"] == (" ".join(best_at) or None)
        else:
            assert row["pareto"] is None


@pytest.fixture
def four(tmp_path):
    return Made(tmp_path, sweep_text("abcd", seeds=1))


# ---- what was not trained like the rest


def made_on(folder, surroundings):
    """A sweep of a trial for each of these: architecture to a list of changes of the environment."""
    made = Made(folder, sweep_text(surroundings, seeds=len(next(iter(surroundings.values())))))
    usual = {"device": "cpu", "tensorflow": "2.21.0", "keras": "3.15.1"}
    changes = [change for those in surroundings.values() for change in those]
    for trial, change in zip(made.plan, changes, strict=True):
        keep(made, made.record(trial, environment=usual | {"host": f"host {trial.seed}"} | change))
    return made


@pytest.mark.parametrize(
    ("surroundings", "mixed"),
    [
        ({"a": [{}, {}], "b": [{}, {}]}, [None, None]),
        ({"a": [{}, {}], "b": [{"tensorflow": "2.20.0"}] * 2, "c": [{}, {}]}, [None, "tensorflow 2.20.0", None]),
        (
            {"a": [{}, {"device": "gpu:NVIDIA H100"}], "b": [{}, {}]},
            ["device cpu and gpu:NVIDIA H100", None],
        ),
        (
            {"a": [{"tensorflow": "2.20.0", "keras": "3.14.0"}, {}], "b": [{}, {}]},
            ["tensorflow 2.20.0 and 2.21.0, keras 3.14.0 and 3.15.1", None],
        ),
        ({"a": [{"device": "gpu:A"}] * 3, "b": [{"device": "gpu:A"}, {}, {}]}, [None, "device cpu and gpu:A"]),
        ({"a": [{}]}, [None]),
    ],
)
def test_mixed_says_what_of_a_row_was_not_trained_like_most_of_the_table(surroundings, mixed, tmp_path):
    assert [row["mixed"] for row in rows_of(made_on(tmp_path, surroundings))] == mixed


def test_failed_and_missing_trials_are_mixed_with_nothing(tmp_path):
    made = made_on(tmp_path, {"a": [{}, {}], "b": [{"keras": "3.14.0"}] * 2, "c": [{}, {}]})
    for trial in made.plan[2:4]:
        keep(made, made.record(trial, failed=True))
    assert [row["mixed"] for row in rows_of(made)] == [None, None, None]
    made.records = {}
    assert [row["mixed"] for row in rows_of(made)] == [None, None, None]


def test_of_surroundings_that_are_equally_common_the_same_is_usual_in_whatever_order_trials_ended(tmp_path):
    made = made_on(tmp_path, {"a": [{"keras": "3.14.0"}] * 2, "b": [{}, {}]})
    rows = rows_of(made)
    assert [bool(row["mixed"]) for row in rows].count(True) == 1
    made.records = dict(reversed(made.records.items()))
    assert rows_of(made) == rows


# ---- classes


def test_scores_of_classes_are_means_over_trials_of_those_by_hand_from_the_confusion_matrices(made):
    import pandas

    rng = np.random.default_rng(2)
    matrices = rng.integers(1, 9, (4, 4, 4))  # (trials, labels, predictions)
    matrices[:, 3] = 0  # no image is of class 3
    matrices[0, :, 3] = 0  # and the first trial gives it to none
    matrices[1:3, :, 2] = 0  # two trials give class 2 to no image, of which there are some
    matrices[:, :3, 0] += 20 - matrices[:, :3].sum(axis=2)  # the same test images in every trial
    expected = {}
    for trial, matrix in zip(made.plan, matrices, strict=True):
        by_class = []
        for c in range(4):
            hits, labelled, given_it = matrix[c, c], matrix[c].sum(), matrix[:, c].sum()
            if labelled + given_it == 0:
                by_class.append((None, None, None))
                continue
            precision, recall = hits / given_it if given_it else 0.0, hits / labelled if labelled else 0.0
            by_class.append((precision, recall, 2 * hits / (labelled + given_it)))
            for score, value in zip(("precision", "recall", "f1"), by_class[-1], strict=True):
                expected.setdefault((trial.architecture.name, c, score), []).append(value)
        scores = [[None if v is None else float(v) for v in values] for values in zip(*by_class, strict=True)]
        scores = ClassScores(**dict(zip(("precision", "recall", "f1"), scores, strict=True)), confusion_matrix=matrix)
        other = ClassScores(precision=[0.5] * 4, recall=[0.5] * 4, f1=[0.5] * 4, confusion_matrix=np.eye(4, dtype=int))
        names = ("T-shirt/top", "Ankle boot", "a, b", "3")
        classes = {"test": scores, "val": other}
        keep(made, made.record(trial).model_copy(update={"classes": classes, "class_names": names}))
    made.write_tables()
    frame = read(made, "classes.csv")
    assert frame.architecture.tolist() == ["8"] * 4 + ["deep"] * 4
    assert frame["class"].tolist() == [0, 1, 2, 3] * 2
    assert frame.class_name.tolist() == ["T-shirt/top", "Ankle boot", "a, b", "3"] * 2
    assert frame.test_images.tolist() == [20, 20, 20, 0] * 2
    for _, row in frame.iterrows():
        for score in ("precision", "recall", "f1"):
            values = pandas.Series(expected[row.architecture, row["class"], score])
            np.testing.assert_allclose([row[score], row[f"{score}_std"]], [values.mean(), values.std()], atol=1e-14)
    assert math.isnan(frame.precision_std[3]), "class 3 has a score in one of the two trials"


def test_a_class_that_no_trial_knows_has_empty_cells(made):
    keep(made, made.record(made.plan[0]))  # whose second class has no f1
    made.write_tables()
    frame = read(made, "classes.csv")
    assert frame.f1.isna().tolist() == [False, True]
    assert frame.recall.tolist() == [1.0, 0.5]


def test_only_finished_trials_have_classes(made):
    keep(made, made.record(made.plan[0], failed=True))
    keep(made, made.record(made.plan[1]))
    keep(made, made.record(made.plan[2], failed=True))
    assert [row.architecture for row in table.class_rows(made.state, made.results)] == ["8", "8"]


# ---- rows that nothing has changed


def refuse(*_, **__):
    raise AssertionError("computed anew")


def test_a_second_table_of_the_same_trials_computes_nothing(made, monkeypatch):
    made.put_all()
    rows = made.write_tables()
    files = {path: path.read_bytes() for path in made.folder.glob("*.*")}
    for name in ("mean_interval", "pareto_front", "bootstrap_difference"):
        monkeypatch.setattr(metrics, name, refuse)
    monkeypatch.setattr(looks, "compare_with_best", refuse)
    made.records = dict(reversed(made.records.items()))
    assert made.write_tables() == rows
    assert {path: path.read_bytes() for path in made.folder.glob("*.*")} == files


def change_records(**update):
    """The first record with these changes; dicts are merged."""

    def change(made):
        (fingerprint, record), *_ = made.records.items()
        merged = {k: (getattr(record, k) or {}) | v if isinstance(v, dict) else v for k, v in update.items()}
        return {"records": made.records | {fingerprint: record.model_copy(update=merged)}}

    return change


def change_sweep(**update):
    return lambda made: {"sweep": made.sweep.model_copy(update=update)}


def rename(made):
    first, *others = made.sweep.architectures
    new = dataclasses.replace(first, name="new")
    trials = [dataclasses.replace(t, architecture=new) if t.architecture is first else t for t in made.plan]
    sizes = {"new" if name == first.name else name: size for name, size in made.sizes.items()}
    return change_sweep(architectures=(new, *others))(made) | {"trials": trials, "sizes": sizes}


CHANGES = {
    "a metric": change_records(metrics={"test_ece": 0.123}),
    "a failure": change_records(status="failed", error={"type": "", "message": ""}),
    "epochs": change_records(history={"loss": [0.5]}),
    "seconds": change_records(measured={"train_seconds": 77.0}),
    "seconds of an epoch": change_records(measured={"epoch_seconds": [7.0]}),
    "memory": change_records(measured={"peak_memory_bytes": 77}),
    "a version": change_records(environment={"keras": "3.14.0"}),
    "the size of a model": change_records(model_bytes=77),
    "training images": change_records(train_images=77),
    "a record less": lambda made: {"records": dict([*made.records.items()][1:])},
    "parameters": lambda made: {"sizes": made.sizes | {"8": StackSize(7, 7, 7)}},
    "FLOPs": lambda made: {"sizes": made.sizes | {"8": dataclasses.replace(made.sizes["8"], flops=1)}},
    "what is selected by": change_sweep(select_by="val_loss"),
    "folds": change_sweep(folds=5, select_by="cv_accuracy"),
    "the data set": lambda made: {"dataset": "synthetic"},
    "a seed less": lambda made: {"trials": [trial for trial in made.plan if trial.seed == 0]},
    "a budget": lambda made: {
        "over_budget": frozenset({"deep"}),
        "trials": [trial for trial in made.plan if trial.architecture.name == "8"],
    },
    "a latency": lambda made: {"latencies": {"8": Latency(latency_seconds=0.5)}},
    "a name": rename,
    "the order": lambda made: change_sweep(architectures=made.sweep.architectures[::-1])(made),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_makes_the_rows_anew(change, made):
    invent(made, seed=0)
    before = table.make_table(made.state, made.results)
    changes = CHANGES[change](made)
    after = table.make_table(dataclasses.replace(made.state, **changes), made.results)
    assert after == rows_of(made, **changes) != before
    assert table.make_table(made.state, made.results) == before, "and back again"


def test_a_version_with_another_column_makes_the_rows_anew(made, monkeypatch):
    invent(made, seed=0)
    table.make_table(made.state, made.results)
    before = made.results.load_comparison(made.sweep.name)
    made.results.save_comparison(made.sweep, before | {"rows": before["rows"][:1]})
    assert len(table.make_table(made.state, made.results)) == 1, "what is remembered is believed"
    new = columns.Column("new", lambda row: None)
    monkeypatch.setattr(table, "RESULTS_COLUMNS", (*columns.RESULTS_COLUMNS, new))
    assert table.load_final_table(made.results, made.sweep.name) is None
    assert len(table.make_table(made.state, made.results)) == 2


FOREIGN = {
    "empty": lambda memory: "",
    "cut": lambda memory: json.dumps(memory)[:-20],
    "no object": lambda memory: "[1, 2]",
    "deep": lambda memory: "[" * 100_000,
    "no text": lambda memory: "\ud800",
    "nothing in it": lambda memory: "{}",
    "no key": lambda memory: json.dumps({"rows": memory["rows"]}),
    "another's key": lambda memory: json.dumps(memory | {"key": "0" * 64, "rows": memory["rows"][:1]}),
    "a key that is no text": lambda memory: json.dumps(memory | {"key": None, "rows": []}),
    "no rows": lambda memory: json.dumps(memory | {"rows": None}),
    "rows by name": lambda memory: json.dumps(memory | {"rows": {"8": memory["rows"][0]}}),
    "too few rows": lambda memory: json.dumps(memory | {"rows": memory["rows"][:1]}),
    "rows of another type": lambda memory: json.dumps(memory | {"rows": [1, "deep"]}),
    "rows that lack columns": lambda memory: json.dumps(memory | {"rows": [{"architecture": "8"}] * 2}),
    "rows of text": lambda memory: json.dumps(
        memory | {"rows": [{name: str(cell) for name, cell in row.items()} for row in memory["rows"]]}
    ),
    "rows in another order": lambda memory: json.dumps(memory | {"rows": memory["rows"][::-1]}),
    "another figure": lambda memory: json.dumps(
        memory | {"rows": [row | {"test_accuracy": [0.999, None, None, None, 1]} for row in memory["rows"]]}
    ),
}


@pytest.mark.parametrize("damage", FOREIGN)
def test_damaged_memory_is_passed_over(damage, made):
    invent(made, seed=0)
    rows = made.write_tables()
    path = made.folder / "_comparison.json"
    whole = path.read_bytes()
    path.write_bytes(FOREIGN[damage](json.loads(whole)["content"]).encode(errors="surrogatepass"))
    assert made.write_tables() == rows
    assert path.read_bytes() == whole, "and mended"


# ---- the best trial


@pytest.mark.parametrize(
    ("select_by", "figures", "best"),
    [
        ("val_accuracy", [(0.7, 0.1), (0.9, 0.5), (0.8, 0.3)], 1),
        ("val_loss", [(0.7, 0.2), (0.9, 0.5), (0.8, 0.1)], 2),
        ("cv_accuracy", [(0.7, 0.1), (0.8, 0.5), (0.9, 0.3)], 2),
        ("val_accuracy", [(0.9, 0.5), (0.9, 0.1), (0.9, 0.1)], 0),
        ("val_loss", [(0.7, 0.5), (0.8, 0.1), (0.9, 0.1)], 1),
        ("val_accuracy", ["failed", (0.1, 0.9), "failed"], 1),
        ("val_loss", [(0.9, 0.9), None, "failed"], 0),
        ("val_loss", ["failed", None, "failed"], None),
        ("val_loss", [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)], 0),
    ],
)
def test_the_best_trial_is_that_of_the_best_validation_and_of_equals_the_first(select_by, figures, best, tmp_path):
    folds = 3 if select_by == "cv_accuracy" else None
    made = Made(tmp_path, sweep_text("a", seeds=1 if folds else 3, folds=folds, select_by=select_by))
    for i, (trial, figure) in reversed([*enumerate(zip(made.plan, figures, strict=True))]):
        if figure == "failed":
            keep(made, made.record(trial, failed=True))
        elif figure is not None:
            on_test = {"test_accuracy": i / 3, "test_loss": i / 3}
            keep(made, made.record(trial, val_accuracy=figure[0], val_loss=figure[1], **on_test))
    assert ranking.rank(made.state).best_trials == ({} if best is None else {"a": made.plan[best]})


# ---- for people: sorting


def is_better_when_higher(column):
    if column == "images_per_second":
        return True
    return bool(re.match(r"(refit_|ensemble_)?(test|val|cv)_(accuracy|macro_)", column)) and not column.endswith("_std")


@pytest.mark.parametrize("column", [column.name for column in columns.RESULTS_COLUMNS])
def test_rows_are_sorted_best_first_by_any_column(column):
    cells = ["b", None, "a", "c", "a", None, "b"] if column in TEXT else [2, None, 0.5, -1, 0.5, None, 2.0]
    rows = [row_with(**{column: cell}) for cell in cells]
    ordered = columns.sort_rows(tuple(rows), column)
    # Equals stay in the order of the sweep file, and so do those of which nothing is known.
    expected = [3, 2, 4, 0, 6, 1, 5] if column not in TEXT else [2, 4, 0, 6, 3, 1, 5]
    if is_better_when_higher(column):
        expected = [0, 6, 2, 4, 3, 1, 5]
    assert [id(row) for row in ordered] == [id(rows[number]) for number in expected]


@pytest.mark.parametrize("column", [column.name for column in columns.RESULTS_COLUMNS])
def test_a_table_of_every_kind_of_row_is_sorted_by_any_column(column, tmp_path):
    made = Made(tmp_path, sweep_text("hgfedcba", seeds=2))
    invent(made, seed=1, kinds=["done", "done", "failed", "none"])
    made.latencies["f"] = Latency(latency_seconds=0.2)
    rows = table.make_table(made.state, made.results, is_final=False)
    assert {row["trials"] for row in rows} == {0, 1, 2}
    ordered = columns.sort_rows(rows, column)
    assert sorted(row["architecture"] for row in ordered) == [*"abcdefgh"]
    assert [row[column] is None for row in ordered] == sorted(row[column] is None for row in rows)


def test_nothing_is_sorted_to_nothing():
    assert columns.sort_rows([], "test_accuracy") == []


# ---- for people: words


def row_with(**cells):
    """A row with these cells, by the names of columns; of any type, and None in all others that need not be there."""
    row = columns.TableRow.model_construct(architecture="a", layers="", params=1, trials=1, failed=0, dataset="")
    for column, cell in cells.items():
        field, suffix = re.fullmatch(r"(.+?)(_std|_ci95_low|_ci95_high|)", column).groups()
        field = column if column == "test_accuracy_luck_std" else field
        suffix = "" if column == "test_accuracy_luck_std" else suffix
        before = getattr(row, field, None)
        part = {"": "mean", "_std": "std", "_ci95_low": "low", "_ci95_high": "high"}[suffix]
        value = before._replace(**{part: cell}) if isinstance(before, tuple) else cell
        row = row.model_copy(update={field: value})
    return row


@pytest.mark.parametrize(
    ("verdict", "behind", "seeds_needed", "words", "in_short"),
    [
        ("best", (0.0,), None, "best", "best"),
        ("worse", (0.0042, 0.0011, 0.0073), None, "worse by 0.0042 (0.0011 to 0.0073)", "worse by 0.0042"),
        ("worse", (12.5, 12.5, 12.5), None, "worse by 12.5000 (12.5000 to 12.5000)", "worse by 12.5000"),
        (
            OPEN,
            (1e-3, -1, 1),
            14,
            "undecided (-1.0000 to 1.0000; 14 seeds would show the margin)",
            "undecided (14 seeds)",
        ),
        (
            OPEN,
            (0, -1, 1),
            10_000,
            "undecided (-1.0000 to 1.0000; 10,000+ seeds would show the margin)",
            "undecided (10,000+ seeds)",
        ),
        (OPEN, (0, -1, 1), None, "undecided (-1.0000 to 1.0000)", "undecided"),
        ("equivalent", (0, -0.1, 0.1), None, "equivalent (-0.1000 to 0.1000)", "equivalent"),
        (FEW, (0.1,), None, "too few seeds (0.1000 behind)", "too few seeds (0.1000 behind)"),
        *((word, (), None, word, word) for word in ("not trained", "failed", "over budget")),
        (None, (), None, "", ""),
    ],
)
def test_verdicts_in_words(verdict, behind, seeds_needed, words, in_short):
    row = row_with(verdict=verdict, seeds_needed=seeds_needed).model_copy(
        update={"behind_best": metrics.Difference(*behind)}
    )
    assert (columns.verdict_in_words(row), columns.verdict_in_words(row, in_short=True)) == (words, in_short)


@pytest.mark.parametrize(
    ("mean", "std", "digits", "words"),
    [
        (0.87866, 0.00443, 4, "0.8787 ± 0.0044"),
        (0.38868, 0.01004, 3, "0.389 ± 0.010"),
        (0.5, 0.0, 4, "0.5000 ± 0.0000"),
        (0.5, None, 4, "0.5000"),
        (0.0, None, 3, "0.000"),
        (None, None, 4, ""),
        (1234.5, 0.25, 1, "1234.5 ± 0.2"),
    ],
)
def test_a_mean_with_its_spread_in_words(mean, std, digits, words):
    assert columns.with_spread(row_with(test_loss=mean, test_loss_std=std).test_loss, digits) == words


@pytest.mark.parametrize(
    ("cell", "words"), [("params", "parameters"), ("flops", "FLOPs"), ("params flops", "both"), (None, "")]
)
def test_pareto_in_words(cell, words):
    assert columns.BY_NAME["pareto"].words(row_with(pareto=cell)) == words


def test_an_interval_in_words():
    row = row_with(test_accuracy_ci95_low=0.87321, test_accuracy_ci95_high=0.88412)
    assert columns.interval_in_words(row.test_accuracy) == "0.8732 to 0.8841"
    assert columns.interval_in_words(row.val_loss) == ""


BEST_BY = "Best by val_accuracy, never by test images; ± is the standard deviation over seeds."
ONE_SEED = "One seed cannot tell architectures apart: ask for more (seeds: 5)."
PROMISE = (
    "Verdicts are read from the interval of how far behind the best a row is. In 95 of 100 sweeps all of these "
    "intervals hold, for all architectures together."
)
AFTER_SELECTION = (
    "The best, {}, was chosen by these very trials, so its test accuracy is a little too good (after selection); "
    "refits, with fresh seeds, give a clean figure (refit: true)."
)
FEW_SEEDS = (
    "Too few seeds: so few are shared with the best that not even a difference of ten spreads over seeds would be told."
)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        pytest.param({"a": [None], "b": ["failed"]}, [], id="nothing done"),
        pytest.param({"a": [0.8, 0.9]}, [], id="one architecture"),
        pytest.param({"a": [0.8], "b": [None]}, [], id="one architecture trained"),
        pytest.param({"a": [0.8], "b": [0.9]}, [BEST_BY, ONE_SEED], id="one seed"),
        pytest.param({"a": [0.7, 0.8], "b": [0.8, 0.9]}, [BEST_BY, FEW_SEEDS], id="two seeds"),
        pytest.param({"a": [0.7, 0.8, 0.9], "b": [0.8, 0.9, 1.0]}, [BEST_BY, PROMISE], id="worse"),
        pytest.param({"a": [0.8, 0.9, 0.7], "b": [0.8, 0.9, 0.7]}, [BEST_BY, PROMISE], id="equal"),
    ],
)
def test_notes_say_what_a_reader_has_to_know_of_this_table(figures, said, tmp_path):
    made = made_of(tmp_path, figures)
    rows = rows_of(made)
    assert table.notes(made.state, rows) == [*said, *cautions.cautions(made.state, rows)]  # those: test_cautions.py


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param({"a": [0.8, None], "b": [None, 0.7]}, id="no seed in common"),
        pytest.param({"a": [0.8, 0.9], "b": ["failed", 0.7]}, id="one seed in common"),
    ],
)
def test_a_note_on_too_few_seeds_does_not_say_that_there_is_one(figures, tmp_path):
    made = made_of(tmp_path, figures)
    rows = rows_of(made)
    assert FEW in {row["verdict"] for row in rows}
    assert ONE_SEED not in table.notes(made.state, rows)


def made_of_splits(folder, *splits):
    listed = "".join(
        f"- {{name: n{i}, layers: [{4 + i}], validation_split: {split}}}\n" for i, split in enumerate(splits)
    )
    made = Made(folder, f"seeds: 3\narchitectures:\n{listed}")
    for i, trial in enumerate(made.plan):
        made.put(made.record(trial, val_accuracy=0.5 + i / 100))
    return made


def test_a_note_says_where_seeds_share_no_split(tmp_path):
    """Of one seed 0.2 and 0.25 set other images aside: seeds are no blocks there."""
    made = made_of_splits(tmp_path, 0.25, 0.2, 0.25, 0.1)
    assert table.notes(made.state, rows_of(made))[2] == (
        "validation_split is 0.25, but not for n1 0.2, n3 0.1: there seeds share no split with the others, so verdicts "
        "between them are less sure than they say."
    )


def test_where_all_set_as_many_images_aside_there_is_no_such_note(tmp_path):
    made = made_of_splits(tmp_path, 0.25, 0.25)
    assert table.notes(made.state, rows_of(made))[:2] == [BEST_BY, PROMISE]
    assert not any("validation_split" in note for note in table.notes(made.state, rows_of(made)))


def test_what_is_wrong_with_the_images_is_the_first_note(tmp_path):
    made = made_of(tmp_path, {"a": [0.8, 0.9]})
    state = dataclasses.replace(made.state, warnings=("pixels between 0 and 1",))
    assert table.notes(state, rows_of(made)) == ["pixels between 0 and 1"]
    assert table.markdown(state, rows_of(made)).endswith("\npixels between 0 and 1\n")


def test_classes_are_called_as_they_are_now(tmp_path):
    made = made_of(tmp_path, {"a": [0.8, 0.9]})
    then = [row.class_name for row in table.class_rows(made.state, made.results)]
    assert len(then) >= 2
    now = [f"class {name}" for name in then]
    state = dataclasses.replace(made.state, class_names=now)
    assert [row.class_name for row in table.class_rows(state, made.results)] == now
    # So that classes.csv is written anew.
    assert table._key(state, made.results) != table._key(made.state, made.results)
    too_few = dataclasses.replace(made.state, class_names=now[:1])
    assert [row.class_name for row in table.class_rows(too_few, made.results)] == then


def test_a_note_names_the_rows_that_did_not_run_like_the_rest(tmp_path):
    made = made_on(tmp_path, {"a": [{}], "b": [{"tensorflow": "2.20.0"}], "c": [{}], "d": [{"device": "gpu:A"}]})
    assert table.notes(made.state, rows_of(made)) == [
        BEST_BY,
        ONE_SEED,
        "Not all trials ran alike: b (tensorflow 2.20.0), d (device gpu:A).",
        AFTER_SELECTION.format("a"),
    ]


# ---- for people: Markdown


def test_the_table_as_markdown(tmp_path):
    figures = {"small": [0.5, 0.75, 0.625], "wide": [0.75, 1.0, 0.875], "new": [None] * 3, "bad": ["failed"] * 3}
    others = {"small": [0.7, 0.8, 0.9], "wide": [0.5, 0.5, 0.5]}
    made = made_of(
        tmp_path, figures, others=lambda n, i: {"test_accuracy": others[n][i], "test_loss": 2 * others[n][i]}
    )
    made.write_tables()
    # Student's t of two degrees of freedom is 4.302653: 0.8 ± 4.302653 · 0.1 / √3. Parameters: 64 u + u + 4 u + 4.
    assert (made.folder / "results.md").read_text("utf-8") == (
        "# small on idx:tiny\n"
        "\n"
        "The best by val_accuracy is wide; the other is shown to be worse.\n"
        "\n"
        "| architecture | parameters | test accuracy | 95 % over seeds | 95 % over seeds and images | test loss "
        "| val accuracy | verdict | Pareto | trials |\n"
        "|---|--:|--:|--:|--:|--:|--:|---|---|--:|\n"
        "| wide | 556 | 0.5000 ± 0.0000 | 0.5000 to 0.5000 |  | 1.000 ± 0.000 | 0.8750 ± 0.1250 | best | both | 3 |\n"
        "| small | 280 | 0.8000 ± 0.1000 | 0.5516 to 1.0484 |  | 1.600 ± 0.200 | 0.6250 ± 0.1250 "
        "| worse by 0.2500 (0.2500 to 0.2500) | both | 3 |\n"
        "| new | 832 |  |  |  |  |  | not trained |  | 0 |\n"
        "| bad | 1,108 |  |  |  |  |  | failed |  | 0 |\n"
        "\n"
        f"{BEST_BY}\n"
        f"{PROMISE}\n"
        f"{AFTER_SELECTION.format('wide')}\n"
    )


def cells_of(text):
    """The cells of a Markdown table by line, without its rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in lines)
    header, rule, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    assert all(re.fullmatch(r"-{3,}|-+:", cell) for cell in rule)
    assert len(rule) == len(header)
    return [header, *rows]


@pytest.mark.parametrize("select_by", ["val_accuracy", "val_loss"])
def test_the_markdown_of_many_architectures_is_whole_and_its_best_are_first(select_by, tmp_path):
    names = [f"n{i}.{'_-'[i % 2] * (i % 5)}x__" for i in range(200)]
    made = Made(tmp_path, sweep_text(names, seeds=1, select_by=select_by))
    invent(made, seed=0, kinds=["done"] * 8 + ["failed", "none"])
    header, *rows = cells_of(table.markdown(made.state, rows_of(made)))
    assert {len(row) for row in (header, *rows)} == {10}
    assert sorted(row[0] for row in rows) == sorted(names)
    assert rows[0][header.index("verdict")] == "best"
    figures = [float(row[6]) for row in rows if row[6]]
    assert figures == sorted(figures, reverse=select_by == "val_accuracy")
    assert not any(row[6] for row in rows[len(figures) :])
    parameters = {row["architecture"]: row["params"] for row in rows_of(made)}
    assert {row[0]: int(row[1].replace(",", "")) for row in rows} == parameters


def test_the_best_is_the_first_row_of_the_markdown_though_a_hard_seed_that_others_lack_lowers_its_mean(tmp_path):
    made = made_of(tmp_path, {"a": [0.90, 0.91, 0.92, 0.50], "b": [0.88, 0.885, 0.93, None]})
    rows = rows_of(made)
    assert [row["verdict"] for row in rows] == ["best", OPEN]
    assert rows[0]["val_accuracy"] < rows[1]["val_accuracy"]
    assert [row[0] for row in cells_of(table.markdown(made.state, rows))[1:]] == ["a", "b"]


@pytest.mark.parametrize("sign", ["|", "\\", "`", "\n", "*", "<"])
def test_no_name_breaks_the_markdown(sign):
    assert name_problem(f"a{sign}b")


def test_a_folders_name_stays_text_in_the_markdown(tmp_path):
    made = made_of(tmp_path, {"a": [0.8, 0.9]})
    warnings = ("idx:<b>a|b_</b>: pixels between 0 and 1",)
    state = dataclasses.replace(made.state, dataset="idx:<img src=x>\n[a](b) *c* `d`", warnings=warnings)
    text = table.markdown(state, rows_of(made))
    assert text.splitlines()[0] == r"# small on idx:\<img src=x\>\\n\[a\](b) \*c\* \`d\`"
    assert text.splitlines()[-1] == r"idx:\<b\>a\|b\_\</b\>: pixels between 0 and 1"


def test_cross_validated_sweeps_show_what_they_select_by(tmp_path):
    made = made_of(tmp_path, {"a": [0.5, 0.7], "b": [0.8, 0.6]}, folds=2)
    header, *rows = cells_of(table.markdown(made.state, rows_of(made)))
    assert header[6] == "cv accuracy"
    assert [row[6] for row in rows] == ["0.7000", "0.6000"], "one seed has no spread"


# ---- ensembles of seeds


def put_probabilities(made, trial, labels, probabilities):
    put_record(made.results, made.records[trial.fingerprint])
    place = made.results.record_folder(trial.fingerprint) / "predictions.npz"
    arrays = {"label": labels, "predicted": probabilities.argmax(axis=1).astype(np.uint8)}
    np.savez(place, **arrays, probabilities=probabilities.astype(np.float16))
    seal(place.parent)


def test_ensembles_are_the_mean_of_their_members_probabilities_by_scikit_learn(tmp_path):
    """Five seeds two at a time: two ensembles, and the fifth seed in none."""
    from sklearn.metrics import accuracy_score, log_loss

    text = sweep_text("ab", seeds=5).replace("seeds: 5", "seeds: 5\nensemble: 2")
    made, rng = Made(tmp_path, text), np.random.default_rng(0)
    labels = rng.integers(0, 4, 50).astype(np.uint8)
    kept = {}
    for trial in made.plan:
        keep(made, made.record(trial))
        kept[trial.architecture.name, trial.seed] = probabilities = rng.dirichlet(np.ones(4), 50).astype(np.float16)
        put_probabilities(made, trial, labels, probabilities)
    rows = {row["architecture"]: row for row in table.make_table(made.state, made.results)}
    for name in "ab":
        means = [
            (kept[name, first].astype(np.float64) + kept[name, first + 1].astype(np.float64)) / 2 for first in (0, 2)
        ]
        accuracies = [accuracy_score(labels, mean.argmax(axis=1)) for mean in means]
        losses = [log_loss(labels, mean / mean.sum(axis=1, keepdims=True)) for mean in means]
        assert rows[name]["ensembles"] == 2
        assert rows[name]["ensemble_test_accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-12)
        assert rows[name]["ensemble_test_accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1), abs=1e-12)
        assert rows[name]["ensemble_test_loss"] == pytest.approx(np.mean(losses), rel=1e-3)  # float16 sums to about 1
    (said,) = [note for note in table.notes(made.state, [*rows.values()]) if note.startswith("Ensembles of 2 seeds")]
    assert f"a {rows['a']['ensemble_test_accuracy']:.4f}" in said


@pytest.mark.parametrize(
    ("text", "trials", "cells"),
    [
        # Both of a, one of b.
        (sweep_text("ab", seeds=2, more="ensemble: 2"), 3, [(1, 1.0, 0.0), (0, None, None)]),
        (sweep_text("a", seeds=1, folds=3, more="ensemble: 2"), 3, [(0, None, None)]),
    ],
    ids=["a seed too few", "one seed of three folds"],
)
def test_too_few_trials_make_no_ensemble_and_where_there_is_none_the_table_says_so(text, trials, cells, tmp_path):
    made = Made(tmp_path, text)
    labels = np.zeros(5, np.uint8)
    for trial in made.plan[:trials]:
        keep(made, made.record(trial))
        put_probabilities(made, trial, labels, np.eye(4)[labels])
    rows = table.make_table(made.state, made.results)
    figures = ("ensembles", "ensemble_test_accuracy", "ensemble_test_loss")
    assert [tuple(row[name] for name in figures) for row in rows] == cells
    said = "No ensembles: 2 finished seeds of one architecture make one."
    assert (said in table.notes(made.state, rows)) == (not any(count for count, *_ in cells))


def test_members_that_cannot_be_read_or_know_no_probabilities_are_in_no_ensemble(tmp_path):
    made = Made(tmp_path, sweep_text("a", seeds=2).replace("seeds: 2", "seeds: 2\nensemble: 2"))
    for trial in made.plan:
        made.put(made.record(trial))  # label and predicted alone
    (row,) = table.make_table(made.state, made.results)
    assert (row["ensembles"], row["ensemble_test_accuracy"]) == (0, None)


def test_with_folds_an_ensemble_of_seeds_is_the_mean_over_folds_of_one_in_each(tmp_path):
    """Five seeds of two folds, two at a time: two pairs of seeds; the fifth seed is in none."""
    from sklearn.metrics import accuracy_score

    text = sweep_text("a", seeds=5, folds=2, more="ensemble: 2")
    made, rng = Made(tmp_path, text), np.random.default_rng(0)
    labels = rng.integers(0, 4, 50).astype(np.uint8)
    kept = {}
    for trial in made.plan:
        keep(made, made.record(trial))
        kept[trial.seed, trial.fold] = probabilities = rng.dirichlet(np.ones(4), 50).astype(np.float16)
        put_probabilities(made, trial, labels, probabilities)
    (row,) = table.make_table(made.state, made.results)
    accuracies = [
        np.mean(
            [
                accuracy_score(labels, (kept[seed, fold].astype(float) + kept[seed + 1, fold]).argmax(axis=1))
                for fold in (0, 1)
            ]
        )
        for seed in (0, 2)
    ]
    assert row["ensembles"] == 2
    assert row["ensemble_test_accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert row["ensemble_test_accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1), abs=1e-12)

"""Means, spreads and intervals of the table, against pandas, scipy and numbers by hand."""

import math
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
from sweeping import Made
from tabulating import invent, keep, made_of, predictions_of, put_probabilities, read, rows_of, sweep_text

from fmnist_mlp.results import columns, table
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.record import Latency
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.variance import interval_over_images, mean_squares

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
ENSEMBLE = ("ensemble_test_loss", "ensemble_test_accuracy")  # tested in test_ensembles.py


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

FROM_PREDICTIONS = ("test_accuracy_any_images_ci95_low", "test_accuracy_any_images_ci95_high", "test_accuracy_luck_std")
FROM_PREDICTIONS += ("test_brier", "test_brier_std", "test_brier_ci95_low", "test_brier_ci95_high")


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

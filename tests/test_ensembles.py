"""Ensembles of seeds: their figures in the table, against scikit-learn."""

import numpy as np
import pytest
from sweeping import Made
from tabulating import keep, put_probabilities, sweep_text

from fmnist_mlp.results import table


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

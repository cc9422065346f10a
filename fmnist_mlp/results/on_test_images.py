"""What of the table takes the predictions of every trial: each file is read once, one architecture after the other.

How far each architecture is behind the best on the test images, intervals over test images, luck on these images, Brier
scores, ensembles of seeds. Predictions that cannot be read leave the cells empty that they would be in, and no others.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results import variance
from fmnist_mlp.results.columns import interval_of
from fmnist_mlp.results.ranking import Ranking, SweepState
from fmnist_mlp.results.record import DamagedRecord, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.trials import Trial

_LEAST_PROBABILITY = 2.0**-25  # below it float16 keeps 0


class OnTestImages(NamedTuple):
    """What the predictions say.

    Args:
        cells: of the rows of the table, by the names of `TableRow`; by architecture name.
        brier: the Brier score of each trial that has probabilities, by fingerprint.
    """

    cells: dict[str, dict[str, Any]]
    brier: dict[str, float]


def read_predictions(ranking: Ranking, results: Results) -> OnTestImages:
    """Read them all; what they say is the same each time."""
    state, cells, brier = ranking.state, {}, {}
    all_trials, all_refits = state.by_architecture(), state.refits_by_architecture()
    of_best: dict[tuple[int, int | None], _Predictions] | None = None
    # The best first, and of the others nothing is kept: a plan may have thousands of trials.
    for name in sorted(all_trials, key=lambda name: name != ranking.best):
        trials, refits = all_trials[name], all_refits[name]
        done = [trial.fingerprint for trial, record in (*trials, *refits) if record.is_done]
        predictions = {fingerprint: _read(results, fingerprint) for fingerprint in done}
        scores = {fingerprint: one.brier for fingerprint, one in predictions.items()}
        brier |= {fingerprint: score for fingerprint, score in scores.items() if score is not None}
        by_seed = state.done_by_seed(trials)
        cells[name] = _over_images(by_seed, predictions) | {"test_brier": _brier(by_seed, scores)}
        if state.sweep.ensemble:
            cells[name] |= _ensembles(state, refits or trials, predictions)
        own = {(trial.seed, trial.fold): predictions[trial.fingerprint] for trial, record in trials if record.is_done}
        if name == ranking.best:
            of_best = {block: one._replace(probabilities=None) for block, one in own.items()}
        elif of_best is not None:
            cells[name]["test_behind_best"] = _behind(of_best, own)
    return OnTestImages(cells, brier)


# ---- reading ----


class _Predictions(NamedTuple):
    """Of one trial, each `(images,)` or None where it cannot be read or there is none."""

    correct: np.ndarray | None
    labels: np.ndarray | None = None
    probabilities: np.ndarray | None = None  # (images, classes), float16

    @property
    def brier(self) -> float | None:
        return None if self.probabilities is None else variance.brier_score(self.labels, self.probabilities)


def _read(results: Results, fingerprint: str) -> _Predictions:
    try:
        labels, predicted, probabilities = results.load_predictions(fingerprint, "label", "predicted", "probabilities")
        if len(labels) and labels.shape == predicted.shape == probabilities.shape[:1]:
            return _Predictions(predicted == labels, labels, probabilities)
    except DamagedRecord:
        pass
    try:  # of a baseline without probabilities
        correct = results.load_correct(fingerprint)
    except DamagedRecord:
        return _Predictions(None)
    return _Predictions(correct if len(correct) else None)


# ---- cells ----


def _behind(of_best: Mapping[Any, _Predictions], own: Mapping[Any, _Predictions]) -> metrics.Difference:
    """How far an architecture's test accuracy is behind that of the best, over the seeds and folds that both have."""
    shared = [block for block in own if block in of_best]
    tables = [_table([each[block] for block in shared]) for each in (of_best, own)]
    if not shared or any(table is None for table in tables) or tables[0].shape != tables[1].shape:
        return metrics.Difference()
    return metrics.bootstrap_difference(*(table.mean(axis=0) for table in tables))


def _table(rows: Sequence[_Predictions]) -> np.ndarray | None:
    """Which images each has right, `(len(rows), images)`; None where any cannot be read, or has other images."""
    correct = [one.correct for one in rows]
    if any(one is None for one in correct) or len({one.shape for one in correct}) != 1:
        return None
    return np.array(correct)


def _over_images(by_seed: Mapping[int, Sequence[Record]], predictions: Mapping[str, _Predictions]) -> dict[str, Any]:
    """Cells on what seeds and what test images contribute."""
    rows = [_table([predictions[record.fingerprint] for record in records]) for records in by_seed.values()]
    if not rows or any(row is None for row in rows) or len({row.shape for row in rows}) != 1:
        return {}
    squares = variance.mean_squares(np.array([row.mean(axis=0) for row in rows]))
    return {
        "test_accuracy_any_images": variance.interval_over_images(squares),
        "test_accuracy_luck_std": squares.luck_std,
    }


def _brier(by_seed: Mapping[int, Sequence[Record]], scores: Mapping[str, float | None]) -> metrics.Interval:
    of_seeds = [[scores[record.fingerprint] for record in records] for records in by_seed.values()]
    return interval_of([None if None in of_seed else statistics.mean(of_seed) for of_seed in of_seeds])


def _ensembles(
    state: SweepState, trials: Sequence[tuple[Trial, Record]], predictions: Mapping[str, _Predictions]
) -> dict[str, Any]:
    """Cells on ensembles of so many seeds: each its own seeds, in their order; what is left over is out.

    With folds, so many seeds make an ensemble of each fold, whose figures are averaged: `ensemble: 3` says of three
    seeds what it says without folds, what they are worth together that were trained on as many images. An ensemble's
    probabilities are the mean of its members', as they are kept (float16).
    """
    size = state.sweep.ensemble
    by_seed = [[predictions[r.fingerprint] for r in records] for records in state.done_by_seed(trials).values()]
    members = [of_seed for of_seed in by_seed if all(one.probabilities is not None for one in of_seed)]
    losses, accuracies = [], []
    for start in range(0, len(members) - size + 1, size):
        by_fold = [_score_together(of_fold) for of_fold in zip(*members[start : start + size], strict=True)]
        losses.append(statistics.mean(loss for loss, _ in by_fold))
        accuracies.append(statistics.mean(accuracy for _, accuracy in by_fold))
    return {
        "ensembles": len(losses),
        "ensemble_test_loss": interval_of(losses),
        "ensemble_test_accuracy": interval_of(accuracies),
    }


def _score_together(members: Sequence[_Predictions]) -> tuple[float, float]:
    """Loss and accuracy of the mean probabilities of these members."""
    labels, probabilities = members[0].labels, np.zeros(members[0].probabilities.shape, np.float64)
    for member in members:
        probabilities += member.probabilities / len(members)
    of_class = np.maximum(probabilities[np.arange(len(labels)), labels], _LEAST_PROBABILITY)
    return float(-np.log(of_class).mean()), float(np.mean(probabilities.argmax(axis=1) == labels))

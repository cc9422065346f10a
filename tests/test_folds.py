# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""Cross-validation in a sweep file: each fold as a trial, what the best is chosen by, what does not go with folds."""

import re

import pytest
from sweep_files import STACK, complain, load

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.sweep import Overrides
from fmnist_mlp.sweepfile.trials import canonical_settings, fingerprint, list_trials

__all__ = ["complain", "load"]  # fixtures, used by name


@pytest.mark.parametrize(
    ("written", "select_by"),
    [
        ("", "val_accuracy"),
        ("select_by: null\n", "val_accuracy"),
        ("folds: null\n", "val_accuracy"),
        ("select_by: val_loss\n", "val_loss"),
        ("folds: 5\n", "cv_accuracy"),
        ("folds: 5\nselect_by: cv_accuracy\n", "cv_accuracy"),
        ("folds: 5\nselect_by: val_loss\n", "val_loss"),
    ],
)
def test_what_the_best_is_chosen_by_is_decided_once(load, written, select_by):
    assert load(written + STACK).select_by == select_by


def test_each_fold_is_a_trial_inside_its_seed(load):
    trials = list_trials(load("folds: 3\nseeds: [5, 3]\n" + STACK + "  - [8]\n"), data_identity="d")
    assert [(trial.architecture.name, trial.seed, trial.fold) for trial in trials] == [
        (name, seed, fold) for name in ("64-32", "8") for seed in (5, 3) for fold in (0, 1, 2)
    ]
    assert len({trial.fingerprint for trial in trials}) == 12
    assert all(fingerprint(trial.settings) == trial.fingerprint for trial in trials)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 10000\nfolds: 50\n", "asks for 500,000 trials; at most 100,000 are allowed, use fewer seeds, folds or "),
        ("seeds: 10000\nrefit: {seeds: 5}\n", "asks for 110,055 trials; at most 100,000 are allowed, use fewer seeds or stacks"),
    ],
)  # fmt: skip
def test_more_trials_than_can_be_planned_at_once_are_too_many(load, text, message):
    architectures = STACK + "".join(f"  - [{units}]\n" for units in range(1, 11)) * ("refit" in text)
    with pytest.raises(SweepError, match=re.escape(message)):
        load(text + architectures)


def test_a_fold_stands_in_the_settings_in_place_of_the_validation_split(load):
    (plain,) = list_trials(load("seeds: 1\n" + STACK), data_identity="d")
    folds = list_trials(load("seeds: 1\nfolds: 4\n" + STACK), data_identity="d")
    assert [trial.settings for trial in folds] == [plain.settings | {"fold": fold, "folds": 4} for fold in range(4)]
    # A split of its own, which no file with folds may give, would decide nothing.
    (split,) = load("seeds: 1\narchitectures:\n- {layers: [64, 32], validation_split: 0.3}\n").architectures
    options = {"data_identity": "d", "limit": None, "seed": 0}
    assert canonical_settings(split, **options)["training"]["validation_split"] == 0.3
    assert canonical_settings(split, **options, fold=0, folds=4) == folds[0].settings


@pytest.mark.parametrize(
    ("text", "line", "where"),
    [
        ("folds: 4\ntraining:\n  validation_split: 0.2\n" + STACK, 3, ""),
        ("folds: 4\narchitectures:\n- layers: [8]\n  validation_split: 0.1\n", 4, " (architecture '8')"),
        ("folds: 4\ngrid:\n  depth: 1\n  units: [4, 8]\n  validation_split: [0.1, 0.2]\n", 5, " (in grid)"),
    ],
)
def test_a_validation_split_beside_folds_is_reported_at_its_line(complain, text, line, where):
    shown, _ = complain(text)
    words = "validation_split does not go with folds: each fold keeps 1/4 for validation"
    assert shown == f"architectures.yaml:{line}: {words}{where}"


def test_more_folds_than_images_are_refused(complain):
    words = "architectures.yaml:1: folds must be at most limit (4), got 5"
    assert complain("folds: 5\nlimit: 4\n" + STACK)[0] == words
    assert complain("folds: 5\nlimit: 400\n" + STACK, Overrides(limit=4))[0] == words + ", with --limit"


def test_folds_that_are_wrong_are_not_also_missing(complain):
    lines = complain("select_by: cv_accuracy\nfolds: 0\n" + STACK)
    assert [line for line in lines if not line.startswith(" ")] == [
        "architectures.yaml:2: folds must be from 2 to 50, got 0"
    ]


def test_more_folds_than_the_data_set_has_images_are_refused(load):
    with pytest.raises(SweepError, match=r"^architectures\.yaml: folds must be at most the 4 training images, got 5$"):
        check_shapes(load("folds: 5\n" + STACK), (28, 28), 2, class_counts=(2, 2))
    assert check_shapes(load("folds: 4\n" + STACK), (28, 28), 2, class_counts=(2, 2))

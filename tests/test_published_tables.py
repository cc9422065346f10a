"""Of the mistakes of published systems: a ranking of single trainings (A), rounded figures (C)."""

import re

import numpy as np
import pytest
import sweeping

from fmnist_mlp.results import table

# ---- A: a ranking of single trainings ------------------------------------------------------------------------------

FOUR = """
{more}
architectures:
  - [64, 128, 64, 32]
  - [64, 128, 32]
  - [64, 32]
  - [128, 64]
"""
FIGURES = {"64-128-64-32": (0.4220, 0.8874), "64-128-32": (0.3832, 0.8854), "64-32": (0.3702, 0.8819)}
FIGURES["128-64"] = (0.3546, 0.8861)


def invented(folder, figures, more):
    """The rows and the Markdown of the four published stacks with these (losses, accuracies) of validation, by seed."""
    folder.mkdir(exist_ok=True)
    made = sweeping.Made(folder, FOUR.format(more=more))
    for name, (losses, accuracies) in figures.items():
        trials = [trial for trial in made.plan if trial.architecture.name == name]
        for trial, loss, accuracy in zip(trials, losses, accuracies, strict=True):
            both = {"val_loss": loss, "test_loss": loss, "val_accuracy": accuracy, "test_accuracy": accuracy}
            record = made.record(trial, **both)
            made.records[record.fingerprint] = record
    rows = table.make_table(made.state, made.results)
    return {row["architecture"]: row for row in rows}, table.markdown(made.state, rows)


@pytest.mark.parametrize(("select_by", "best"), [("val_accuracy", "64-128-64-32"), ("val_loss", "128-64")])
def test_a_one_training_each_ranks_nothing(tmp_path, select_by, best):
    """A ranks four stacks by one training each, and its loss and its accuracy rank them in opposite order."""
    single = {name: ([loss], [accuracy]) for name, (loss, accuracy) in FIGURES.items()}
    rows, markdown = invented(tmp_path, single, f"seeds: 1\nselect_by: {select_by}")
    assert {name: row["verdict"] for name, row in rows.items()} == dict.fromkeys(FIGURES, "too few seeds") | {
        best: "best"
    }
    assert {row["test_accuracy_ci95_low"] for row in rows.values()} == {None}
    assert {row["behind_best_ci95_low"] for row in rows.values()} == {None}
    assert f"Best by {select_by}, never by test images" in markdown
    assert "One seed cannot tell architectures apart" in markdown
    assert "±" not in markdown.split("\n\n")[1]


def test_a_differences_within_the_noise_of_seeds_are_undecided(tmp_path):
    """A's accuracies lie within 0.0055, a seed moves such a net by 0.0025: equal stacks can differ so too."""
    noise = 0.0025 * np.random.default_rng(3).standard_normal((4, 5))
    equal = {name: ([0.38] * 5, (0.885 + noise[i]).tolist()) for i, name in enumerate(FIGURES)}
    assert np.ptp(noise[:, 0]) > 0.0055, "single trainings of these differ as much as A's"
    rows, _ = invented(tmp_path / "equal", equal, "seeds: 5")
    assert sorted(row["verdict"] for row in rows.values()) == ["best", *["undecided"] * 3]
    one_apart = equal | {"64-32": ([0.38] * 5, (0.865 + noise[2]).tolist())}
    rows, _ = invented(tmp_path / "one apart", one_apart, "seeds: 5")
    assert [name for name, row in rows.items() if row["verdict"] == "worse"] == ["64-32"]


def test_a_the_cross_validation_that_is_asked_for_is_in_the_table(tmp_path):
    """A promises a cross-validation score and gives none."""
    folds = {
        name: ([loss] * 3, [accuracy - 0.01, accuracy, accuracy + 0.01]) for name, (loss, accuracy) in FIGURES.items()
    }
    rows, markdown = invented(tmp_path, folds, "seeds: 1\nfolds: 3")
    assert {name: row["cv_accuracy"] for name, row in rows.items()} == pytest.approx(
        {name: accuracy for name, (_, accuracy) in FIGURES.items()}
    )
    assert "cv accuracy" in markdown


# ---- C: rounded figures --------------------------------------------------------------------------------------------


def test_c_figures_are_rounded_for_people_only_and_then_to_four_digits(tmp_path):
    """C says 89 where it measured 0.8850."""
    figures = {name: ([1 / 3], [0.88497]) for name in FIGURES}
    rows, markdown = invented(tmp_path, figures, "seeds: 1")
    (line,) = (line for line in table.csv_text(table.RESULTS_COLUMNS, [rows["64-32"]]).splitlines() if "64-32" in line)
    cells = dict(zip((column.name for column in table.RESULTS_COLUMNS), line.split(","), strict=True))
    assert cells["test_accuracy"] == cells["val_accuracy"] == "0.88497"
    assert cells["test_loss"] == "0.3333333333333333"
    assert "| 0.8850 |" in markdown
    assert not re.search(r"\| 0?\.?8[89]\d? \|", markdown)

"""`python -m fmnist_mlp spread`: what of the spread over seeds is real; from records alone."""

import re

import numpy as np
import pytest
from sweeping import Made

from fmnist_mlp.cli.console import DONE, USER_ERROR
from fmnist_mlp.cli.verbs import verbs

SWEEP = "seeds: {}\narchitectures:\n  - {{name: steady, layers: [8]}}\n  - {{name: shaky, layers: [16]}}\n"
SKILL = {"steady": [0.8] * 6, "shaky": [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]}


@pytest.fixture
def trained(tmp_path):
    """A sweep whose models are right on a share of 2,000 test images, equally often with each seed or not."""

    def train(seeds=6, lacking=()):
        made, rng = Made(tmp_path, SWEEP.format(seeds)), np.random.default_rng(0)
        for trial in made.plan:
            correct = rng.random(2000) < SKILL[trial.architecture.name][trial.seed]
            made.put(made.record(trial, test_accuracy=float(correct.mean())), correct=correct)
            if trial.architecture.name in lacking:
                (made.results.record_folder(trial.fingerprint) / "predictions.npz").unlink()
        made.write_tables()
        return made

    return train


def spread(made, *arguments, name="small"):
    return verbs(["spread", name, "--results-dir", str(made.results.root), *arguments])


def rows_on_screen(text):
    """By the name in front: seeds, then (value, low, high) on these images and between models, luck, share."""
    rows = {}
    for line in text.splitlines():
        if match := re.match(r"(steady|shaky|all together) +(\d*) ", line):
            rows[match[1]] = [float(number) for number in re.findall(r"[\d.]+", line[len(match[1]) :])]
    return rows


def test_it_prints_what_is_real_and_what_is_luck_of_each_architecture_and_together(trained, capsys):
    made = trained()
    assert spread(made) == DONE
    text = capsys.readouterr().out
    rows = rows_on_screen(text)
    assert list(rows) == ["steady", "shaky", "all together"]
    for name, row in rows.items():
        on_images, low, high, models, low_models, high_models, luck, share = row[len(row) - 8 :]
        assert low <= on_images <= high
        assert low_models <= models <= high_models
        if models > 0:
            assert on_images**2 == pytest.approx(models**2 + luck**2, abs=2e-5)
            assert share == pytest.approx(100 * models**2 / on_images**2, abs=2), name
    skill = np.std(SKILL["shaky"], ddof=1)
    assert rows["shaky"][0] == 6
    assert rows["shaky"][4] == pytest.approx(skill, rel=0.1), "between models"
    assert rows["steady"][7] == pytest.approx(np.sqrt(0.8 * 0.2 / 2000), rel=0.1), "luck"
    assert rows["steady"][4] < 0.01


def test_it_needs_no_sweep_file_and_no_remembered_table(trained, capsys):
    made = trained()
    assert spread(made) == DONE
    before = capsys.readouterr().out
    (made.folder / "results.csv").unlink()
    assert spread(made) == DONE
    assert capsys.readouterr().out == before


def test_an_architecture_whose_predictions_are_gone_is_left_out_and_named(trained, capsys):
    assert spread(trained(lacking=["shaky"])) == DONE
    text = capsys.readouterr().out
    assert list(rows_on_screen(text)) == ["steady"]
    assert "left out, with fewer than two seeds or without predictions: shaky" in text


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"seeds": 1}, "one seed has no spread: ask for more in the sweep file (seeds: 5) and run python sweep.py"),
        ({"lacking": ["shaky", "steady"]}, "the predictions of its trials are missing or damaged"),
    ],
    ids=["one seed", "no predictions"],
)
def test_what_has_no_spread_is_an_error_for_people(how, said, trained, capsys):
    assert spread(trained(**how)) == USER_ERROR
    assert said in capsys.readouterr().err


def test_a_sweep_that_is_not_there_is_named_with_those_that_are(trained, capsys):
    assert spread(trained(), name="other") == USER_ERROR
    assert "no results of a sweep 'other'" in capsys.readouterr().err

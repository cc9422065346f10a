"""What a sweep found and what its verdicts promise, in sentences."""

import dataclasses

import numpy as np
import pytest
from tabulating import made_of, rows_of

from fmnist_mlp.results import sentences


def found(made):
    return sentences.found(made.state, rows_of(made))


def promised(made):
    return sentences.promised(made.state, rows_of(made))


LEVELS = np.array([0.80, 0.81, 0.82, 0.83, 0.84])
STEADY = 0.001 * np.array([1, -1, 1, -1, 0])


@pytest.mark.parametrize(
    ("figures", "more", "said"),
    [
        ({"a": [0.8], "b": [None]}, "", []),
        ({"a": [0.8], "b": [0.7]}, "", ["The first by val_accuracy is a; the other is judged by too few seeds."]),
        ({"a": LEVELS, "b": LEVELS - 0.1}, "", ["The best by val_accuracy is a; the other is shown to be worse."]),
        (
            {"a": LEVELS, "b": LEVELS - 0.1, "c": LEVELS - 0.2},
            "margin: 0.01",
            [
                "The best by val_accuracy is a; both others are shown to be worse.",
                "No cheaper one is shown to be less than 0.01 behind it.",
            ],
        ),
        (
            {"a": LEVELS - 0.001, "b": LEVELS},
            "margin: 0.01",
            [
                "The best by val_accuracy is b; the other is worse, but by less than 0.01.",
                "The cheapest that is less than 0.01 behind: a, with 280 parameters and 548 FLOPs.",
            ],
        ),
    ],
    ids=["one trained", "one seed", "two", "the best is the cheapest", "a cheaper one will do"],
)
def test_the_head_says_what_is_best_and_what_will_do(figures, more, said, tmp_path):
    made = made_of(tmp_path, figures, more=more)
    assert found(made) == [line.replace("548", f"{made.sizes['a'].flops:,}") for line in said]


def test_the_cheapest_by_each_cost_may_be_two(tmp_path):
    made = made_of(tmp_path, dict.fromkeys("abc", LEVELS), more="margin: 0.01")
    made.sizes["a"] = dataclasses.replace(made.sizes["a"], flops=10**6)
    a, b = made.sizes["a"].params, made.sizes["b"].flops
    assert found(made)[1] == f"The cheapest that is less than 0.01 behind: a by parameters ({a:,}); b by FLOPs ({b:,})."
    rows = rows_of(made)
    assert [row["cheapest"] for row in rows] == ["params", "flops", None]


def test_spreads_of_which_one_is_more_than_three_times_another_are_said(tmp_path):
    wild = made_of(tmp_path / "wild", {"a": LEVELS[0] + STEADY, "b": LEVELS[0] - 4 * STEADY})
    assert promised(wild)[-1] == (
        "Spreads over seeds differ: that of b is 4.0 times that of a. Verdicts allow for it: each pair is judged by "
        "its own spread too."
    )
    alike = made_of(tmp_path / "alike", {"a": LEVELS[0] + STEADY, "b": LEVELS[0] - 2.9 * STEADY})
    assert len(promised(alike)) == 1
    few = made_of(tmp_path / "few", {"a": LEVELS[0] + STEADY[:4], "b": LEVELS[0] - 9 * STEADY[:4]})
    assert len(promised(few)) == 1, "of four seeds a ratio means little"

"""`results.md`: the table as Markdown, the notes below it, and which rows did not run like the rest."""

import dataclasses
import re

import pytest
from sweeping import Made
from tabulating import FEW, OPEN, invent, keep, made_of, rows_of, sweep_text

from fmnist_mlp.results import cautions, table
from fmnist_mlp.sweepfile.names import name_problem

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


# ---- notes

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


@pytest.mark.slow
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

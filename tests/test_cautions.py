"""What makes a figure of the table better than it should be: said by name where it holds, and nowhere else."""

import dataclasses

import pytest
from sweeping import Made

from fmnist_mlp.results import cautions, table
from fmnist_mlp.results.columns import verdict_in_words
from fmnist_mlp.sweepfile.trials import list_refits

CHOICE = (
    "The best, {}, was chosen by these very trials, so its test accuracy is a little too good (after selection); "
    "refits, with fresh seeds, give a clean figure (refit: true)."
)


def made_of(folder, figures, more="", keys=lambda name: ""):
    """A sweep of stacks with these validation accuracies, one a seed: None is not trained, "failed" failed."""
    folder.mkdir(exist_ok=True)
    listed = [f"- {{name: {name}, layers: [{4 + i}]{keys(name)}}}" for i, name in enumerate(figures)]
    seeds = len(next(iter(figures.values())))
    made = Made(folder, "\n".join([f"seeds: {seeds}", more, "architectures:", *listed, ""]))
    by_name = {name: iter(values) for name, values in figures.items()}
    for trial in made.plan:
        value = next(by_name[trial.architecture.name])
        if value is not None:
            made.put(made.record(trial, failed=True) if value == "failed" else made.record(trial, val_accuracy=value))
    return made


def with_refits(made, **accuracies):
    """The state with refits of these architectures, of which those without an accuracy failed."""
    chosen = [item for item in made.sweep.architectures if item.name in accuracies]
    refits = list_refits(made.sweep, chosen, data_identity="tiny")
    for trial in refits:
        accuracy = accuracies[trial.architecture.name]
        figures = {"failed": True} if accuracy is None else {"test_accuracy": accuracy}
        made.put(made.record(trial, **figures))
    return dataclasses.replace(made.state, refits=refits)


def notes(made, state=None):
    state = state or made.state
    return cautions.cautions(state, table.make_table(state, made.results))


def by_name(made):
    return {row.architecture: row for row in table.make_table(made.state, made.results)}


# ---- the choice


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        pytest.param({"a": [0.8, 0.9], "b": [0.85, 0.95]}, [CHOICE.format("b")], id="two"),
        pytest.param({"a": [0.9], "b": [0.8], "c": [0.7]}, [CHOICE.format("a")], id="one seed"),
        pytest.param({"a": [0.8, 0.9]}, [], id="one architecture is no choice"),
        pytest.param({"a": [0.8, 0.9], "b": [None, None]}, [], id="one is trained"),
        pytest.param({"a": [0.8, 0.9], "b": ["failed", "failed"]}, [], id="all of the other failed"),
        pytest.param({"a": [None], "b": [None]}, [], id="nothing is trained"),
    ],
)
def test_the_best_of_several_has_a_test_figure_after_selection(figures, said, tmp_path):
    made = made_of(tmp_path, figures)
    assert notes(made) == said
    rows = table.make_table(made.state, made.results)
    assert [line for line in table.notes(made.state, rows) if "after selection" in line] == said
    assert ("after selection" in table.markdown(made.state, rows)) == bool(said)


def test_while_trials_run_nothing_is_the_best_yet(tmp_path):
    made = made_of(tmp_path, {"a": [0.8, 0.9], "b": [0.85, 0.95]})
    assert cautions.of_the_choice(table.make_table(made.state, made.results, is_final=False)) == []


def test_refits_beside_the_best_make_its_figure_clean_and_those_of_others_do_not(tmp_path):
    figures = {"a": [0.8, 0.9], "b": [0.85, 0.95]}
    made = made_of(tmp_path / "best", figures, more="refit: true")
    assert notes(made, with_refits(made, b=0.5)) == []
    made = made_of(tmp_path / "failed", figures, more="refit: true")
    assert notes(made, with_refits(made, b=None)) == [CHOICE.format("b")]
    made = made_of(tmp_path / "other", figures, more="refit: all")
    assert notes(made, with_refits(made, a=0.5, b=None)) == [CHOICE.format("b")]


def test_the_figure_in_the_csv_stays_a_number(tmp_path):
    made = made_of(tmp_path, {"a": [0.8, 0.9], "b": [0.85, 0.95]})
    table.write_tables(made.state, made.results)
    text = (made.results.sweep_folder(made.sweep) / "results.csv").read_text()
    assert "selection" not in text
    header, *lines = [line.split(",") for line in text.splitlines()]
    assert [float(line[header.index("test_accuracy")]) for line in lines] == [
        pytest.approx(row.test_accuracy.mean) for row in by_name(made).values()
    ]


# ---- the best epoch


@pytest.mark.parametrize(
    ("stopped", "named"),
    [
        ({"a": "{patience: 2}"}, "a"),
        ({"a": "{patience: 2}", "c": "{patience: 1, monitor: val_accuracy}"}, "a, c"),
        ({"a": "{patience: 2}", "b": "{patience: 2, restore_best_weights: false}"}, "a"),
        ({"a": "{patience: 2}", "b": "{patience: 2}", "c": "{patience: 2}"}, None),  # all alike
        ({"a": "{patience: 2, restore_best_weights: false}"}, None),  # the last epoch's, as all others
        ({"d": "{patience: 2}"}, None),  # not trained, so not compared
        ({}, None),
    ],
)
def test_rows_with_the_best_epoch_are_named_beside_rows_with_the_last(stopped, named, tmp_path):
    figures = {"a": [0.8, 0.9], "b": [0.85, 0.95], "c": [0.7, 0.8], "d": [None, None]}
    keys = {name: f", early_stopping: {words}" for name, words in stopped.items()}
    made = made_of(tmp_path, figures, keys=lambda name: keys.get(name, ""))
    said = [note for note in notes(made) if "early_stopping" in note]
    assert [note.partition(" by validation of ")[2].partition(", which")[0] for note in said] == [named] * bool(named)


def test_baselines_have_the_last_of_everything(tmp_path):
    made = Made(
        tmp_path,
        "seeds: 2\ntraining: {early_stopping: {patience: 2}}\narchitectures: [[8]]\nbaselines: [LogisticRegression]\n",
    )
    for trial in made.plan:
        made.put(made.record(trial, val_accuracy=0.5 + trial.seed / 10))
    (said,) = [note for note in notes(made) if "early_stopping" in note]
    assert "by validation of 8, which" in said


# ---- failures


def test_a_verdict_says_that_trials_failed_and_a_note_what_that_means(tmp_path):
    figures = {
        "a": [0.90, 0.91, 0.92, "failed", "failed"],
        "b": [0.80, 0.81, 0.82, 0.83, 0.84],
        "c": [0.70, "failed", None, 0.72, 0.71],
        "d": ["failed"] * 5,
    }
    made = made_of(tmp_path, figures)
    words = {name: verdict_in_words(row) for name, row in by_name(made).items()}
    in_short = {name: verdict_in_words(row, in_short=True) for name, row in by_name(made).items()}
    assert words["a"] == "best; 2 of 5 trials failed, judged on the others"
    assert in_short["a"] == "best; 2 of 5 failed"
    assert words["b"].startswith("worse by ")
    assert "failed" not in words["b"] + in_short["b"]
    assert words["c"].endswith("); 1 of 4 trials failed, judged on the others")  # one is not trained yet
    assert words["d"] == in_short["d"] == "failed"  # judged on none
    assert notes(made)[0] == (
        "Trials failed (a 2 of 5, c 1 of 4): what diverges on some seeds is judged on those that survived, so it may "
        "be worse than it looks."
    )


def test_where_nothing_failed_nothing_is_said_of_failures(tmp_path):
    made = made_of(tmp_path, {"a": [0.8, 0.9], "b": [0.85, None], "c": ["failed", "failed"]})
    assert cautions.of_failures(table.make_table(made.state, made.results)) == []

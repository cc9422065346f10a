"""The tables as files: their columns, epochs and classes, what pandas reads of them."""

import dataclasses
import io
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sweeping import Made
from tabulating import TEXT, invent, keep, made_of, read, sweep_text

from fmnist_mlp.results import columns, table
from fmnist_mlp.results.record import ClassScores, Latency

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

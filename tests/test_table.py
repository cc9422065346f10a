"""The table: its columns, means and verdicts, what pandas reads of it, what people read of it."""

import math
import statistics

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fmnist_mlp import table

# ---- files


def test_the_tables_are_the_same_bytes_again_and_are_then_left_alone(made):
    made.put_all()
    made.write_tables()
    paths = [made.folder / "results.csv", made.folder / "trials.csv"]
    before = [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]
    made.records = dict(reversed(made.records.items()))
    made.write_tables()
    assert [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths] == before


def test_the_table_begins_with_architecture_layers_parameters_and_test_figures(made):
    made.put_all()
    made.write_tables()
    header, *rows = (made.folder / "results.csv").read_text().splitlines()
    assert header.startswith("architecture,layers,params,test_loss,test_accuracy,")
    assert header.split(",") == [column.name for column in table.RESULTS_COLUMNS]
    assert [row.split(",")[:2] for row in rows] == [["8", "8"], ["deep", "8-bn-4"]]
    header = (made.folder / "trials.csv").read_text().splitlines()[0]
    assert header.split(",") == [column.name for column in table.TRIALS_COLUMNS]


TEXT = {"architecture", "layers", "dataset", "status", "weights", "loop", "device", "tensorflow", "keras", "error"}
TEXT |= {"fingerprint", "started_at", "verdict", "pareto", "mixed", "class_name"}


@pytest.mark.parametrize("state", ["all done", "one failed", "nothing yet"])
def test_pandas_reads_plain_numbers_without_options(state, made):
    import pandas

    if state != "nothing yet":
        made.put_all()
    if state == "one failed":
        made.put(made.record(made.plan[0], failed=True))
    made.write_tables()
    for name in ("results.csv", "trials.csv"):
        table = pandas.read_csv(made.folder / name)
        for column in table.columns:
            if column in TEXT or not len(table):
                continue
            assert pandas.api.types.is_numeric_dtype(table[column]), (name, column, table[column].dtype)
    table = pandas.read_csv(made.folder / "results.csv")
    assert table.params.tolist() == [made.sizes[name].params for name in ("8", "deep")]
    for column in ("params", "trials", "failed", "trainable_params", "flops"):
        assert pandas.api.types.is_integer_dtype(table[column])


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loss=st.floats(0, 1e6, exclude_min=True, allow_subnormal=False), accuracy=st.integers(0, 10_000))
@example(loss=0.1 + 0.2, accuracy=8901)
def test_pandas_reads_every_number_back_to_the_same_bits(loss, accuracy, made):
    import pandas

    made.put(made.record(made.plan[0], test_loss=loss, test_accuracy=accuracy / 10_000))
    made.write_tables()
    row = pandas.read_csv(made.folder / "trials.csv").iloc[0]
    assert row.test_loss == loss
    assert row.test_accuracy == accuracy / 10_000


def test_an_error_of_many_lines_stays_one_row(made):
    import pandas

    made.put(made.record(made.plan[0], failed=True))
    made.write_tables()
    assert pandas.read_csv(made.folder / "trials.csv").error.tolist() == ["loss became nan"]
    assert len((made.folder / "trials.csv").read_text().splitlines()) == 2


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


def test_the_only_epoch_of_a_trial_is_its_median(made):
    made.put(made.record(made.plan[0], epochs=1, seconds=4.0))
    assert table.trial_rows(made.state)[0]["epoch_seconds"] == 2.0

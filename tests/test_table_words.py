"""The table for people: rows sorted by any column, verdicts, means and intervals in words written by hand."""

import re

import pytest
from sweeping import Made
from tabulating import FEW, OPEN, TEXT, invent, sweep_text

from fmnist_mlp.results import columns, table
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.record import Latency

# ---- for people: sorting


def is_better_when_higher(column):
    if column == "images_per_second":
        return True
    return bool(re.match(r"(refit_|ensemble_)?(test|val|cv)_(accuracy|macro_)", column)) and not column.endswith("_std")


@pytest.mark.parametrize("column", [column.name for column in columns.RESULTS_COLUMNS])
def test_rows_are_sorted_best_first_by_any_column(column):
    cells = ["b", None, "a", "c", "a", None, "b"] if column in TEXT else [2, None, 0.5, -1, 0.5, None, 2.0]
    rows = [row_with(**{column: cell}) for cell in cells]
    ordered = columns.sort_rows(tuple(rows), column)
    # Equals stay in the order of the sweep file, and so do those of which nothing is known.
    expected = [3, 2, 4, 0, 6, 1, 5] if column not in TEXT else [2, 4, 0, 6, 3, 1, 5]
    if is_better_when_higher(column):
        expected = [0, 6, 2, 4, 3, 1, 5]
    assert [id(row) for row in ordered] == [id(rows[number]) for number in expected]


@pytest.mark.parametrize("column", [column.name for column in columns.RESULTS_COLUMNS])
def test_a_table_of_every_kind_of_row_is_sorted_by_any_column(column, tmp_path):
    made = Made(tmp_path, sweep_text("hgfedcba", seeds=2))
    invent(made, seed=1, kinds=["done", "done", "failed", "none"])
    made.latencies["f"] = Latency(latency_seconds=0.2)
    rows = table.make_table(made.state, made.results, is_final=False)
    assert {row["trials"] for row in rows} == {0, 1, 2}
    ordered = columns.sort_rows(rows, column)
    assert sorted(row["architecture"] for row in ordered) == [*"abcdefgh"]
    assert [row[column] is None for row in ordered] == sorted(row[column] is None for row in rows)


def test_nothing_is_sorted_to_nothing():
    assert columns.sort_rows([], "test_accuracy") == []


# ---- for people: words


def row_with(**cells):
    """A row with these cells, by the names of columns; of any type, and None in all others that need not be there."""
    row = columns.TableRow.model_construct(architecture="a", layers="", params=1, trials=1, failed=0, dataset="")
    for column, cell in cells.items():
        field, suffix = re.fullmatch(r"(.+?)(_std|_ci95_low|_ci95_high|)", column).groups()
        field = column if column == "test_accuracy_luck_std" else field
        suffix = "" if column == "test_accuracy_luck_std" else suffix
        before = getattr(row, field, None)
        part = {"": "mean", "_std": "std", "_ci95_low": "low", "_ci95_high": "high"}[suffix]
        value = before._replace(**{part: cell}) if isinstance(before, tuple) else cell
        row = row.model_copy(update={field: value})
    return row


@pytest.mark.parametrize(
    ("verdict", "behind", "seeds_needed", "words", "in_short"),
    [
        ("best", (0.0,), None, "best", "best"),
        ("worse", (0.0042, 0.0011, 0.0073), None, "worse by 0.0042 (0.0011 to 0.0073)", "worse by 0.0042"),
        ("worse", (12.5, 12.5, 12.5), None, "worse by 12.5000 (12.5000 to 12.5000)", "worse by 12.5000"),
        (
            OPEN,
            (1e-3, -1, 1),
            14,
            "undecided (-1.0000 to 1.0000; 14 seeds would show the margin)",
            "undecided (14 seeds)",
        ),
        (
            OPEN,
            (0, -1, 1),
            10_000,
            "undecided (-1.0000 to 1.0000; 10,000+ seeds would show the margin)",
            "undecided (10,000+ seeds)",
        ),
        (OPEN, (0, -1, 1), None, "undecided (-1.0000 to 1.0000)", "undecided"),
        ("equivalent", (0, -0.1, 0.1), None, "equivalent (-0.1000 to 0.1000)", "equivalent"),
        (FEW, (0.1,), None, "too few seeds (0.1000 behind)", "too few seeds (0.1000 behind)"),
        *((word, (), None, word, word) for word in ("not trained", "failed", "over budget")),
        (None, (), None, "", ""),
    ],
)
def test_verdicts_in_words(verdict, behind, seeds_needed, words, in_short):
    row = row_with(verdict=verdict, seeds_needed=seeds_needed).model_copy(
        update={"behind_best": metrics.Difference(*behind)}
    )
    assert (columns.verdict_in_words(row), columns.verdict_in_words(row, in_short=True)) == (words, in_short)


@pytest.mark.parametrize(
    ("mean", "std", "digits", "words"),
    [
        (0.87866, 0.00443, 4, "0.8787 ± 0.0044"),
        (0.38868, 0.01004, 3, "0.389 ± 0.010"),
        (0.5, 0.0, 4, "0.5000 ± 0.0000"),
        (0.5, None, 4, "0.5000"),
        (0.0, None, 3, "0.000"),
        (None, None, 4, ""),
        (1234.5, 0.25, 1, "1234.5 ± 0.2"),
    ],
)
def test_a_mean_with_its_spread_in_words(mean, std, digits, words):
    assert columns.with_spread(row_with(test_loss=mean, test_loss_std=std).test_loss, digits) == words


@pytest.mark.parametrize(
    ("cell", "words"), [("params", "parameters"), ("flops", "FLOPs"), ("params flops", "both"), (None, "")]
)
def test_pareto_in_words(cell, words):
    assert columns.BY_NAME["pareto"].words(row_with(pareto=cell)) == words


def test_an_interval_in_words():
    row = row_with(test_accuracy_ci95_low=0.87321, test_accuracy_ci95_high=0.88412)
    assert columns.interval_in_words(row.test_accuracy) == "0.8732 to 0.8841"
    assert columns.interval_in_words(row.val_loss) == ""

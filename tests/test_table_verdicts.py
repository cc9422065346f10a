"""What the table decides: verdicts, what no other row beats, the best trial; against comparisons made without it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeping import Made
from tabulating import FEW, OPEN, VALIDATION, invent, keep, made_of, read, rows_of, sweep_text

from fmnist_mlp.results import boundaries, columns, ranking, sentences, table, verdicts
from fmnist_mlp.results.record import METRICS
from fmnist_mlp.sweepfile import sweep as sweep_module
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.trials import list_trials

# ---- verdicts

NO_VERDICT = ("verdict", "behind_best", "behind_best_ci95_low", "behind_best_ci95_high", "seeds_needed")
NO_VERDICT += ("test_behind_best", "test_behind_best_ci95_low", "test_behind_best_ci95_high")


@pytest.mark.parametrize(
    ("select_by", "seeds", "folds"),
    [
        ("val_accuracy", 6, None),
        ("val_loss", 6, None),
        ("cv_accuracy", 6, 3),
        ("val_accuracy", 6, 2),
        ("val_loss", 6, 2),
    ],
)
def test_verdicts_are_drawn_from_what_selects_with_folds_from_a_seeds_mean(select_by, seeds, folds, tmp_path):
    rng = np.random.default_rng(2)
    goodness = np.array([0.3, 0.795, 0.8])[:, None] + 0.05 * rng.normal(size=6) + 0.01 * rng.normal(size=(3, 6))
    in_fold = 0.2 * rng.normal(size=(3, 6, folds or 1))  # some folds are harder, by much more than any difference
    of_folds = goodness[:, :, None] + in_fold - in_fold.mean(axis=2, keepdims=True)
    figures = (2 - of_folds if select_by == "val_loss" else of_folds).reshape(3, -1)
    made = made_of(tmp_path, dict(zip("abc", figures, strict=True)), folds=folds, select_by=select_by)
    rows = rows_of(made)
    levels = boundaries.levels(3, [6])
    look = verdicts.Look(levels.stacks, levels.range[0], levels.pair[0])
    expected = verdicts.compare_with_best(
        {name: dict(enumerate(row)) for name, row in zip("abc", goodness, strict=True)}, look
    )
    assert [row["verdict"] for row in rows] == ["worse", "undecided", "best"]
    for row, comparison in zip(rows, expected.values(), strict=True):
        assert row["verdict"] == comparison.verdict
        assert row["behind_best"] == pytest.approx(comparison.behind, abs=1e-12)
        ends = (row["behind_best_ci95_low"], row["behind_best_ci95_high"])
        assert ends == (pytest.approx((comparison.low, comparison.high)) if comparison.low else (None, None))
    assert {row["seeds_needed"] for row in rows} == {None}


@pytest.mark.parametrize("folds", [None, 3])
def test_what_is_missing_or_failed_is_left_out_of_the_comparison(folds, tmp_path):
    rng = np.random.default_rng(4)
    values = 0.8 + 0.05 * rng.normal(size=6) + 0.01 * rng.normal(size=(3, 6)) + np.array([[0.0], [-0.02], [-0.2]])
    figures = dict(zip("abc", values.astype(object), strict=True))
    figures["a"][[0, 5]] = None, "failed"
    figures["b"][1] = "failed"
    figures["c"][[2, 3]] = None
    rows = rows_of(made_of(tmp_path, {n: np.repeat(row, folds or 1) for n, row in figures.items()}, folds=folds))
    known = {
        name: {seed: value for seed, value in enumerate(row) if isinstance(value, float)}
        for name, row in figures.items()
    }
    levels = boundaries.levels(3, [6])
    expected = verdicts.compare_with_best(known, verdicts.Look(3, levels.range[0], levels.pair[0]))
    assert [row["trials"] for row in rows] == [n * (folds or 1) for n in (4, 5, 4)]
    assert [row["failed"] for row in rows] == [n * (folds or 1) for n in (1, 1, 0)]
    assert [row["verdict"] for row in rows] == [comparison.verdict for comparison in expected.values()]
    assert [row["behind_best"] for row in rows] == pytest.approx([c.behind for c in expected.values()])


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        pytest.param({"a": [0.8, 0.9]}, ["best"], id="one architecture"),
        pytest.param({"a": [0.8]}, ["best"], id="one trial"),
        pytest.param({"a": [0.7], "b": [0.8]}, [FEW, "best"], id="one seed"),
        pytest.param({"a": [0.8, None], "b": [None, 0.7]}, ["best", FEW], id="no seed in common"),
        pytest.param({"a": [0.8, 0.9], "b": ["failed", 0.7]}, ["best", FEW], id="one seed in common"),
        pytest.param({"a": [0.8, 0.9], "b": ["failed", "failed"]}, ["best", "failed"], id="one failed whole"),
        pytest.param({"a": [0.8, 0.9], "b": ["failed", None]}, ["best", "failed"], id="one failed, not to its end"),
        pytest.param({"a": [0.8, 0.9], "b": [None, None]}, ["best", "not trained"], id="one not trained"),
        pytest.param({"a": ["failed"], "b": ["failed"]}, ["failed", "failed"], id="all failed"),
        pytest.param({"a": [None], "b": [None]}, ["not trained", "not trained"], id="nothing trained"),
        pytest.param({"a": ["failed"], "b": [None]}, ["failed", "not trained"], id="no trial done"),
        pytest.param({"a": [0.8, 0.9], "b": [0.7, 0.8]}, ["best", FEW], id="two seeds"),
        pytest.param({"a": [0.8, 0.9, 0.7], "b": [0.8, 0.9, 0.7]}, ["best", OPEN], id="equal on every seed"),
        pytest.param({"a": [0.8, 0.9, 0.7], "b": [0.9, 0.7, 0.8]}, ["best", OPEN], id="equal in the mean"),
        pytest.param({"a": [0.8, 0.9, 0.7], "b": [0.7, 0.8, 0.6]}, ["best", "worse"], id="apart by the same"),
        pytest.param({"a": [0.0] * 3, "b": [0.0] * 3}, ["best", OPEN], id="all zero"),
    ],
)
def test_every_row_has_the_verdict_that_its_trials_allow(figures, expected, tmp_path):
    rows = rows_of(made_of(tmp_path, figures))
    assert [row["architecture"] for row in rows] == [*figures]
    assert [row["verdict"] for row in rows] == expected
    for row, verdict in zip(rows, expected, strict=True):
        is_compared = verdict in (OPEN, "worse") or (verdict == FEW and [*figures.values()][1] == [0.7, 0.8])
        assert (row["behind_best"] is not None) == (row["trials"] > 0)
        assert (row["behind_best_ci95_low"] is not None, row["behind_best_ci95_high"] is not None) == (is_compared,) * 2
        if verdict == "best":
            assert row["behind_best"] == 0
        assert row["seeds_needed"] is None, "no margin is named"


def test_one_seed_says_how_far_behind_but_not_whether_it_means_anything(tmp_path):
    rows = rows_of(made_of(tmp_path, {"a": [0.75], "b": [0.875]}))
    assert [row["behind_best"] for row in rows] == [0.125, 0.0]


def test_an_architecture_over_budget_is_listed_and_in_nothing(tmp_path):
    made = Made(tmp_path, sweep_text("abc", seeds=2, more="max_params: 700"))
    over_budget = sweep_module.over_budget(made.sweep, made.sizes)
    assert over_budget == {name for name in "abc" if made.sizes[name].params > 700} == {"c"}
    made.plan = list_trials(made.sweep, data_identity="tiny", skip=over_budget)
    invent(made, seed=0)
    rows = rows_of(made, over_budget=over_budget)
    assert [row["architecture"] for row in rows] == ["a", "b", "c"]
    kept = {"architecture", "layers", "params", "trainable_params", "flops", "dataset", "trials", "failed", "verdict"}
    for row in rows:
        if row["architecture"] in over_budget:
            assert row["verdict"] == "over budget"
            assert (row["trials"], row["failed"]) == (0, 0)
            assert {row[name] for name in columns.BY_NAME if name not in kept} == {None}
        else:
            assert row["verdict"] in verdicts.Verdict.__args__


def test_test_images_decide_nothing(tmp_path):
    """The same validation with the test figures of another architecture, and with those of none worth having."""

    def made_with(name, test_figures):
        folder = tmp_path / name
        made = made_of(folder, VALIDATION, others=lambda a, i: {k: test_figures[a][i] for k in METRICS if "test" in k})
        for n, record in enumerate(made.records.values()):
            made.put(record, correct=np.random.default_rng([len(name), n]).random(9) < test_figures["a"][0])
        made.write_tables()
        return made

    rng = np.random.default_rng(0)
    figures = rng.random((3, 3))
    seen = []
    for name, order in (("as it is", [0, 1, 2]), ("turned", [2, 0, 1]), ("swapped", [1, 0, 2])):
        made = made_with(name, dict(zip("abc", figures[order], strict=True)))
        frame = read(made, "results.csv")
        assert frame.test_behind_best.notna().sum() == 2
        decided = frame[["architecture", "verdict", "behind_best", "behind_best_ci95_low", "seeds_needed", "pareto"]]
        best = {architecture: trial.seed for architecture, trial in ranking.rank(made.state).best_trials.items()}
        lines = (made.folder / "results.md").read_text().splitlines()
        order_of_rows = [line.split("|")[1] for line in lines if line.startswith("| ")]
        seen.append((decided.to_csv(), best, order_of_rows, frame.test_accuracy.tolist()))
    assert seen[0][:3] == seen[1][:3] == seen[2][:3]
    assert seen[0][3] != seen[1][3] != seen[2][3]


def test_while_trials_run_there_is_no_verdict_and_nothing_is_remembered(tmp_path):
    made = made_of(tmp_path, VALIDATION | {"d": [None] * 3, "e": ["failed", None, None]})
    rows = table.write_tables(made.state, made.results, is_final=False)
    assert {row[column] for row in rows[:3] for column in NO_VERDICT} == {None}
    assert {row[column] for row in rows[3:] for column in NO_VERDICT[1:]} == {None}
    assert sorted(path.name for path in made.folder.iterdir()) == ["_journal", "results.csv", "trials.csv"]
    final = made.write_tables()
    others = [column.name for column in columns.RESULTS_COLUMNS if column.name not in NO_VERDICT]
    assert [[row[name] for name in others] for row in rows] == [[row[name] for name in others] for row in final]
    before = {name: (made.folder / name).read_bytes() for name in ("results.md", "_comparison.json")}
    made.records.popitem()
    table.write_tables(made.state, made.results, is_final=False)
    assert {name: (made.folder / name).read_bytes() for name in before} == before
    assert read(made, "results.csv").behind_best.isna().all()


def test_a_margin_gives_verdicts_seeds_needed_the_cheapest_and_a_front_of_its_own(tmp_path):
    of_seeds = 0.8 + 0.05 * np.random.default_rng(2).normal(size=8)
    noise = [
        0.0005 * np.tile([1, -1], 4),
        0.0005 * np.tile([1, -1, -1, 1], 2),
        np.zeros(8),
        0.008 * np.repeat([1, -1], 4),
    ]
    behind = [[0.1], [0.012], [0.0], [0.0095]]
    made = made_of(tmp_path, dict(zip("abcd", of_seeds + noise - behind, strict=True)), more="margin: 0.018")
    rows = rows_of(made)
    assert [row["verdict"] for row in rows[:3]] == ["worse", "not worse than the margin", "best"]
    assert (rows[3]["verdict"], rows[3]["seeds_needed"] > 8) == (OPEN, True)
    assert [row["cheapest"] for row in rows] == [None, "params flops", None, None]
    assert [row["pareto"] for row in rows] == ["params flops", "params flops", None, None]
    assert sentences.found(made.state, rows) == [
        "The first by val_accuracy is c; of 3 others, 1 is shown to be worse, 1 is worse, but by less than 0.018, 1 is "
        "undecided.",
        "The cheapest that is less than 0.018 behind: b, with "
        f"{rows[1].params:,} parameters and {rows[1].flops:,} FLOPs.",
    ]


# ---- what no other row beats


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([None, "failed", 0.25, 0.5, 0.75])),
        min_size=4,
        max_size=4,
    ),
    select_by=st.sampled_from(["val_accuracy", "val_loss"]),
)
def test_pareto_names_the_costs_at_which_no_other_row_is_better(rows, select_by, four):
    params, flops, figures = zip(*rows, strict=True)
    sizes = {name: StackSize(p, p, f) for name, p, f in zip("abcd", params, flops, strict=True)}
    four.records = {}
    for trial, figure in zip(four.plan, figures, strict=True):
        if figure is not None:
            keep(four, four.record(trial, failed=figure == "failed", **{select_by: figure}))
    sweep = four.sweep.model_copy(update={"select_by": select_by})
    state = dataclasses.replace(four.state, sweep=sweep, sizes=sizes)

    def is_beaten(i, costs):
        """By a row that is as cheap and as good, and one of the two strictly."""
        sign = 1 if select_by == "val_loss" else -1
        trained = [j for j in range(4) if isinstance(figures[j], float)]
        mine = (costs[i], sign * figures[i])
        theirs = [(costs[j], sign * figures[j]) for j in trained]
        return any(t[0] <= mine[0] and t[1] <= mine[1] and t != mine for t in theirs)

    for i, row in enumerate(table.make_table(state, four.results, is_final=False)):
        if isinstance(figures[i], float):
            best_at = [name for name, costs in (("params", params), ("flops", flops)) if not is_beaten(i, costs)]
            assert row["pareto"] == (" ".join(best_at) or None)
        else:
            assert row["pareto"] is None


@pytest.fixture
def four(tmp_path):
    return Made(tmp_path, sweep_text("abcd", seeds=1))


# ---- the best trial


@pytest.mark.parametrize(
    ("select_by", "figures", "best"),
    [
        ("val_accuracy", [(0.7, 0.1), (0.9, 0.5), (0.8, 0.3)], 1),
        ("val_loss", [(0.7, 0.2), (0.9, 0.5), (0.8, 0.1)], 2),
        ("cv_accuracy", [(0.7, 0.1), (0.8, 0.5), (0.9, 0.3)], 2),
        ("val_accuracy", [(0.9, 0.5), (0.9, 0.1), (0.9, 0.1)], 0),
        ("val_loss", [(0.7, 0.5), (0.8, 0.1), (0.9, 0.1)], 1),
        ("val_accuracy", ["failed", (0.1, 0.9), "failed"], 1),
        ("val_loss", [(0.9, 0.9), None, "failed"], 0),
        ("val_loss", ["failed", None, "failed"], None),
        ("val_loss", [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)], 0),
    ],
)
def test_the_best_trial_is_that_of_the_best_validation_and_of_equals_the_first(select_by, figures, best, tmp_path):
    folds = 3 if select_by == "cv_accuracy" else None
    made = Made(tmp_path, sweep_text("a", seeds=1 if folds else 3, folds=folds, select_by=select_by))
    for i, (trial, figure) in reversed([*enumerate(zip(made.plan, figures, strict=True))]):
        if figure == "failed":
            keep(made, made.record(trial, failed=True))
        elif figure is not None:
            on_test = {"test_accuracy": i / 3, "test_loss": i / 3}
            keep(made, made.record(trial, val_accuracy=figure[0], val_loss=figure[1], **on_test))
    assert ranking.rank(made.state).best_trials == ({} if best is None else {"a": made.plan[best]})

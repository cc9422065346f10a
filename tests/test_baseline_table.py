"""Baselines in the table and under `logs/`, beside an architecture; from records that nobody trained."""

import pytest
from sweeping import Made, done_record, put_record, read_csv, scalars

from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.results import ranking
from fmnist_mlp.sweepfile.in_words import changes
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.sweep import Baseline
from fmnist_mlp.sweepfile.trials import list_trials

BOTH = """
seeds: 2
training: {epochs: 3}
architectures:
  - [8]
baselines:
  - LogisticRegression
  - SVC
  - ExtraTreesClassifier: {n_estimators: 9}
"""


def baseline_record(one, size="", params=None, version="1.9.1", **figures):
    """What `done_record` makes for an architecture, for a baseline."""
    record = done_record(one, dataset="idx:tiny", **figures)
    measured = record.measured | {"epoch_seconds": []}
    changes = {"params": params, "trainable_params": params, "flops": None, "model_bytes": 0, "size": size}
    changes |= {"history": {}, "weights": "", "measured": measured}
    changes |= {"environment": {"device": "cpu", "scikit-learn": version}}
    if one.architecture.name == "SVC":
        changes["metrics"] = {n: None if n.endswith(("loss", "ece")) else v for n, v in record.metrics.items()}
    return type(record).model_validate(record.model_dump() | changes)


@pytest.fixture
def both(tmp_path):
    """One architecture and three baselines, two seeds each, all done."""
    made = Made(tmp_path, BOTH)
    for i, one in enumerate(made.plan):
        figures = {"val_accuracy": 0.8 + i / 100, "test_accuracy": 0.7 + i / 100, "val_loss": 0.5 - i / 100}
        if isinstance(one.architecture, Baseline):
            sizes = {"LogisticRegression": ("", 260 + one.seed), "SVC": ("12 support vectors", None)}
            size, params = sizes.get(one.architecture.name, (f"9 trees, {40 + one.seed} nodes", None))
            record = baseline_record(one, size, params, **figures)
        else:
            record = made.record(one, **figures)
        made.records[one.fingerprint] = record
        folder = put_record(made.results, record)
        if record.is_baseline:
            (folder / "model.keras").unlink()
    return made


def rows_of(made):
    rows = made.write_tables()
    return {row["architecture"]: row for row in rows}, read_csv(made.folder / "trials.csv")


def test_a_baseline_is_a_row_among_the_others(both):
    rows, trials = rows_of(both)
    assert list(rows) == ["8", "LogisticRegression", "SVC", "ExtraTreesClassifier-n_estimators9"]
    assert [row["layers"] for row in rows.values()][1:] == [
        "LogisticRegression()",
        "SVC()",
        "ExtraTreesClassifier(n_estimators=9)",
    ]
    assert [row["params"] for row in rows.values()][1:] == [260, None, None], "260 and 261, rounded to even"
    assert [row["size"] for row in rows.values()] == [None, None, "12 support vectors", "9 trees, 40 nodes"]
    for name in ("flops", "epochs", "model_bytes", "latency_seconds", "epoch_seconds", "images_per_second"):
        assert [row[name] for row in rows.values()][1:] == [None, None, None], name
    assert [row["trials"] for row in rows.values()] == [2] * 4
    assert rows["SVC"]["test_loss"] is None
    assert rows["SVC"]["test_accuracy"] == pytest.approx(0.745)
    assert [one["params"] for one in trials] == [str(both.sizes["8"].params)] * 2 + ["260", "261"] + [""] * 4
    assert [one["epochs"] for one in trials] == ["3", "3"] + [""] * 6
    assert [one["size"] for one in trials][-2:] == ["9 trees, 40 nodes", "9 trees, 41 nodes"]
    assert all(one["loop"] == "" and one["scikit_learn"] == "1.9.1" for one in trials[2:])
    assert {row["mixed"] for row in rows.values()} == {None}


def test_verdicts_compare_baselines_with_architectures(both):
    """Each is two hundredths better than the one before, on both seeds: two are too few to say so."""
    rows, _ = rows_of(both)
    assert [row["verdict"] for row in rows.values()] == [*["too few seeds"] * 3, "best"]
    assert [row["behind_best"] for row in rows.values()] == pytest.approx([0.06, 0.04, 0.02, 0])


def test_a_selection_by_loss_leaves_out_who_has_none(both):
    both.sweep = both.sweep.model_copy(update={"select_by": "val_loss"})
    rows, _ = rows_of(both)
    assert rows["SVC"]["verdict"] == "no loss"
    assert rows["ExtraTreesClassifier-n_estimators9"]["verdict"] == "best"
    best = ranking.rank(both.state).best_trials
    assert {name: one.seed for name, one in best.items()} == dict.fromkeys(rows, 1), "SVC's by its val_accuracy"


def test_models_are_those_of_architectures_alone(both):
    both.write_tables()
    both.show_models()
    assert [path.name for path in (both.folder / "models").iterdir()] == ["8.keras"]


def test_another_version_of_scikit_learn_is_told(both):
    one = both.plan[2]
    both.records[one.fingerprint] = baseline_record(one, params=260, version="1.8.0")
    rows, _ = rows_of(both)
    assert rows["LogisticRegression"]["mixed"] == "scikit-learn 1.8.0 and 1.9.1"
    assert [row["mixed"] for name, row in rows.items() if name != "LogisticRegression"] == [None] * 3


def test_the_table_for_people_has_no_word_none(both):
    both.write_tables()
    text = (both.folder / "results.md").read_text()
    assert "None" not in text
    assert "nan" not in text
    assert "No probabilities, so no loss: SVC." in text


def test_new_nodes_of_a_tree_are_a_new_table(both):
    rows, _ = rows_of(both)
    one = both.plan[-2]
    both.records[one.fingerprint] = both.records[one.fingerprint].model_copy(update={"size": "9 trees, 1 node"})
    assert rows_of(both)[0]["ExtraTreesClassifier-n_estimators9"]["size"] == "9 trees, 1 node"
    assert rows["ExtraTreesClassifier-n_estimators9"]["size"] == "9 trees, 40 nodes"


def test_a_session_of_a_baseline_has_its_figures_and_no_empty_one(both, tmp_path):
    logs = SweepLogs(tmp_path / "logs", both.sweep, both.results)
    logs.sync(both.plan, both.records)
    found = {one.architecture.name: scalars(logs.trial_folder(one)) for one in both.plan}
    assert set(found["SVC"]) >= {"test_accuracy", "val_accuracy"}
    assert not {"test_loss", "val_loss"} & set(found["SVC"])


def test_what_changed_of_a_baseline_is_told_by_its_arguments(both, tmp_path):
    both.results.registry.claim_sweep(both.sweep, both.plan)
    text = BOTH.replace("  - LogisticRegression", "  - {name: LogisticRegression, LogisticRegression: {C: 0.5}}")
    (tmp_path / "small.yaml").write_text(text)
    plan = list_trials(load_sweep(tmp_path / "small.yaml"), data_identity="tiny")
    assert changes(both.results.registry.last_plan(both.sweep), plan) == ["LogisticRegression: C 1 -> 0.5"]

"""What is remembered of a table: believed where nothing has changed, made anew where anything has."""

import dataclasses
import json

import pytest
from tabulating import invent, rows_of

from fmnist_mlp.results import columns, looks, table
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.record import Latency
from fmnist_mlp.sweepfile.stacks import StackSize


def refuse(*_, **__):
    raise AssertionError("computed anew")


def test_a_second_table_of_the_same_trials_computes_nothing(made, monkeypatch):
    made.put_all()
    rows = made.write_tables()
    files = {path: path.read_bytes() for path in made.folder.glob("*.*")}
    for name in ("mean_interval", "pareto_front", "bootstrap_difference"):
        monkeypatch.setattr(metrics, name, refuse)
    monkeypatch.setattr(looks, "compare_with_best", refuse)
    made.records = dict(reversed(made.records.items()))
    assert made.write_tables() == rows
    assert {path: path.read_bytes() for path in made.folder.glob("*.*")} == files


def change_records(**update):
    """The first record with these changes; dicts are merged."""

    def change(made):
        (fingerprint, record), *_ = made.records.items()
        merged = {k: (getattr(record, k) or {}) | v if isinstance(v, dict) else v for k, v in update.items()}
        return {"records": made.records | {fingerprint: record.model_copy(update=merged)}}

    return change


def change_sweep(**update):
    return lambda made: {"sweep": made.sweep.model_copy(update=update)}


def rename(made):
    first, *others = made.sweep.architectures
    new = dataclasses.replace(first, name="new")
    trials = [dataclasses.replace(t, architecture=new) if t.architecture is first else t for t in made.plan]
    sizes = {"new" if name == first.name else name: size for name, size in made.sizes.items()}
    return change_sweep(architectures=(new, *others))(made) | {"trials": trials, "sizes": sizes}


CHANGES = {
    "a metric": change_records(metrics={"test_ece": 0.123}),
    "a failure": change_records(status="failed", error={"type": "", "message": ""}),
    "epochs": change_records(history={"loss": [0.5]}),
    "seconds": change_records(measured={"train_seconds": 77.0}),
    "seconds of an epoch": change_records(measured={"epoch_seconds": [7.0]}),
    "memory": change_records(measured={"peak_memory_bytes": 77}),
    "a version": change_records(environment={"keras": "3.14.0"}),
    "the size of a model": change_records(model_bytes=77),
    "training images": change_records(train_images=77),
    "a record less": lambda made: {"records": dict([*made.records.items()][1:])},
    "parameters": lambda made: {"sizes": made.sizes | {"8": StackSize(7, 7, 7)}},
    "FLOPs": lambda made: {"sizes": made.sizes | {"8": dataclasses.replace(made.sizes["8"], flops=1)}},
    "what is selected by": change_sweep(select_by="val_loss"),
    "folds": change_sweep(folds=5, select_by="cv_accuracy"),
    "the data set": lambda made: {"dataset": "synthetic"},
    "a seed less": lambda made: {"trials": [trial for trial in made.plan if trial.seed == 0]},
    "a budget": lambda made: {
        "over_budget": frozenset({"deep"}),
        "trials": [trial for trial in made.plan if trial.architecture.name == "8"],
    },
    "a latency": lambda made: {"latencies": {"8": Latency(latency_seconds=0.5)}},
    "a name": rename,
    "the order": lambda made: change_sweep(architectures=made.sweep.architectures[::-1])(made),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_makes_the_rows_anew(change, made):
    invent(made, seed=0)
    before = table.make_table(made.state, made.results)
    changes = CHANGES[change](made)
    after = table.make_table(dataclasses.replace(made.state, **changes), made.results)
    assert after == rows_of(made, **changes) != before
    assert table.make_table(made.state, made.results) == before, "and back again"


def test_a_version_with_another_column_makes_the_rows_anew(made, monkeypatch):
    invent(made, seed=0)
    table.make_table(made.state, made.results)
    before = made.results.load_comparison(made.sweep.name)
    made.results.save_comparison(made.sweep, before | {"rows": before["rows"][:1]})
    assert len(table.make_table(made.state, made.results)) == 1, "what is remembered is believed"
    new = columns.Column("new", lambda row: None)
    monkeypatch.setattr(table, "RESULTS_COLUMNS", (*columns.RESULTS_COLUMNS, new))
    assert table.load_final_table(made.results, made.sweep.name) is None
    assert len(table.make_table(made.state, made.results)) == 2


FOREIGN = {
    "empty": lambda memory: "",
    "cut": lambda memory: json.dumps(memory)[:-20],
    "no object": lambda memory: "[1, 2]",
    "deep": lambda memory: "[" * 100_000,
    "no text": lambda memory: "\ud800",
    "nothing in it": lambda memory: "{}",
    "no key": lambda memory: json.dumps({"rows": memory["rows"]}),
    "another's key": lambda memory: json.dumps(memory | {"key": "0" * 64, "rows": memory["rows"][:1]}),
    "a key that is no text": lambda memory: json.dumps(memory | {"key": None, "rows": []}),
    "no rows": lambda memory: json.dumps(memory | {"rows": None}),
    "rows by name": lambda memory: json.dumps(memory | {"rows": {"8": memory["rows"][0]}}),
    "too few rows": lambda memory: json.dumps(memory | {"rows": memory["rows"][:1]}),
    "rows of another type": lambda memory: json.dumps(memory | {"rows": [1, "deep"]}),
    "rows that lack columns": lambda memory: json.dumps(memory | {"rows": [{"architecture": "8"}] * 2}),
    "rows of text": lambda memory: json.dumps(
        memory | {"rows": [{name: str(cell) for name, cell in row.items()} for row in memory["rows"]]}
    ),
    "rows in another order": lambda memory: json.dumps(memory | {"rows": memory["rows"][::-1]}),
    "another figure": lambda memory: json.dumps(
        memory | {"rows": [row | {"test_accuracy": [0.999, None, None, None, 1]} for row in memory["rows"]]}
    ),
}


@pytest.mark.parametrize("damage", FOREIGN)
def test_damaged_memory_is_passed_over(damage, made):
    invent(made, seed=0)
    rows = made.write_tables()
    path = made.folder / "_comparison.json"
    whole = path.read_bytes()
    path.write_bytes(FOREIGN[damage](json.loads(whole)["content"]).encode(errors="surrogatepass"))
    assert made.write_tables() == rows
    assert path.read_bytes() == whole, "and mended"

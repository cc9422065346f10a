"""What is best is decided once: with a failed trial on a hard or an easy seed, all who show, keep or use it agree."""

import re

import fake_sweep
import numpy as np
import pytest
from fake_sweep import Fake
from sweeping import Made, done_record, put_record

from fmnist_mlp.cli.console import SOME_FAILED
from fmnist_mlp.cli.sweep import main
from fmnist_mlp.inference.finished import FinishedSweep
from fmnist_mlp.inference.predictor import choose_model
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.record import Latency
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.seeds import seed_number

# Seeds from easy to hard, the same for all; `good` is better than `poor` by a hundredth on every one of them.
SEEDS = [0.9, 0.8, 0.5]
LEAD = {"good": 0.02, "poor": 0.01, "worst": -0.05}
SWEEP = """
name: fake
dataset: {{idx: images}}
seeds: 3
refit: true
select_by: {select_by}
training: {{epochs: 3}}
architectures:
  - {{name: poor, layers: [16]}}
  - {{name: worst, layers: [8]}}
  - {{name: good, layers: [32]}}
"""


def goodness(name, seed):
    return SEEDS[seed_number(seed)] + LEAD[name] + 0.001 * (-1) ** (seed + len(name))


@pytest.fixture(params=[("val_accuracy", "hard"), ("val_loss", "hard"), ("val_accuracy", "easy")], ids="-".join)
def failed(request, tmp_path, monkeypatch):
    """A sweep whose plain means say `poor`: it failed on the hard seed, or `good` did on the easy one."""
    select_by, which = request.param
    fake = Fake(tmp_path, monkeypatch, text=SWEEP.format(select_by=select_by), pictures=True)
    fake.fate["poor" if which == "hard" else "good", 2 if which == "hard" else 0] = ValueError("no")

    def invented_record(task):
        one = task.trial
        value = goodness(one.architecture.name, one.seed)
        figures = {} if one.is_refit else {"val_accuracy": value, "val_loss": 2 - value}
        record = done_record(one, dataset=task.source.dataset, **figures)
        put_record(Results(task.results_root), record, model=one.fingerprint.encode())
        return record

    def start_worker(device, threads, source, is_alone):
        return {"device": "cpu", "tensorflow": "2.21.0", "keras": "3.15.1"}

    monkeypatch.setattr(fake_sweep, "invented_record", invented_record)
    monkeypatch.setattr("fmnist_mlp.training.worker.start_worker", start_worker)
    monkeypatch.setattr(
        "fmnist_mlp.training.latency.measure_latency", lambda context, task: Latency(latency_seconds=0.1)
    )
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.mark.slow
def test_with_a_failed_trial_everybody_calls_the_same_architecture_the_best(failed, capsys):
    assert main(["fake.yaml", "--jobs", "0", "--plain-fit"]) == SOME_FAILED
    screen, folder = capsys.readouterr().out, failed.folder / "results" / "fake"
    order = ["good", "poor", "worst"]
    plain = {name: [] for name in order}
    for row in failed.rows():
        if row["status"] == "done" and row["refit"] == "0":
            plain[row["architecture"]].append(float(row["val_accuracy"]))
    assert max(plain, key=lambda name: np.mean(plain[name])) == "poor", "the case is what it claims to be"

    # What is refitted and kept.
    assert {row["architecture"] for row in failed.rows() if row["refit"] == "1"} == {"good"}
    refit = next(row["fingerprint"] for row in failed.rows() if (row["refit"], row["status"]) == ("1", "done"))
    assert (folder / "models" / "good.keras").read_text() == refit
    assert "best by val_" in screen
    assert re.search(r"best by val_\w+: good; training it again", screen)
    # The table, on the screen, for people, in the CSV.
    rows = {row["architecture"]: row for row in failed.rows("results.csv")}
    assert (rows["good"]["verdict"], rows["good"]["behind_best"]) == ("best", "0.0")
    assert "params" in rows["good"]["pareto"].split(), "nothing beats the best"
    assert re.findall(r"^(good|poor|worst) ", screen, re.MULTILINE) == order
    assert re.findall(r"^\| (good|poor|worst) ", (folder / "results.md").read_text(), re.MULTILINE) == order
    assert "Trials are missing (" in screen
    # The report.
    page = (folder / "report.html").read_text()
    assert re.search(r"good has the (high|low)est validation", page)
    table_of_page = page[page.index("Every architecture, best first") :]
    assert re.findall(r"<t[dh][^>]*>(good|poor|worst)<", table_of_page)[:3] == order
    assert "Filled" in page
    front = re.search(r"On the Pareto front: ([^.]*)\.", page).group(1)
    assert "good" in front
    # TensorBoard.
    (event,) = (failed.folder / "logs" / "fake" / "_sweep").glob("*.sweep")
    charts = re.findall(rb"trials_of_(good|poor|worst)/loss_lowest", event.read_bytes())
    assert list(dict.fromkeys(charts)) == [name.encode() for name in order]
    # Who uses a model.
    finished = FinishedSweep(failed.folder / "results", "fake")
    assert finished.best() == "good"
    assert choose_model(failed.folder / "results", "fake").name == "good"
    assert [row["architecture"] for row in ranking.best_first(finished.rows())] == order


@pytest.mark.slow
def test_a_rerun_with_nothing_to_do_keeps_the_choice(failed):
    failed.run()
    failed.fate.clear()
    _, summary = failed.run()
    assert (failed.trained, summary.trained) == ([], 0)
    assert {trial.architecture.name for trial in summary.state.refits} == {"good"}


def made_of(folder, figures, **keys):
    """A sweep of one-layer stacks with these figures (name -> one a trial, None failed) of what it selects by."""
    text = "".join(f"{key}: {value}\n" for key, value in keys.items())
    listed = "".join(f"  - {{name: {name}, layers: [{4 * i}]}}\n" for i, name in enumerate(figures, 1))
    made = Made(folder, f"{text}architectures:\n{listed}")
    metric = made.sweep.select_by.replace("cv_", "val_")
    for trial in made.plan:
        value = figures[trial.architecture.name].pop(0)
        record = made.record(trial, failed=True) if value is None else made.record(trial, **{metric: value})
        made.records[trial.fingerprint] = record
    return made


TIES = {
    "equal": ({"a": [0.7, 0.8], "b": [0.9, 0.6], "c": [0.8, 0.7]}, ["a", "b", "c"]),
    "equal but for rounding": ({"a": [0.1, 0.2, 0.3], "b": [0.3, 0.2, 0.1], "c": [0.2, 0.3, 0.1]}, ["a", "b", "c"]),
    "second ones equal": ({"a": [0.1, 0.2, 0.3], "b": [0.9, 0.9, 0.9], "c": [0.3, 0.1, 0.2]}, ["b", "a", "c"]),
    "without a figure": ({"a": [None, None], "b": [0.1, 0.2]}, ["b"]),
    "nothing": ({"a": [None, None], "b": [None, None]}, []),
}


@pytest.mark.parametrize(("figures", "order"), TIES.values(), ids=TIES)
@pytest.mark.parametrize("select_by", ["val_accuracy", "val_loss"])
def test_of_equal_means_the_first_in_the_sweep_file_comes_first(figures, order, select_by, tmp_path):
    seeds = len(next(iter(figures.values())))
    sign = 1 if select_by == "val_accuracy" else -1
    copied = {name: [v and 1 + sign * v for v in values] for name, values in figures.items()}
    made = made_of(tmp_path, copied, seeds=seeds, select_by=select_by)
    ranked = ranking.rank(made.state)
    assert list(ranked.order) == order
    assert ranked.best == (order[0] if order else None)
    rows = ranking.best_first(table.make_table(made.state, made.results))
    assert [row["architecture"] for row in rows if row["behind_best"] is not None] == order
    assert [row["architecture"] for row in rows if row["verdict"] == "best"] == order[:1]


def test_with_folds_a_failed_fold_makes_nobody_better(tmp_path):
    figures = {"poor": [0.9, None, 0.91, 0.51], "good": [0.92, 0.52, 0.93, 0.53]}
    ranked = ranking.rank(made_of(tmp_path, figures, seeds=2, folds=2).state)
    assert ranked.order == ("good", "poor")
    assert ranked.behind["poor"] == pytest.approx(0.02), "by seed 1 alone: seed 0 lacks a fold of `poor`"


def test_the_order_is_the_same_whether_verdicts_were_asked_for_or_not(tmp_path):
    rng = np.random.default_rng(0)
    figures = {name: [v if rng.random() < 0.7 else None for v in rng.random(4)] for name in "abcdefgh"}
    made = made_of(tmp_path, figures, seeds=4)
    ranked, comparisons = ranking.rank(made.state), ranking.rank(made.state).comparisons
    assert {name: comparison.behind for name, comparison in comparisons.items()} == ranked.behind
    assert [name for name, comparison in comparisons.items() if comparison.verdict == "best"] == [ranked.best]

"""A search whose trials are made up: which candidates come, which go on, what is told, what stands in the tables."""

import json
import math
import shutil

import fake_sweep
import numpy as np
import optuna
import pytest
from fake_sweep import Fake
from sweeping import done_record, put_record

from fmnist_mlp.errors import SweepError
from fmnist_mlp.results.candidates import of_the_search
from fmnist_mlp.results.record import Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.study import distributions_of, importances, study_trials
from fmnist_mlp.runner import search as runner_search
from fmnist_mlp.runner.loop import Listener
from fmnist_mlp.sweepfile.seeds import MAX_SEED

THE_VERSION = optuna.__version__

SEARCH = """
dataset: {idx: images}
seeds: 2
training: {epochs: 9}
architectures:
  - {name: listed, layers: [8]}
search:
  trials: 40
  depth: {from: 1, to: 3}
  units: {from: 4, to: 64, log: true}
  dropout: {from: 0.0, to: 0.5}
  optimizer: [adam, sgd]
  learning_rate: {from: 1e-4, to: 1e-1, log: true}
  finalists: 3
"""
RUNGS, KEPT = (1, 3, 9), (20, 7, 2)  # 9 * 0.33 ** 2 = 0.98, 9 * 0.33 = 2.97; 20 * 0.33 = 6.6, 7 * 0.33 = 2.3


def accuracy(architecture, epoch):
    """Rises with the epochs; best at a learning rate of 0.01, with much dropout in the first epochs alone."""
    training, widths = architecture.training, [layer.units for layer in architecture.layers if hasattr(layer, "units")]
    level = 0.9 - 0.05 * abs(math.log10(training.learning_rate) + 2) + 0.001 * math.log(sum(widths))
    dropout = next((layer.rate for layer in architecture.layers if hasattr(layer, "rate")), 0.0)
    return level - 0.2 / epoch + 0.05 * dropout / epoch


def unscored_record(trial, dataset, epochs):
    curve = [accuracy(trial.architecture, epoch) for epoch in range(1, epochs + 1)]
    return Record(
        fingerprint=trial.fingerprint,
        status="only validated" if epochs == trial.architecture.training.epochs else "stopped early",
        settings=trial.settings,
        dataset=dataset,
        params=1,
        trainable_params=1,
        flops=1,
        history=dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), curve),
        measured={"started_at_seconds": 0.0, "train_seconds": 1.0, "epoch_seconds": [0.5] * epochs},
    )


@pytest.fixture
def searching(tmp_path, monkeypatch):
    def invented_record(task):
        one, results = task.trial, Results(task.results_root)
        if one.until is not None:
            record = unscored_record(one, task.source.dataset, one.until)
        else:
            noise = np.random.default_rng([one.seed, *one.architecture.name.encode()]).normal()
            record = done_record(
                one, dataset=task.source.dataset, val_accuracy=accuracy(one.architecture, 9) + noise / 1e4
            )
        put_record(results, record)
        return record

    monkeypatch.setattr(fake_sweep, "invented_record", invented_record)
    return Fake(tmp_path, monkeypatch, text=SEARCH)


def found(fake):
    return fake.rows("search.csv")


def kept(fake):
    """Every file of the sweep, and every record, but for what clocks said."""
    folder = fake.folder / "results" / "fake"
    files = {path.name: path.read_bytes() for path in folder.glob("*.*") if path.name != "_comparison.json"}
    lists = {path.name: json.loads(path.read_bytes()) for path in (folder.parent / "_searches").iterdir()}
    return files, lists, sorted(path.name for path in (folder.parent / "_records").iterdir())


def numbers_of(rows, round_number):
    return [int(row["candidate"]) for row in rows if int(row["round"]) == round_number]


# ---- brackets


@pytest.mark.slow
def test_each_round_is_a_bracket_as_successive_halving_has_it(searching):
    _, summary = searching.run()
    rows = found(searching)
    assert len(rows) == 40
    candidates = {
        one.candidate.number: one.candidate for one in summary.state.search.progress(summary.state.records).standings
    }
    for number in (0, 1):
        entered = numbers_of(rows, number)
        assert not any(candidates[one].same_as for one in entered)
        for position, (rung, kept_here) in enumerate(zip(RUNGS, KEPT, strict=True)):
            assert len(entered) == kept_here
            ranked = sorted(entered, key=lambda one: -accuracy(candidates[one].architecture, rung))
            entered = ranked[: KEPT[position + 1]] if position < 2 else ranked
            for one in ranked[len(entered) :]:
                assert (rows[one]["status"], int(rows[one]["epochs"])) == ("stopped early", rung)
        assert {(rows[one]["status"], rows[one]["epochs"]) for one in entered} == {("whole", "9")}
    assert int(rows[-1]["epochs_so_far"]) == 2 * (20 * 1 + 7 * 2 + 2 * 6)


def test_a_rung_trains_who_enters_it_once_and_no_more(searching):
    searching.run()
    on_the_seed_of_the_search = [seed for _, seed in searching.trained if seed > MAX_SEED]
    assert len(on_the_seed_of_the_search) == 2 * (20 + 7 + 2)


@pytest.mark.slow
def test_finalists_are_the_best_whole_ones_and_are_trained_with_the_seeds_of_the_sweep(searching):
    _, summary = searching.run()
    rows = found(searching)
    whole = [row for row in rows if row["status"] == "whole"]
    best = sorted(whole, key=lambda row: -float(row["val_accuracy"]))[:3]
    assert [row["finalist"] for row in best] == ["1", "2", "3"]
    table = {row["architecture"]: row for row in searching.rows("results.csv")}
    assert [*table] == ["listed", *(architecture.name for architecture in summary.state.sweep.architectures[1:])]
    assert [row["layers"] for row in searching.rows("results.csv")[1:]] == [row["layers"] for row in best]
    assert {row["trials"] for row in table.values()} == {"2"}
    assert {int(row["seed"]) for row in searching.rows()} == {0, 1}


@pytest.mark.slow
def test_nothing_of_a_candidate_is_in_the_table(searching):
    searching.run()
    assert len(searching.rows()) == 4 * 2
    assert len(searching.rows("results.csv")) == 4


@pytest.mark.slow
def test_a_second_run_trains_nothing_and_asks_nobody(searching, monkeypatch):
    searching.run()
    before = kept(searching)
    monkeypatch.setattr(runner_search, "propose_round", lambda *_: pytest.fail("proposed again"))
    plan, _ = searching.run()
    assert (plan.to_train, searching.trained) == ((), [])
    assert kept(searching) == before


# ---- the same, however it is run


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [3, 19, 20, 26, 28, 29, 45, 58, 60])
def test_a_search_that_dies_goes_on_to_the_same(stop_at, searching, tmp_path, monkeypatch):
    searching.run()
    whole = kept(searching)
    other = Fake(tmp_path / "other", monkeypatch, text=SEARCH)

    class Dies(Listener):
        def trial_ended(self, trial, record, outcome):
            if len(other.trained) == stop_at:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        other.run(Dies())
    other.run()
    assert kept(other) == whole


@pytest.mark.slow
def test_without_its_list_a_search_proposes_the_same_again(searching):
    searching.run()
    before = kept(searching)
    shutil.rmtree(searching.folder / "results" / "_searches")
    plan, _ = searching.run()
    assert (plan.to_train, kept(searching)) == ((), before)


@pytest.mark.slow
def test_more_trials_later_are_as_if_they_had_been_asked_for_at_once(searching, tmp_path, monkeypatch):
    searching.run()
    more = SEARCH.replace("trials: 40", "trials: 60")
    searching.write(more)
    searching.run()
    other = Fake(tmp_path / "other", monkeypatch, text=more)
    other.run()
    assert found(searching) == found(other)
    # But for verdicts: who has looked at other finalists before is judged by these too.
    figures = ("architecture", "layers", "val_accuracy", "val_accuracy_std", "behind_best")
    tables = [[[row[name] for name in figures] for row in fake.rows("results.csv")] for fake in (searching, other)]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_trials_are_whole_rounds(searching, tmp_path, monkeypatch):
    searching.run()
    other = Fake(tmp_path / "other", monkeypatch, text=SEARCH.replace("trials: 40", "trials: 21"))
    other.run()
    assert found(searching) == found(other)


@pytest.mark.slow
def test_another_seed_is_another_search(searching, tmp_path, monkeypatch):
    searching.run()
    other = Fake(tmp_path / "other", monkeypatch, text=SEARCH.replace("trials: 40", "trials: 40\n  seed: 1"))
    other.run()
    assert {row["layers"] for row in found(searching)}.isdisjoint(row["fingerprint"] for row in found(other))
    assert [row["learning_rate"] for row in found(searching)] != [row["learning_rate"] for row in found(other)]
    assert len({seed for _, seed in searching.trained + other.trained if seed > MAX_SEED}) == 2


@pytest.mark.slow
def test_tpe_finds_what_is_good_and_random_does_not_look(searching, tmp_path, monkeypatch):
    def mean_distance(rows):
        return np.mean([abs(math.log10(float(row["learning_rate"])) + 2) for row in rows if int(row["round"]) == 4])

    searching.write(SEARCH.replace("trials: 40", "trials: 100"))
    searching.run()
    other = Fake(tmp_path / "other", monkeypatch, text=SEARCH.replace("trials: 40", "trials: 100\n  sampler: random"))
    other.run()
    assert mean_distance(found(searching)) < 0.5 * mean_distance(found(other))


# ---- what is told


def told(summary):
    log = summary.state.search
    return study_trials(log, log.progress(summary.state.records), distributions_of(log))


@pytest.mark.slow
def test_what_is_told_of_each_candidate(searching):
    _, summary = searching.run()
    rows = found(searching)
    states = {"whole": optuna.trial.TrialState.COMPLETE, "stopped early": optuna.trial.TrialState.PRUNED}
    for row, trial in zip(rows, told(summary), strict=True):
        assert trial.state == states[row["status"]]
        figure = float(row["val_accuracy"])
        assert trial.value == (figure if row["status"] == "whole" else trial.value)
        assert trial.intermediate_values == ({} if row["status"] == "whole" else {int(row["epochs"]): figure})
        assert trial.params["learning_rate"] == float(row["learning_rate"])


SMALL = """
dataset: {idx: images}
seeds: 2
training: {epochs: 9}
search: {trials: 20, depth: 1, units: {from: 4, to: 8}, finalists: 2}
"""


def test_a_candidate_that_comes_again_is_told_again_and_costs_nothing(searching):
    searching.write(SMALL)
    _, summary = searching.run()
    rows = found(searching)
    first = {}
    for row in rows:
        first.setdefault(row["layers"], row)
        same = row is not first[row["layers"]]
        assert row["status"] == (f"same as {first[row['layers']]['candidate']}" if same else row["status"])
        assert row["val_accuracy"] == first[row["layers"]]["val_accuracy"]
    assert len(first) < len(rows) == 20
    assert len({name for name, seed in searching.trained if seed > MAX_SEED}) == len(first)
    assert len(told(summary)) == 20


@pytest.mark.slow
def test_what_is_over_budget_is_proposed_again_and_told_as_infeasible(searching):
    searching.write(SEARCH + "max_params: 2000\n")
    _, summary = searching.run()
    rows = found(searching)
    assert len(rows) == 40
    assert max(int(row["params"]) for row in rows) <= 2000
    infeasible = [trial for trial in told(summary) if sum(trial.constraints.values()) > 0]
    assert infeasible
    assert len(told(summary)) == 40 + len(infeasible)


def test_a_space_that_is_all_over_budget_is_refused_before_anything_is_trained(searching):
    searching.write(SEARCH + "max_params: 200\n")
    with pytest.raises(SweepError, match=r"fake.yaml:7: every stack .* the smallest has 280 parameters, .* is 200"):
        searching.plan()  # 64 * 4 + 4 + 4 * 4 + 4


def test_a_space_that_is_over_budget_almost_everywhere_gives_up(searching, monkeypatch):
    monkeypatch.setattr(runner_search, "MOST_OVER_BUDGET", 30)
    searching.write(SEARCH.replace("trials: 40", "sampler: random\n  trials: 40") + "max_params: 281\n")
    with pytest.raises(SweepError, match="30 candidates in a row have more parameters than max_params"):
        searching.plan()


# ---- failures


def of_round(fake, number):
    return [row for row in found(fake) if int(row["round"]) == number]


@pytest.mark.slow
def test_candidates_that_fail_are_told_as_failed_and_the_search_goes_on(searching):
    first = searching.plan().to_train[:2]
    for trial in first:
        searching.fate[trial.architecture.name, trial.seed] = ArithmeticError("the loss became nan")
    _, summary = searching.run()
    rows = found(searching)
    failed = [row for row in rows if row["status"] == "failed"]
    assert {row["fingerprint"] for row in failed} == {trial.fingerprint for trial in first}
    assert [row["val_accuracy"] for row in failed] == ["", ""]
    states = [trial.state for trial in told(summary)]
    assert states.count(optuna.trial.TrialState.FAIL) == 2
    assert len(rows) == 40
    assert len([row for row in rows if row["finalist"]]) == 3


def test_a_rung_in_which_all_fail_ends_its_round(searching):
    for trial in searching.plan().to_train:
        searching.fate[trial.architecture.name, trial.seed] = ArithmeticError("the loss became nan")
    searching.run()
    assert {row["status"] for row in of_round(searching, 0)} == {"failed"}
    assert "whole" in {row["status"] for row in of_round(searching, 1)}


@pytest.mark.slow
def test_a_failure_of_the_machine_halts_the_search_until_the_next_run(searching, tmp_path, monkeypatch):
    trial = searching.plan().to_train[5]
    searching.fate[trial.architecture.name, trial.seed] = MemoryError("no memory")
    _, summary = searching.run()
    assert not summary.state.trials
    assert len(found(searching)) == 20
    assert {row["status"] for row in found(searching)} == {"waiting", "stopped early"}
    searching.fate.clear()
    searching.run()
    other = Fake(tmp_path / "other", monkeypatch, text=SEARCH)
    other.run()
    assert (found(searching), searching.rows("results.csv")) == (found(other), other.rows("results.csv"))


# ---- other files


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"rounds": 3}'])
def test_a_list_that_is_damaged_is_proposed_again(damage, searching):
    searching.run()
    before = kept(searching)
    (path,) = (searching.folder / "results" / "_searches").iterdir()
    path.write_bytes(damage)
    searching.run()
    assert kept(searching) == before


@pytest.mark.slow
def test_a_list_holds_whatever_optuna_would_propose_today(searching, monkeypatch):
    searching.run()
    before = found(searching)
    monkeypatch.setattr(optuna, "__version__", "99.0.0")
    searching.write(SEARCH.replace("trials: 40", "trials: 60"))
    _, summary = searching.run()
    again = found(searching)
    assert [row | {"finalist": ""} for row in again[:40]] == [row | {"finalist": ""} for row in before]
    said = f"Candidates 0 to 39 were proposed by Optuna {THE_VERSION}, 40 to 59 by 99.0.0."
    assert said in of_the_search(summary.state)


def test_a_finalist_that_is_listed_already_stands_in_the_table_once(searching):
    searching.write(SMALL.replace("search:", "architectures: [[8], [7], [6], [5], [4]]\nsearch:"))
    searching.run()
    assert [row["architecture"] for row in searching.rows("results.csv")] == ["8", "7", "6", "5", "4"]


@pytest.mark.slow
def test_verdicts_wait_until_all_finalists_are_there(searching):
    searching.write(SEARCH.replace("seeds: 2", "seeds: {until: decided, looks: [2, 4]}"))
    plan, summary = searching.run()
    assert all(trial.is_candidate for trial in plan.to_train)
    assert {row["verdict"] for row in searching.rows("results.csv")} >= {"best"}
    assert len(summary.state.sweep.architectures) == 4


@pytest.mark.slow
def test_what_is_asked_for_is_known_to_clean(searching):
    from fmnist_mlp.runner.clean import find_leftovers

    searching.run()
    root = searching.folder / "results"
    assert find_leftovers(root, searching.folder / "logs")[0] == []
    shutil.rmtree(root / "_searches")
    with pytest.raises(SweepError, match=r"the list of candidates of .*fake\.yaml is missing or damaged"):
        find_leftovers(root, searching.folder / "logs")


@pytest.mark.slow
def test_what_matters_is_told(searching):
    searching.write(SEARCH.replace("trials: 40", "sampler: random\n  trials: 100"))
    _, summary = searching.run()
    found = importances(summary.state.search, summary.state.records)
    assert next(iter(found)) == "learning_rate"
    assert sum(found.values()) == pytest.approx(1)
    assert {*found} == {*summary.state.search.search.axes}


@pytest.mark.slow
def test_every_column_is_explained(searching):
    from test_results import explained

    _, summary = searching.run()
    names = [*found(searching)[0]]
    axes = {"depth", "units", "dropout", "optimizer", "learning_rate"}
    assert [*explained("search.csv")] == [name for name in names if name not in axes]
    assert axes <= {*names}
    assert (summary.failed, summary.stopped) == ([], False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")
def test_the_hparams_tab_has_a_row_a_candidate(searching):
    from reading_logs import ask_tensorboard, figures_of_group, sessions

    searching.write(SEARCH.replace("trials: 40", "trials: 20"))
    searching.run()
    logs = searching.folder / "results" / "_trials" / "fake" / "_search"
    rows = sessions(lambda path, query: ask_tensorboard(path, query, logs=logs))
    shown = {row["fingerprint"]: row for row in found(searching)}
    assert len(rows) == len(shown) == 20
    for row in shown.values():
        (group,) = (one for key, one in rows.items() if key.endswith(f"-c{row['candidate']}"))
        assert group["hparams"]["learning_rate"] == float(row["learning_rate"])
        assert figures_of_group(group)["val_accuracy"] == pytest.approx(float(row["val_accuracy"]), rel=1e-6)
    before = {path: path.stat().st_mtime_ns for path in logs.rglob("*tfevents*")}
    searching.run()
    assert {path: path.stat().st_mtime_ns for path in logs.rglob("*tfevents*")} == before

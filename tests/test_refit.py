"""`refit`: what was chosen by validation is trained once more on all training images, from the key to the table."""

import json
import shutil

import numpy as np
import pytest
from fake_sweep import EngineListener, Fake, names
from one_trial import draw_images, identity, run, source, worker  # noqa: F401 - fixtures
from sweeping import Project, different

from fmnist_mlp.engines.calls import Stopped
from fmnist_mlp.engines.inline import InlineEngine
from fmnist_mlp.errors import SweepError
from fmnist_mlp.report.report import report  # as it is; `fake` leaves out that of a sweep
from fmnist_mlp.results import table
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.clean import find_leftovers
from fmnist_mlp.runner.loop import Listener
from fmnist_mlp.sweepfile.in_words import trial_in_short
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.seeds import MAX_SEED
from fmnist_mlp.sweepfile.sweep import Overrides
from fmnist_mlp.sweepfile.trials import list_refits, list_trials

SWEEP = """
name: fake
dataset: {idx: images}
seeds: 2
refit: true
training: {epochs: 3}
architectures:
  - [8]
  - name: wide
    layers: [16]
"""
FIRST = 2**31  # the seed of refit 0; a sweep file may name those below it
CHOOSING = [("8", 0), ("8", 1), ("wide", 0), ("wide", 1)]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return Fake(tmp_path, monkeypatch, text=SWEEP)


def best_of(fake):
    """By the numbers in the file, with nothing of ours: which architecture has the best mean `val_accuracy`."""
    values = {}
    for row in fake.rows():
        if row["refit"] == "0" and row["status"] == "done":
            values.setdefault(row["architecture"], []).append(float(row["val_accuracy"]))
    return max(values, key=lambda name: np.mean(values[name]))


def refits(fake):
    return [(row["architecture"], int(row["seed"])) for row in fake.rows() if row["refit"] == "1"]


@pytest.mark.parametrize(("left_bytes", "is_warm"), [(30e9, True), (1e9, False)])
def test_refits_find_warm_workers_where_there_is_memory_for_all(fake, monkeypatch, left_bytes, is_warm):
    """While an engine is open so much is left, else 30 GB; short of memory, the first gives its workers' back."""
    open_engines = []

    class Engine(InlineEngine):
        def __enter__(self):
            open_engines.append(self)
            return super().__enter__()

        def close(self):
            open_engines.remove(self)
            super().close()

    monkeypatch.setattr("fmnist_mlp.runner.loop.Pool", Engine)
    memory = "fmnist_mlp.runner.plan.available_memory_bytes"
    monkeypatch.setattr(memory, lambda: left_bytes if open_engines else 30e9)
    listener = EngineListener()
    fake.run(listener, jobs=2)
    first, second = listener.engines
    assert (first is second, second.jobs, open_engines) == (is_warm, 2, [])
    assert len(refits(fake)) == 2


def test_warm_workers_that_found_no_gpu_are_one_a_core_for_refits_too(fake, monkeypatch):
    """A driver is there, of which TensorFlow can make nothing."""
    monkeypatch.setattr("fmnist_mlp.runner.loop.Pool", InlineEngine)
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_cores", lambda: 4)
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_memory_bytes", lambda: None)
    for module in ("loop", "plan"):
        monkeypatch.setattr(f"fmnist_mlp.runner.{module}.count_gpus", lambda: 1)
    jobs = []
    listener = EngineListener()
    listener.trial_ended = lambda *arguments: jobs.append(listener.engines[-1].jobs)
    fake.run(listener, jobs=None)
    assert jobs == [4] * 4 + [2] * 2


def lose_refits(fake):
    for row in fake.rows():
        if row["refit"] == "1":
            shutil.rmtree(fake.folder / "results" / "_records" / row["fingerprint"])


# ---- the key


def load(tmp_path, text):
    (tmp_path / "some.yaml").write_text(text)
    return load_sweep(tmp_path / "some.yaml")


@pytest.mark.parametrize(
    ("written", "which", "seeds"),
    [
        ("true", "best", None),
        ("all", "all", None),
        ("{seeds: 5}", "best", 5),
        ("{which: all, seeds: 2}", "all", 2),
        ("{}", "best", None),
    ],
)
def test_the_key_says_what_is_refitted_and_how_often(tmp_path, written, which, seeds):
    refit = load(tmp_path, f"refit: {written}\narchitectures: [[8]]\n").refit
    assert (refit.which, refit.seeds) == (which, seeds)


@pytest.mark.parametrize("written", ["refit: false\n", ""])
def test_without_the_key_nothing_is_refitted(tmp_path, written):
    assert load(tmp_path, f"{written}architectures: [[8]]\n").refit is None


@pytest.mark.parametrize(
    ("written", "message"),
    [
        *((written, "refit must be true (the best architecture), all") for written in ("best", "1", "0.5", "null")),
        ("[wide]", "refit must be true (the best architecture), all"),
        ("al", "did you mean 'all'"),
        ("{seed: 5}", "refit has no key 'seed'; did you mean 'seeds'?"),
        ("{seeds: 0}", "refit seeds must be a whole number from 1 to 10,000"),
        ("{seeds: many}", "refit seeds must be a whole number from 1 to 10,000 (how many), got 'many'"),
        ("{seeds: [0, 7]}", "refit seeds says how many refits, not which seeds: refits have fresh seeds of their own"),
        ("{seeds: [0, 7]}", "so that none that chose the best trains it again; write seeds: 2"),
        ("{seeds: []}", "write such as seeds: 5"),
        ("{which: some}", "refit which must be best or all, got 'some'"),
    ],
)
def test_anything_else_is_an_error_with_its_line(tmp_path, written, message):
    with pytest.raises(SweepError, match=r"some\.yaml:2: ") as error:
        load(tmp_path, f"seeds: 1\nrefit: {written}\narchitectures: [[8]]\n")
    assert message in str(error.value)
    assert ("did you mean 'all'" in str(error.value)) == (written == "al")


@pytest.mark.parametrize(
    ("written", "asked", "refits"),
    [
        ("true", None, 3),
        ("{seeds: 5}", None, 5),
        ("true", 2, 2),
        ("{seeds: 5}", 2, 2),  # a quick look is short
        ("{seeds: 1}", 2, 1),
        ("{seeds: 5}", 3, 5),  # what the file asks for
        ("{seeds: 5}", 4, 5),  # more seeds than it asks for
        ("true", 4, 4),
    ],
)
def test_refits_are_as_many_as_asked_for_and_no_more_than_a_quick_look_has_seeds(tmp_path, written, asked, refits):
    (tmp_path / "some.yaml").write_text(f"seeds: 3\nrefit: {written}\narchitectures: [[8], [9]]\n")
    some = load_sweep(tmp_path / "some.yaml", Overrides(seeds=asked))
    trials = list_refits(some, some.architectures, data_identity="x")
    in_words = [f"{name} refit {number}" for name in (8, 9) for number in range(refits)]
    assert [trial.in_words for trial in trials] == in_words


def test_no_seed_of_a_sweep_is_a_refits(tmp_path):
    """So what chose the best never trains it again, whatever seeds are asked for, now or later."""
    some = load(tmp_path, f"seeds: [0, 1, {2**31 - 1}]\nrefit: true\narchitectures: [[8]]\n")
    (refits,) = {tuple(t.seed for t in list_refits(some, some.architectures, data_identity="x"))}
    assert min(refits) > max(some.seeds) == MAX_SEED
    assert [trial_in_short(t.settings) for t in list_refits(some, some.architectures, data_identity="x")] == [
        f"8, refit {number}, 20 epochs" for number in range(3)
    ]
    for seed in refits:
        with pytest.raises(SweepError, match="seeds must be whole numbers from 0 to 2,147,483,647"):
            load(tmp_path, f"seeds: [{seed}]\narchitectures: [[8]]\n")


def test_early_stopping_is_refused_at_each_line_that_asks_for_it(tmp_path):
    text = """refit: all
training:
  early_stopping: {patience: 1}
architectures:
  - [8]
  - layers: [16]
    early_stopping: {patience: 2}
  - layers: [32]
    early_stopping: null
"""
    with pytest.raises(SweepError) as error:
        load(tmp_path, text)
    said = str(error.value)
    assert "some.yaml:3: early_stopping does not go with refit" in said
    assert "some.yaml:7: early_stopping does not go with refit" in said
    assert said.count("does not go") == 2
    load(tmp_path, text.replace("refit: all", "refit: false"))


def test_a_refit_is_another_trial_and_knows_no_split(tmp_path):
    some = load(tmp_path, "refit: all\narchitectures: [[8]]\nseeds: 2\n")
    other = load(tmp_path, "refit: true\ntraining: {validation_split: 0.5}\narchitectures: [[8]]\nseeds: 2\n")
    chosen, again = list_trials(some, data_identity="x"), list_refits(some, some.architectures, data_identity="x")
    assert not {trial.fingerprint for trial in chosen} & {trial.fingerprint for trial in again}
    assert [trial.is_refit for trial in (*chosen, *again)] == [False, False, True, True]
    same = list_refits(other, other.architectures, data_identity="x")
    assert [trial.fingerprint for trial in same] == [trial.fingerprint for trial in again]
    # A sweep that asks for refits trains the same trials before them.
    plain = load(tmp_path, "training: {validation_split: 0.5}\narchitectures: [[8]]\nseeds: 2\n")
    before = [trial.fingerprint for trial in list_trials(plain, data_identity="x")]
    assert [trial.fingerprint for trial in list_trials(other, data_identity="x")] == before


# ---- the loop


def test_the_best_alone_is_refitted_with_every_seed_once_all_others_are_done(fake):
    _, summary = fake.run()
    best = best_of(fake)
    assert sorted(fake.trained[:4]) == CHOOSING
    assert sorted(fake.trained[4:]) == [(best, FIRST), (best, FIRST + 1)]
    assert refits(fake) == [(best, 0), (best, 1)]  # as people number them
    assert (summary.trained, summary.stopped) == (6, False)
    assert len(summary.state.done) == len(summary.state.asked_for) == 6
    row = next(row for row in fake.rows("results.csv") if row["architecture"] == best)
    of_refits = [float(row["test_accuracy"]) for row in fake.rows() if row["refit"] == "1"]
    assert float(row["refit_test_accuracy"]) == pytest.approx(np.mean(of_refits), abs=1e-12)
    assert float(row["refit_test_accuracy_std"]) == pytest.approx(np.std(of_refits, ddof=1), abs=1e-12)
    others = [row for row in fake.rows("results.csv") if row["architecture"] != best]
    assert [row["refit_trials"] for row in others] == ["0"]
    assert all(row["trials"] == "2" for row in fake.rows("results.csv"))
    model = (fake.folder / "results" / "fake" / "models" / f"{best}.keras").read_text()
    assert model == next(row["fingerprint"] for row in fake.rows() if row["refit"] == "1" and row["seed"] == "0")


def test_a_rerun_trains_nothing_and_keeps_the_table(fake):
    fake.run()
    table_before = fake.rows("results.csv")
    plan, summary = fake.run()
    assert (fake.trained, summary.trained) == ([], 0)
    assert (len(plan.state.done), len(plan.state.refits)) == (6, 2)
    assert fake.rows("results.csv") == table_before


def test_the_table_chooses_as_it_would_without_refits(fake):
    fake.run()
    with_refits = fake.rows("results.csv")
    fake.write(SWEEP.replace("refit: true", "refit: false"))
    fake.run()
    assert fake.trained == []
    without = fake.rows("results.csv")
    kept = [name for name in without[0] if not name.startswith("refit")]
    assert [{name: row[name] for name in kept} for row in with_refits] == [
        {name: row[name] for name in kept} for row in without
    ]
    assert refits(fake) == []


def test_all_refits_every_architecture_but_those_over_budget(fake):
    fake.write(SWEEP.replace("refit: true", "refit: all\nmax_params: 700"))
    plan = fake.plan()
    assert names(plan.state.refits) == [("8", FIRST), ("8", FIRST + 1)]  # known before anything is trained
    fake.run()
    assert refits(fake) == [("8", 0), ("8", 1)]
    fake.write(SWEEP.replace("refit: true", "refit: all"))
    fake.run()
    assert sorted(refits(fake)) == CHOOSING


def test_a_new_seed_is_refitted_and_a_new_best_too(fake):
    fake.run()
    fake.write(SWEEP.replace("seeds: 2", "seeds: 3"))
    fake.run()
    best = best_of(fake)
    assert refits(fake) == [(best, 0), (best, 1), (best, 2)]
    assert len(fake.trained) in (3, 5)  # 2 and 1, or 2 and 3 where another is the best now


def test_there_may_be_more_refits_than_seeds(fake):
    fake.write(SWEEP.replace("refit: true", "refit: {seeds: 3}"))
    fake.run()
    best = best_of(fake)
    assert refits(fake) == [(best, 0), (best, 1), (best, 2)]
    assert len(fake.trained) == 7


def test_refits_of_an_earlier_version_are_trained_again_and_the_plan_says_why(fake):
    """They had the seeds of the sweep. Their records stay, and are what nobody asks for."""
    fake.run()
    best = best_of(fake)
    lose_refits(fake)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fmnist_mlp.sweepfile.trials.reserved", lambda stream, number: number)
        fake.run()
        assert fake.trained == [(best, 0), (best, 1)]
    plan = fake.plan()
    assert plan.changes == [f"{best}: refit with fresh seeds (it was refitted with seeds that had chosen the best)"]
    fake.run()
    assert fake.trained == [(best, FIRST), (best, FIRST + 1)]
    assert fake.plan().changes == []
    leftovers, _ = find_leftovers(fake.folder / "results", fake.folder / "logs")
    units = {"8": "8", "wide": "16"}[best]
    assert sorted(leftover.reason.partition(": ")[2] for leftover in leftovers) == [
        f"{units}, seed {seed} (refit), 3 epochs" for seed in (0, 1)
    ]


def test_only_keeps_the_best_from_being_refitted_where_it_is_another(fake):
    fake.write(SWEEP.replace("refit: true", "refit: false"))
    fake.run()
    best = best_of(fake)
    other = ({"8", "wide"} - {best}).pop()
    fake.write(SWEEP)
    fake.run(only=(other,))
    assert fake.trained == []
    fake.run(only=(best,))
    assert fake.trained == [(best, FIRST), (best, FIRST + 1)]


def test_a_failed_refit_is_a_failed_trial(fake):
    fake.run()
    best = best_of(fake)
    lose_refits(fake)
    fake.fate[(best, FIRST + 1)] = ValueError("no")
    _, summary = fake.run()
    assert [trial.in_words for trial in summary.state.failed] == [f"{best} refit 1"]
    assert len(summary.failed) == 1
    row = next(row for row in fake.rows("results.csv") if row["architecture"] == best)
    assert (row["refit_trials"], row["failed"]) == ("1", "0")


def test_an_interruption_before_the_choice_leaves_it_to_the_next_run(fake):
    fake.fate[("8", 1)] = Stopped()
    _, summary = fake.run()
    assert summary.stopped
    assert summary.state.refits == []
    fake.fate.clear()
    fake.run()
    assert len(refits(fake)) == 2


def test_fresh_trains_the_refits_again_too(fake):
    fake.run()
    fake.run(fresh=True)
    assert len(fake.trained) == 6


def test_the_listener_hears_of_refits_before_they_run(fake):
    heard = []

    class Loud(Listener):
        def trials_added(self, trials, state):
            heard.append(names(trials))

        def trial_ended(self, trial, record, outcome):
            heard.append((trial.in_words, record.is_refit))

    fake.run(Loud())
    best = best_of(fake)
    assert heard[4] == [(best, FIRST), (best, FIRST + 1)]
    assert sorted(heard[5:]) == [(f"{best} refit 0", True), (f"{best} refit 1", True)]


def test_logs_show_refits_beside_the_others_and_forget_them_with_the_key(fake):
    fake.run()
    best, folder = best_of(fake), fake.folder / "results" / "_trials" / "fake"
    assert {path.name for path in (folder / best).iterdir() if path.is_dir()} == {
        *("seed-0", "seed-1", "refit-0", "refit-1")
    }
    fake.write(SWEEP.replace("refit: true", "refit: false"))
    fake.run()
    assert {path.name for path in (folder / best).iterdir() if path.is_dir()} == {"seed-0", "seed-1"}


def test_refits_that_were_trained_before_the_choice_was_open_again_are_shown(fake):
    fake.run()
    best = best_of(fake)
    lost = next(row for row in fake.rows() if row["refit"] == "0")
    shutil.rmtree(fake.folder / "results" / "_records" / lost["fingerprint"])
    fake.run()
    assert fake.trained == [(lost["architecture"], int(lost["seed"]))]
    assert refits(fake) == [(best, 0), (best, 1)]
    shown = {path.name for path in (fake.folder / "results" / "_trials" / "fake" / best).iterdir() if path.is_dir()}
    assert {"refit-0", "refit-1"} <= shown


def test_clean_keeps_refits_while_the_key_stands(fake):
    fake.run()
    where = fake.folder / "results", fake.folder / "logs"
    assert find_leftovers(*where) == ([], 0)
    fake.write(SWEEP.replace("refit: true", "refit: false"))
    leftovers, _ = find_leftovers(*where)
    assert len(leftovers) == 2
    assert sorted(leftover.reason.partition(", ")[2] for leftover in leftovers) == [
        *("refit 0, 3 epochs", "refit 1, 3 epochs")
    ]


@pytest.mark.slow
def test_the_report_shows_refits_and_their_failures(fake):
    fake.run()
    best, results = best_of(fake), Results(fake.folder / "results")
    (row,) = [row for row in fake.rows("results.csv") if row["architecture"] == best]
    plan = fake.plan()
    page = report(plan.state, table.make_table(plan.state, results), results).read_text("utf-8")
    shown = f"{float(row['refit_test_accuracy']):.4f} ± {float(row['refit_test_accuracy_std']):.4f}"
    assert page.count(shown) >= 2  # in the summary and in the table
    assert "refit: test accuracy" in page
    assert "after selection" not in page
    lose_refits(fake)
    plan = fake.plan()
    page = report(plan.state, table.make_table(plan.state, results), results).read_text("utf-8")
    assert page.count("(after selection)") == 2  # in the first sentence and in a note below the table
    fake.fate[(best, FIRST + 1)] = ValueError("no")
    fake.run()
    plan = fake.plan()
    page = report(plan.state, table.make_table(plan.state, results), results).read_text("utf-8")
    assert f"{best} refit 1" in page


# ---- one refit, really trained

TINY = """
seeds: 1
refit: all
training: {epochs: 3, batch_size: 32}
architectures:
  - name: small
    layers: [16]
baselines:
  - LogisticRegression
"""


@pytest.fixture(scope="module")
def refitted(worker, source, tmp_path_factory):  # noqa: F811
    """The folder, and the records of the network and of the baseline."""
    folder = tmp_path_factory.mktemp("refit")
    (folder / "tiny.yaml").write_text(TINY)
    sweep = load_sweep(folder / "tiny.yaml")
    trials = list_refits(sweep, sweep.architectures, data_identity=identity())
    return folder, [run(trial, source, folder) for trial in trials]


@pytest.mark.slow
def test_a_refit_trains_on_every_image_and_validates_on_none(refitted):
    folder, records = refitted
    for record in records:
        assert (record.is_done, record.is_refit, record.train_images, record.val_images) == (True, True, 203, 0)
        assert {name.partition("_")[0] for name in record.metrics} == {"test"}
        assert [*record.classes] == ["test"]
        assert Results(folder / "results").load_record(record.fingerprint).metrics == record.metrics
        with np.load(folder / "results" / "_records" / record.fingerprint / "predictions.npz") as arrays:
            assert not [name for name in arrays if name.startswith("val")]
            assert np.mean(arrays["label"] == arrays["predicted"]) == record.metrics["test_accuracy"]
    assert set(records[0].history) == {"loss", "accuracy", "learning_rate"}


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["compiled", "plain"])
def test_a_refit_is_what_fit_makes_of_all_images(refitted, source, loop, tmp_path):  # noqa: F811
    """Against Keras's own `fit` on batches put together here."""
    import keras

    from fmnist_mlp.data.split import epoch_order
    from fmnist_mlp.training import models

    folder, _ = refitted
    sweep = load_sweep(folder / "tiny.yaml")
    (trial, _) = list_refits(sweep, sweep.architectures, data_identity=identity(), plain_fit=loop == "plain")
    record = run(trial, source, tmp_path)
    x, y = draw_images(203, 0)
    model = models.build_model(trial.architecture.layers, (8, 8), 4, seed=FIRST)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    losses = []
    for epoch in range(3):
        order = epoch_order(203, FIRST, epoch)
        fitted = model.fit(x[order].astype(np.uint8), y[order], batch_size=32, shuffle=False, verbose=0)
        losses += fitted.history["loss"]
    assert record.history["loss"] == pytest.approx(losses, rel=1e-5)


@pytest.mark.slow
def test_a_record_of_a_refit_with_validation_missing_in_another_is_refused(refitted):
    _, (record, _) = refitted
    content = json.loads(record.model_dump_json())
    content["settings"].pop("refit")
    with pytest.raises(ValueError, match="a finished trial without"):
        type(record).model_validate(content)


@pytest.mark.slow
def test_a_sweep_in_parts_refits_to_the_same_bits(tmp_path):
    text = """
dataset: synthetic
limit: 600
seeds: 2
refit: true
training: {epochs: 4}
architectures: [[16], [32, 16]]
"""
    whole, stopped = Project(tmp_path / "whole", text), Project(tmp_path / "stopped", text)
    whole.sweep("--jobs", "1")
    assert sum(row["refit"] == "1" for row in whole.trials().values()) == 2
    stopped.sweep("--jobs", "1", "--only", "16")
    stopped.sweep("--jobs", "1")
    assert different(whole.numbers(), stopped.numbers()) == []
    # The model that is exported is the refit's, and loads as any other.
    from fmnist_mlp.inference.finished import FinishedSweep

    finished = FinishedSweep(whole.results, "tiny")
    best = next(name for name, row in whole.rows().items() if row["refit_trials"] == "2")
    assert finished.record(best).is_refit

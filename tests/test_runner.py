"""The loop that owns a sweep, with trials that cost nothing: what is planned, what is recorded, what is in step."""

import dataclasses
import errno
import json
import os
from types import SimpleNamespace

import pytest
from fake_sweep import SWEEP, EngineListener, Fake, names
from sweeping import Made, state

from fmnist_mlp.data.source import DataSource
from fmnist_mlp.engines.calls import Failure, Outcome, Stopped
from fmnist_mlp.engines.inline import InlineEngine
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.loop import Listener, Run, run_sweep
from fmnist_mlp.runner.plan import WORKER_BYTES, count_gpus, make_plan
from fmnist_mlp.runner.workers import Workers
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.sweep import Overrides


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return Fake(tmp_path, monkeypatch)


ALL = [(name, seed) for name in ("8", "wide", "wider") for seed in (0, 1)]
IN_TURN = [(name, seed) for name in ("wider", "wide", "8") for seed in (0, 1)]  # the most work first


def end_all_calls(monkeypatch, status, error):
    """Every call ends like this, though in this process nothing can be killed."""

    class Engine(InlineEngine):
        def run(self, calls):
            yield from (Outcome(call, status, error=error) for call in calls)

    monkeypatch.setattr("fmnist_mlp.runner.loop.InlineEngine", Engine)


# ---- the plan


def test_a_plan_lists_every_trial_and_writes_nothing(fake):
    before = sorted(fake.folder.rglob("*"))
    plan = fake.plan()
    assert names(plan.state.trials) == names(plan.to_train) == ALL
    assert (plan.state.done, plan.state.failed, plan.damaged, plan.changes) == ([], [], [], [])
    assert plan.state.sizes["8"].params == 64 * 8 + 8 + 8 * 4 + 4
    assert sorted(fake.folder.rglob("*")) == before


def test_a_run_changes_nothing_of_its_plan(fake):
    plan, summary = fake.run()
    assert (len(plan.state.records), len(summary.state.records)) == (0, 6)
    assert (names(plan.to_train), plan.state.latencies) == (ALL, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.jobs = 3


def test_a_second_plan_has_nothing_to_train_and_reads_no_images(fake, monkeypatch):
    fake.run()
    monkeypatch.setattr("fmnist_mlp.data.source.load_data", lambda source: pytest.fail("the images were read again"))
    plan = fake.plan()
    assert (len(plan.state.done), plan.to_train) == (6, ())
    _, summary = fake.run()
    assert (fake.trained, summary.trained, summary.stopped) == ([], 0, False)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (("wide",), ["wide"]),
        (("wide*",), ["wide", "wider"]),
        (("8", "wider"), ["8", "wider"]),
        (("*",), ["8", "wide", "wider"]),
        (("w?de",), ["wide"]),
        ((), ["8", "wide", "wider"]),
    ],
)
def test_only_trains_these_and_the_table_keeps_all(only, expected, fake):
    plan, _ = fake.run(only=only)
    assert fake.trained == [one for one in IN_TURN if one[0] in expected]
    assert names(plan.state.trials) == ALL
    rows = {row["architecture"]: row for row in fake.rows("results.csv")}
    assert list(rows) == ["8", "wide", "wider"]
    assert [name for name, row in rows.items() if row["test_accuracy"]] == expected
    assert {row["dataset"] for row in rows.values()} == {"idx:images"}


def test_only_with_a_name_that_is_not_there_says_what_there_is(fake):
    with pytest.raises(SweepError, match="--only wied: no architecture of that name; there are 8, wide, wider"):
        fake.plan(only=("wied",))


def test_overrides_are_other_trials_and_leave_the_full_ones_alone(fake):
    fake.run()
    for overrides, count in ((Overrides(epochs=1), 6), (Overrides(limit=50), 6), (Overrides(seeds=1), 0)):
        assert len(fake.plan(overrides).to_train) == count, overrides
    assert len(fake.plan(Overrides(seeds=3)).to_train) == 3
    assert fake.plan(Overrides(limit=203)).to_train == (), "as many as there are is no limit"
    assert fake.plan(plain_fit=True).state.done == []


def test_what_a_rename_a_comment_or_an_order_changes_is_not_trained_again(fake):
    fake.run()
    fake.write(
        SWEEP.replace("name: wide\n", "name: broad\n").replace("  - [8]\n", "") + "  - [8]  # moved, and explained\n"
    )
    fake.run()
    assert fake.trained == []
    assert [row["architecture"] for row in fake.rows("results.csv")] == ["broad", "wider", "8"]
    assert sorted(p.name for p in (fake.folder / "logs" / "fake").glob("[!_]*")) == ["8", "broad", "wider"]
    assert sorted(p.stem for p in (fake.folder / "results" / "fake" / "models").iterdir()) == ["8", "broad", "wider"]


def test_a_changed_setting_trains_its_architecture_and_says_what_changed(fake):
    fake.run()
    rows, records = fake.rows(), state(*fake.folder.glob("results/_records/[0-9a-f]*"))
    fake.write(SWEEP.replace("layers: [16]", "layers: [16]\n    learning_rate: 5e-4"))
    plan, _ = fake.run()
    assert fake.trained == [("wide", 0), ("wide", 1)]
    assert plan.changes == ["wide: learning_rate 0.001 -> 0.0005"]
    assert [a == b for a, b in zip(rows, fake.rows(), strict=True)] == [row["architecture"] != "wide" for row in rows]
    assert records.items() <= state(fake.folder / "results/_records").items(), "to go back to"
    fake.write(SWEEP)
    fake.run()
    assert (fake.trained, fake.rows()) == ([], rows)


@pytest.mark.parametrize(
    ("trials_to_train", "jobs", "cores", "memory", "expected"),
    [
        (6, None, 4, None, 4),
        (6, None, 64, None, 6),
        (6, None, 4, 2 * WORKER_BYTES + 10**6, 2),
        (6, None, 4, 1, 1),
        (6, 1, 4, None, 1),
        (6, 1000, 4, None, 6),
        (6, 1000, 4, 3 * WORKER_BYTES + 10**6, 3),
        (6, 0, 4, None, 0),
    ],
    ids=[
        "cores",
        "trials",
        "memory",
        "hardly any memory",
        "asked for one",
        "asked for too many",
        "asked for more than memory holds",
        "this process",
    ],
)
def test_how_many_workers(trials_to_train, jobs, cores, memory, expected, fake, monkeypatch):
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_cores", lambda: cores)
    for module in ("runner.loop", "runner.plan"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.count_gpus", lambda: 0)
    with monkeypatch.context() as patch:
        patch.setattr("fmnist_mlp.runner.plan.available_memory_bytes", lambda: memory)
        patch.setattr(
            "fmnist_mlp.runner.plan.check_shapes",
            lambda *args, memory_limit_bytes, class_counts, check=check_shapes: check(*args),
        )
        plan = fake.plan(jobs=jobs)
    assert len(plan.to_train) == trials_to_train
    assert plan.jobs == expected
    assert (plan.jobs_note is not None) == (memory is not None)


@pytest.mark.parametrize(
    ("in_driver", "visible", "gpus"),
    [
        (None, None, 0),
        (1, None, 1),
        (2, None, 2),
        (0, None, 1),
        (1, "-1", 0),
        (1, "", 0),
        (1, "2,0,3", 3),
        (1, "GPU-8932f937", 1),
        (1, "0,-1,1", 1),
        (1, "NoDevFiles", 0),  # what Slurm and others say for none
        (1, "void", 0),
        (1, "MIG-73fd1c3e, 1", 2),
    ],
)
def test_gpus_are_counted_without_touching_one(tmp_path, monkeypatch, in_driver, visible, gpus):
    """With a driver (or None), in whose folder there are so many."""
    files = [] if in_driver is None else ["version", *(f"gpus/0000:0{n}:00.0/information" for n in range(in_driver))]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus(tmp_path) == gpus


@pytest.mark.parametrize(("device", "jobs"), [("auto", 2), ("gpu", 2), ("cpu", 4)])
def test_a_worker_for_each_gpu(device, jobs, fake, monkeypatch):
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_cores", lambda: 4)
    for module in ("runner.loop", "runner.plan"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.count_gpus", lambda: 2)
    assert fake.plan(device=device, jobs=None).jobs == jobs


@pytest.mark.parametrize(("jobs", "workers"), [(None, 4), (1, 1)])
def test_where_tensorflow_finds_no_gpu_there_is_a_worker_a_core_all_the_same(jobs, workers, fake, monkeypatch):
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_cores", lambda: 4)
    for module in ("runner.loop", "runner.plan"):
        monkeypatch.setattr(
            f"fmnist_mlp.{module}.count_gpus", lambda: 1
        )  # a driver is there, of which TensorFlow can make nothing
    engines = []

    class Engine(InlineEngine):
        def run(self, calls):
            engines.append(self)
            assert self.jobs == 1
            yield from super().run(calls)

    monkeypatch.setattr("fmnist_mlp.runner.loop.Pool", Engine)
    _, summary = fake.run(jobs=jobs)
    assert (summary.trained, engines[0].jobs) == (6, workers)


def test_for_a_large_plan_no_file_is_looked_for_trial_by_trial(fake, monkeypatch):
    fake.run()
    fake.write(SWEEP.replace("seeds: 2", "seeds: 1000"))
    looked_at = []

    def stamp(results, fingerprint, stamp=Results.stamp):
        looked_at.append(fingerprint)
        return stamp(results, fingerprint)

    monkeypatch.setattr(Results, "stamp", stamp)
    plan = fake.plan()
    assert (len(plan.state.done), len(plan.to_train)) == (6, 2994)
    assert set(looked_at) == {trial.fingerprint for trial in plan.state.trials if trial.seed < 2}


# ---- the run


def test_everything_is_trained_recorded_and_shown(fake):
    _, summary = fake.run()
    assert fake.trained == IN_TURN
    assert (summary.trained, summary.failed, summary.stopped) == (6, [], False)
    assert len(summary.state.done) == 6
    assert [(row["architecture"], int(row["seed"]), row["status"]) for row in fake.rows()] == [
        (*t, "done") for t in ALL
    ]
    assert len(list((fake.folder / "results" / "_trials").rglob("*.session"))) == 6
    assert json.loads((fake.folder / "results" / "_data.json").read_text())


def test_fresh_trains_everything_again(fake):
    fake.run()
    rows = fake.rows("results.csv")
    plan, _ = fake.run(fresh=True, only=("wide",))
    assert fake.trained == [("wide", 0), ("wide", 1)]
    assert plan.again == {"--fresh": 2}
    assert fake.rows("results.csv") == rows


def test_a_failed_trial_is_a_record_and_the_rest_go_on(fake):
    fake.fate["wide", 0] = ValueError("loss became nan\nin epoch 2")
    _, summary = fake.run()
    assert fake.trained == IN_TURN
    assert (summary.trained, len(summary.failed), summary.stopped) == (5, 1, False)
    assert names(summary.state.failed) == [("wide", 0)]
    record = Results(fake.options.results_dir).load_record(summary.state.failed[0].fingerprint)
    assert record == summary.failed[0]
    assert (record.error["type"], record.error["message"]) == ("ValueError", "loss became nan\nin epoch 2")
    assert "Traceback" in record.error["traceback"]
    assert "_run_trial" in record.error["traceback"]
    assert record.environment["device"] == "cpu"
    row = next(row for row in fake.rows() if row["status"] == "failed")
    assert (row["error"], row["device"]) == ("loss became nan in epoch 2", "cpu")
    assert [(row["trials"], row["failed"]) for row in fake.rows("results.csv")] == [("2", "0"), ("1", "1"), ("2", "0")]


def test_what_failed_is_trained_again_only_when_asked(fake):
    fake.fate["wide", 0] = ValueError("bad luck")
    fake.run()
    fake.fate.clear()
    _, summary = fake.run()
    assert (fake.trained, summary.failed) == ([], [])
    fake.run(retry_failed=True)
    assert fake.trained == [("wide", 0)]
    assert {row["status"] for row in fake.rows()} == {"done"}


@pytest.mark.parametrize("error", [MemoryError("no memory"), OSError(28, "No space left on device")])
def test_what_the_machine_failed_is_trained_again_by_the_next_two_runs_then_only_when_asked(fake, error):
    fake.fate["wide", 0] = error
    for number in (1, 2, 3):
        _, summary = fake.run()
        assert ("wide", 0) in fake.trained
        assert [record.machine_failures for record in summary.failed] == [number]
    assert fake.run()[1].failed == []
    assert fake.trained == []
    _, summary = fake.run(retry_failed=True)
    assert (fake.trained, [record.machine_failures for record in summary.failed]) == ([("wide", 0)], [4])
    fake.fate.clear()
    fake.run(retry_failed=True)
    assert {row["status"] for row in fake.rows()} == {"done"}


def test_a_failure_of_the_trials_own_ends_the_count_of_the_machines(fake):
    fake.fate["wide", 0] = MemoryError()
    fake.run()
    fake.fate["wide", 0] = ValueError("loss became nan")
    _, summary = fake.run()
    assert summary.failed[0].machine_failures == 0
    assert fake.plan().to_train == ()


@pytest.mark.parametrize(
    ("limit", "is_tried_again"), [(None, False), (5.0, False), (10.0, False), (10.5, True), (20.0, True)]
)
def test_a_trial_that_took_too_long_is_trained_again_when_the_limit_is_raised(fake, monkeypatch, limit, is_tried_again):
    end_all_calls(monkeypatch, "timed_out", Failure("TimedOut", "no result after 10 s"))
    plan, summary = fake.run(trial_timeout=10.0)
    assert {(record.error["limit_seconds"], record.machine_failures) for record in summary.failed} == {("10.0", 0)}
    assert (plan.to_train[0] in fake.plan(trial_timeout=limit).to_train) == is_tried_again


def test_a_worker_that_died_twice_is_a_failure_of_the_machine(fake, monkeypatch):
    end_all_calls(monkeypatch, "crashed", Failure("WorkerDied", "killed by SIGKILL (out of memory?)"))
    plan, summary = fake.run()
    assert {record.machine_failures for record in summary.failed} == {1}
    assert plan.to_train[0] in fake.plan().to_train


def test_fail_fast_stops_at_the_first_failure_and_keeps_what_is_done(fake):
    fake.fate["wider", 1] = ValueError("bad luck")
    _, summary = fake.run(fail_fast=True)
    assert fake.trained == [("wider", 0), ("wider", 1)]
    assert (summary.trained, len(summary.failed), summary.stopped) == (1, 1, False)
    assert [row["status"] for row in fake.rows()] == ["done", "failed"]
    assert [row["architecture"] for row in fake.rows("results.csv")] == ["8", "wide", "wider"]
    fake.run()
    assert fake.trained == IN_TURN[2:]


def test_what_the_user_can_mend_passes_through_and_is_no_record(fake):
    """A full disk or images that are gone are not the trial's fault: it must be trained when they are mended."""
    fake.fate["wide", 0] = SweepError("the disk is full")
    with pytest.raises(SweepError, match="the disk is full"):
        fake.run()
    assert [row["status"] for row in fake.rows()] == ["done", "done"], "the tables are written all the same"
    assert len(list(fake.folder.glob("results/_records/*/record.json"))) == 2
    fake.fate.clear()
    assert names(fake.plan().to_train) == [one for one in ALL if one[0] != "wider"]


def test_a_stop_ends_the_run_and_the_next_one_goes_on(fake):
    listening = EngineListener()
    fake.fate["wide", 0] = lambda: listening.engines[0].stop()
    _, summary = fake.run(listening)
    assert (summary.trained, summary.stopped) == (3, True)
    assert len(summary.state.done) == len(fake.rows()) == 3
    fake.run()
    assert sorted(fake.trained) == [("8", 0), ("8", 1), ("wide", 1)]
    assert len(fake.rows()) == 6


def test_a_trial_that_was_stopped_is_no_record_and_no_failure(fake):
    fake.fate["wide", 0] = Stopped()
    ended = []

    class Listening(Listener):
        def trial_ended(self, trial, record, outcome):
            ended.append((*names([trial])[0], record is None, outcome.status))

    _, summary = fake.run(Listening(), only=("wide",))
    assert ("wide", 0, True, "stopped") in ended
    assert (summary.failed, summary.stopped) == ([], True)
    assert ("wide", 0) in names(fake.plan().to_train)


def test_tables_and_logs_are_in_step_at_every_moment(fake, monkeypatch):
    monkeypatch.setattr("fmnist_mlp.runner.loop._SECONDS_BETWEEN_TABLES", 0.0)
    monkeypatch.setattr("fmnist_mlp.runner.loop._SHARE_OF_TABLES", 0.0)
    fake.fate["wide", 1] = ValueError("bad luck")
    seen = []

    class Watching(Listener):
        def trial_ended(self, trial, record, outcome):
            rows = {(row["architecture"], int(row["seed"])): row["status"] for row in fake.rows()}
            counts = [int(row["trials"]) + int(row["failed"]) for row in fake.rows("results.csv")]
            marks = list((fake.folder / "results" / "_trials").rglob(".trial"))
            seen.append((len(rows), sum(counts), len(marks), rows[names([trial])[0]] == record.status))

    fake.run(Watching())
    assert seen == [(n, n, n, True) for n in range(1, 7)]


@pytest.mark.parametrize(
    ("jobs", "cores", "trials_left", "expected"),
    [(2, 2, 2, 0), (2, 2, 1, 1), (2, 3, 5, 1), (1, 1, 1, 0), (2, 2, 0, 0), (0, 4, 1, 0)],
)
def test_what_the_end_needs_is_imported_once_and_only_while_a_core_is_idle(
    jobs, cores, trials_left, expected, fake, monkeypatch
):
    monkeypatch.setattr("fmnist_mlp.runner.loop.available_cores", lambda: cores)
    started = []
    monkeypatch.setattr("threading.Thread.start", lambda thread: started.append(thread))
    run = Run(fake.plan(jobs=jobs), Listener(), Workers(), home=None)
    for _ in range(2):
        run.import_ahead(trials_left)
    assert len(started) == expected


def test_what_is_imported_ahead_is_there_before_latencies_are_measured(fake):
    run, joined = Run(fake.plan(), Listener(), Workers(), home=None), []
    run.importing = SimpleNamespace(join=lambda: joined.append(True))
    run.import_ahead(1)
    assert not joined
    run.import_ahead(0)
    assert joined


def test_a_listener_hears_of_workers_progress_and_ends_in_order(fake):
    heard = []

    class Listening(Listener):
        def worker_ready(self, worker, environment):
            heard.append(("ready", worker, environment["device"]))

        def trial_progress(self, trial, message):
            heard.append(("epoch", message["epoch"], *names([trial])[0]))

        def trial_ended(self, trial, record, outcome):
            heard.append(("ended", outcome.status, *names([trial])[0]))

    fake.run(Listening(), only=("wide",), overrides=Overrides(seeds=1))
    assert heard == [("ready", 0, "cpu"), ("epoch", 1, "wide", 0), ("ended", "done", "wide", 0)]


def test_trials_that_ask_for_more_threads_run_after_the_others_on_workers_of_their_own(fake):
    fake.write(SWEEP.replace("layers: [16]", "layers: [16]\n    threads: 2"))
    listening = EngineListener()
    fake.run(listening)
    assert fake.trained == [one for one in IN_TURN if one[0] != "wide"] + [("wide", 0), ("wide", 1)]
    assert [engine.settings.environment["OMP_NUM_THREADS"] for engine in listening.engines] == ["1", "2"]


def test_a_damaged_record_is_named_and_its_trial_trained_again(fake):
    plan, _ = fake.run()
    path = Results(fake.options.results_dir).record_folder(plan.state.trials[3].fingerprint) / "record.json"
    path.write_bytes(path.read_bytes()[:100])
    again = fake.plan()
    assert names(again.to_train) == [("wide", 1)]
    assert again.damaged == [
        f"{path}: is damaged or was edited: its SHA-256 is not the one in SHA256SUMS; its trial (wide seed 1) is "
        "trained again"
    ]
    fake.run()
    assert fake.plan().damaged == []


def test_two_sweep_files_share_their_trials(fake):
    fake.run(only=("wide",))
    (fake.folder / "second.yaml").write_text(SWEEP.replace("name: fake", "name: second").replace("wide\n", "broad\n"))
    sweep = load_sweep(fake.folder / "second.yaml")
    plan = make_plan(sweep, fake.options)
    assert names(t for t in plan.state.trials if t not in plan.to_train) == [("broad", 0), ("broad", 1)]


@pytest.mark.parametrize("what", ["results_dir", "logs_dir"])
def test_a_folder_that_cannot_be_written_is_the_users_to_mend(what, fake):
    (fake.folder / "a-file").write_text("no folder")
    with pytest.raises(SweepError, match=r"cannot write|is not a"):
        fake.run(**{what: fake.folder / "a-file" / "below"})


def test_a_disk_that_fills_while_models_are_copied_is_the_users_to_mend(fake, monkeypatch):
    replace = os.replace

    def replace_or_fail(source, target):
        if str(target).endswith(".keras"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(source, target)

    monkeypatch.setattr(os, "replace", replace_or_fail)
    with pytest.raises(SweepError, match="No space left on device"):
        fake.run()
    assert len(fake.rows()) == 6, "the tables are written, the records kept"


@pytest.mark.slow
def test_a_thousand_done_trials_are_planned_from_their_records_alone(tmp_path, monkeypatch):
    """No time is asserted here (benchmarks do); only that each record is read once and nothing else of a trial."""
    fake = Fake(tmp_path, monkeypatch, SWEEP.replace("seeds: 2", "seeds: 40"))
    fake.run()
    opened = []
    load_record = Results.load_record
    monkeypatch.setattr(Results, "load_record", lambda self, f: opened.append(f) or load_record(self, f))
    plan, _ = fake.run()
    assert len(opened) == len(set(opened)) == len(plan.state.trials) == 120


def test_records_by_hand_are_records_by_the_runner(tmp_path):
    """The fixture `made` writes what the program reads."""
    made = Made(tmp_path)
    made.put_all()
    assert all(made.results.load_record(t.fingerprint).is_done for t in made.plan)


def test_a_quick_look_goes_by_the_name_of_a_sweep_that_is_its_own_file(fake):
    fake.run()
    other = fake.folder / "other.yaml"
    other.write_text(SWEEP)
    plan = make_plan(load_sweep(other, Overrides(epochs=1)), fake.options)
    with pytest.raises(SweepError, match=r"results/fake holds the results of .*fake\.yaml: give .*other\.yaml a name"):
        run_sweep(plan, Listener())
    assert not (fake.folder / "results/fake+epochs-1").exists()


def test_the_stand_in_that_nobody_asked_for_never_replaces_results_on_real_images(fake, monkeypatch):
    def find_nothing(*arguments, **options):
        return DataSource("synthetic", fallback_reason="no network; give a folder")

    fake.run()
    monkeypatch.setattr("fmnist_mlp.runner.plan.find_data", find_nothing)
    with pytest.raises(SweepError, match=r"results/fake holds results on real images.*: no network; give a folder; "):
        fake.plan()
    quick = fake.plan(Overrides(epochs=1))
    assert (quick.info.dataset, quick.sweep.folder_name) == ("synthetic", "fake+epochs-1")
    assert fake.plan(results_dir=fake.folder / "others").info.dataset == "synthetic"


def test_as_many_images_as_there_are_are_no_quick_look(fake):
    fake.run(overrides=Overrides(limit=203))
    assert len(fake.rows()) == 6
    assert not list((fake.folder / "results").glob("*+*"))
    assert fake.plan(Overrides(limit=202)).sweep.folder_name == "fake+limit-202"
    fake.write(SWEEP + "limit: 50\n")
    assert fake.plan(Overrides(limit=1000)).sweep.folder_name == "fake+limit-203"
    fake.write(SWEEP + "limit: 1000\n")
    assert fake.plan(Overrides(limit=203)).sweep.folder_name == "fake"

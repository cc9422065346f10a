"""Workers that die, hang, cannot answer or cannot be started: what becomes of their calls, and what is said."""

import multiprocessing
import pickle
import signal
import subprocess
import sys
import time

import engine_calls
import pytest
from engine_calls import is_held
from engine_runs import SCRIPT_ENVIRONMENT, call, doubles, local, nothing_left_behind, numbered, run

from fmnist_mlp.engines.calls import EngineError

__all__ = ["nothing_left_behind"]  # a fixture, used by itself


@pytest.mark.parametrize("function", [engine_calls.unpicklable, engine_calls.unreadable])
def test_a_result_that_cannot_be_sent_is_a_failure(function):
    outcomes = run(local(), call(function), call(engine_calls.double, 1))
    assert outcomes[function.__name__].status == "failed"
    assert outcomes[function.__name__].value is None
    assert outcomes[function.__name__].error.type in ("TypeError", "ValueError")
    assert outcomes["double"].value == 2


def test_arguments_that_a_worker_cannot_read_are_a_failure():
    outcomes = run(local(), call(engine_calls.length, engine_calls.Unreadable()))
    assert outcomes["length"].error.message == "unreadable on purpose"


def test_a_call_that_does_not_pickle_is_refused_before_anything_starts():
    with pytest.raises((pickle.PicklingError, AttributeError)):
        run(local(), call(engine_calls.length, lambda: None))


def test_a_killed_worker_costs_one_more_attempt(tmp_path):
    calls = doubles(10)
    outcomes = run(local(2), call(engine_calls.die_once, tmp_path / "mark"), *calls)
    assert len(outcomes) == 11
    assert outcomes["die_once"].value == "survived"
    assert outcomes["die_once"].attempts == 2
    assert all(outcomes[str(n)].attempts == 1 for n in range(10))


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_call_that_always_kills_its_worker_has_crashed(retries):
    outcomes = run(local(retries=retries), call(engine_calls.die), call(engine_calls.double, 1))
    assert (outcomes["die"].status, outcomes["die"].attempts) == ("crashed", retries + 1)
    assert outcomes["die"].error.message == "killed by SIGKILL (out of memory?)"
    assert outcomes["double"].value == 2


@pytest.mark.parametrize(
    ("function", "how", "message"),
    [
        (engine_calls.die, signal.SIGSEGV, "killed by SIGSEGV"),
        (engine_calls.leave, 3, "ended with exit code 3"),
        (engine_calls.leave, 0, "ended with exit code 0"),
    ],
)
def test_a_crash_names_its_cause(function, how, message):
    (outcome,) = local(retries=0).run([call(function, how)])
    assert (outcome.status, outcome.error.message) == ("crashed", message)


@pytest.mark.slow
def test_a_call_beyond_the_timeout_loses_its_worker_only(tmp_path):
    engine = local(2, timeout=0.5)
    endless = call(engine_calls.compute_for_ever, tmp_path / "lock", key="endless")
    outcomes = run(engine, endless, *doubles(5))
    assert (outcomes["endless"].status, outcomes["endless"].attempts) == ("timed_out", 1)
    assert outcomes["endless"].error.message == "no result after 0.5 s"
    assert 0.5 <= outcomes["endless"].seconds < 3
    assert [outcomes[str(n)].status for n in range(5)] == ["done"] * 5
    assert not is_held(tmp_path / "lock")


@pytest.mark.slow
def test_what_a_call_sent_in_time_counts_however_late_it_is_read():
    outcomes = []
    for outcome in local(2, timeout=0.4).run(doubles(2)):
        outcomes.append(outcome)
        time.sleep(0.5)  # a consumer that is slower than the timeout
    assert [outcome.status for outcome in outcomes] == ["done", "done"]


@pytest.mark.parametrize(
    ("function", "args", "cause"),
    [("die", (None,), "killed by SIGKILL"), ("leave", (None, 1), "ended with exit code 1")],
)
def test_workers_that_die_while_they_start_are_given_up(function, args, cause):
    engine = local(2, initializer=f"engine_calls:{function}", initargs=args)
    with pytest.raises(EngineError, match=f"3 workers in a row died before they could work, the last one {cause}"):
        run(engine, *numbered(engine_calls.nothing, 8))


UNGUARDED = """
from fmnist_mlp.engines.calls import Call, WorkerSettings
from fmnist_mlp.engines.pool import Pool
print([outcome.value for outcome in Pool(1, WorkerSettings()).run([Call('a', 'engine_calls:double', (21,))])])
"""
# As IPython does: a main module that has no file.
NOTEBOOK = f"""
import sys, types
main = sys.modules['__main__'] = types.ModuleType('__main__')
exec({UNGUARDED!r}, vars(main))
"""


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["unguarded.py"], None),
        (["-m", "unguarded"], None),
        (["-c", UNGUARDED], None),
        (["-"], UNGUARDED),
        (["-c", NOTEBOOK], None),
    ],
    ids=["script", "module", "command", "standard input", "notebook"],
)
def test_workers_need_no_guard_and_no_file_of_the_main_module(tmp_path, arguments, stdin):
    (tmp_path / "unguarded.py").write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        env=SCRIPT_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=20,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("[42]\n", "")


def test_no_process_can_be_started(monkeypatch):
    def refuse(self):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    with pytest.raises(EngineError, match="cannot start a worker process: Resource temporarily unavailable"):
        run(local(2), call(engine_calls.nothing))


def test_fewer_processes_than_jobs_can_be_started(monkeypatch):
    start, started = multiprocessing.context.SpawnProcess.start, []

    def refuse_the_third(self):
        if len(started) == 2:
            raise BlockingIOError("Resource temporarily unavailable")
        started.append(self)
        start(self)

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse_the_third)
    outcomes = run(local(8), *doubles(8))
    assert [outcomes[str(n)].value for n in range(8)] == [2 * n for n in range(8)]

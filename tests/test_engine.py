"""The engine: one body over this process and worker processes where both promise the same, then size and speed."""

import os
import resource
import signal
import threading
import time

import engine_calls
import pytest
from engine_calls import is_held
from engine_runs import call, doubles, local, make_engine, nothing_left_behind, numbered, run

from fmnist_mlp.engines.calls import EngineError, WorkerSettings
from fmnist_mlp.errors import SweepError

__all__ = ["make_engine", "nothing_left_behind"]  # fixtures, used by name


# Over every engine.


def test_every_call_gives_its_value(make_engine):
    outcomes = run(make_engine(), *doubles(20))
    assert {key: outcome.value for key, outcome in outcomes.items()} == {str(n): 2 * n for n in range(20)}
    for outcome in outcomes.values():
        assert (outcome.status, outcome.error, outcome.attempts) == ("done", None, 1)
        assert outcome.worker in (0, 1)
        assert 0 <= outcome.seconds < 5


def test_no_calls_start_nothing(make_engine):
    heard = []
    engine = make_engine(WorkerSettings(initializer="engine_calls:initialize_badly", initargs=("never",)))
    engine.on_worker = lambda *hello: heard.append(hello)
    assert list(engine.run([])) == []
    assert heard == []


@pytest.mark.parametrize(
    ("function", "args", "type_name", "message"),
    [
        (engine_calls.fail, (ValueError, "no such thing"), "ValueError", "no such thing"),
        (engine_calls.fail, (MemoryError, "too wide"), "MemoryError", "too wide"),
        (engine_calls.fail, (engine_calls.TwoArgumentsError, "this", "that"), "TwoArgumentsError", "this and that"),
        (engine_calls.fail, (engine_calls.LockedError, "locked"), "LockedError", "locked"),
        (engine_calls.exit_politely, (), "SystemExit", "enough"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_call_that_raises_fails_alone_and_once(make_engine, function, args, type_name, message):
    outcomes = run(make_engine(), call(function, *args, key="bad"), call(engine_calls.double, 4, key="good"))
    bad = outcomes["bad"]
    assert (bad.status, bad.value, bad.attempts) == ("failed", None, 1)
    assert (bad.error.type, bad.error.message) == (type_name, message)
    assert f"in {function.__name__}\n" in bad.error.traceback
    assert outcomes["good"].value == 8


def test_messages_arrive_in_order_and_before_the_outcome(make_engine):
    events = []
    engine = make_engine(on_message=lambda call, message: events.append((call.key, message)))
    for outcome in engine.run([call(engine_calls.report_numbers, 2000, key=key) for key in "ab"]):
        events.append((outcome.call.key, "outcome"))
    for key in "ab":
        assert [event for name, event in events if name == key] == [*range(2000), "outcome"]


def test_the_initializer_runs_before_the_calls_and_says_hello(make_engine):
    hellos, hellos_at_first_outcome = [], []
    engine = make_engine(
        WorkerSettings({"ENGINE_TEST": "yes"}, "engine_calls:initialize", ("value",)),
        on_worker=lambda worker, value: hellos.append((worker, value)),
    )
    for _ in engine.run(numbered(engine_calls.nothing, 4)):
        hellos_at_first_outcome.append(list(hellos))
    assert hellos_at_first_outcome[0]
    assert set(hellos) <= {(0, ("value", "yes")), (1, ("value", "yes"))}


def test_the_environment_reaches_the_calls_and_is_restored(make_engine, monkeypatch):
    monkeypatch.setenv("ENGINE_TEST_CHANGED", "before")
    monkeypatch.setenv("ENGINE_TEST_REMOVED", "before")
    monkeypatch.delenv("ENGINE_TEST_NEW", raising=False)
    changes = {"ENGINE_TEST_CHANGED": "after", "ENGINE_TEST_REMOVED": None, "ENGINE_TEST_NEW": "new"}
    outcomes = run(make_engine(WorkerSettings(changes)), call(engine_calls.variables, *changes))
    assert outcomes["variables"].value == ["after", None, "new"]
    assert [os.environ.get(name) for name in changes] == ["before", "before", None]


def test_the_environment_is_set_before_the_interpreter_starts():
    outcomes = run(local(environment={"PYTHONHASHSEED": "0"}), call(engine_calls.variables, "PYTHONHASHSEED"))
    assert outcomes["variables"].value == ["0"]


@pytest.mark.parametrize(
    ("initargs", "error", "message"),
    [
        (("train-images is damaged",), SweepError, r"^train-images is damaged$"),
        (("a bug", RuntimeError), EngineError, r"(?s)in initialize_badly.*RuntimeError: a bug"),
    ],
    ids=["the user's, as it is", "a bug, with its traceback"],
)
def test_an_error_in_the_initializer_ends_the_run(make_engine, initargs, error, message):
    settings = WorkerSettings(initializer="engine_calls:initialize_badly", initargs=initargs)
    with pytest.raises(error, match=message):
        run(make_engine(settings), call(engine_calls.nothing))


@pytest.mark.parametrize(
    ("function", "end"),
    [(engine_calls.stop_when_asked, ("stopped", None)), (engine_calls.finish_when_asked, ("done", "finished"))],
    ids=["stops", "finishes"],
)
def test_a_gentle_stop_asks_the_running_calls_and_starts_no_other(make_engine, function, end):
    engine = make_engine(on_message=lambda call, message: engine.stop())
    outcomes = run(engine, *numbered(function, 6))
    # The second worker may or may not have started its call when the first call's message stopped all.
    assert 1 <= len(outcomes) <= 2
    assert {(outcome.status, outcome.value) for outcome in outcomes.values()} == {end}
    assert run(engine, *numbered(function, 6)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("now", [False, True], ids=["gently", "now"])
def test_a_stop_from_a_signal_handler_wakes_the_engine(make_engine, tmp_path, now):
    def signal_soon(call, message):
        threading.Timer(0.05, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)).start()

    engine = make_engine(on_message=signal_soon)  # by a thread to itself, which wakes nobody
    lock = tmp_path / "lock"
    one = call(engine_calls.compute_for_ever, lock, key="one") if now else call(engine_calls.stop_when_asked, key="one")
    before = signal.signal(signal.SIGUSR1, lambda *_: engine.stop(now=now))
    try:
        outcomes = run(engine, one)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert outcomes["one"].status == "stopped"
    assert not is_held(lock)


def test_an_exception_in_a_callback_ends_the_run(make_engine):
    def complain(call, message):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(make_engine(on_message=complain), call(engine_calls.report_numbers, 1))


def test_stop_before_run_starts_nothing(make_engine):
    engine = make_engine()
    engine.stop()
    assert run(engine, call(engine_calls.nothing)) == {}


# Size and speed.


def test_a_thousand_calls_cost_the_parent_little():
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF)
    outcomes = run(local(2), *(call(engine_calls.nothing, key=str(n), group=str(n // 5)) for n in range(1000)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    parent_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert len(outcomes) == 1000
    assert parent_seconds / 1000 < 0.002, (
        f"{parent_seconds:.3f} s in the parent, {time.perf_counter() - started:.3f} s in all"
    )


@pytest.mark.slow
def test_an_idle_parent_sleeps(tmp_path):
    """Half a second of waiting costs no CPU time: nothing polls."""
    engine = local(2, timeout=60)
    outcomes = engine.run(numbered(engine_calls.wait_for, 3, tmp_path / "go"))
    threading.Timer(0.7, (tmp_path / "go").touch).start()
    started = time.process_time()
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert time.process_time() - started < 0.2


@pytest.mark.slow
def test_large_arguments_and_results_pass():
    size_bytes = 20 * 2**20
    calls = [call(engine_calls.big, size_bytes, key=f"result {n}") for n in range(2)]
    calls += [call(engine_calls.length, bytes(size_bytes), key=f"argument {n}") for n in range(2)]
    outcomes = run(local(2), *calls)
    assert len(outcomes["result 0"].value) == len(outcomes["result 1"].value) == size_bytes
    assert outcomes["argument 0"].value == outcomes["argument 1"].value == size_bytes

"""The engine: one body over this process and worker processes where both promise the same, then the faults."""

import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import engine_calls
import pytest
from engine_calls import is_held, wait_until

from fmnist_mlp.engines.calls import Call, EngineError, Outcome, WorkerSettings
from fmnist_mlp.engines.inline import InlineEngine
from fmnist_mlp.engines.pool import Pool
from fmnist_mlp.errors import SweepError

ROOT = Path(__file__).parent.parent
SCRIPT_ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


@pytest.fixture(params=["in this process", "one worker", "two workers"])
def make_engine(request):
    def make(settings=None, **options):
        settings = settings or WorkerSettings()
        if request.param == "in this process":
            return InlineEngine(0, settings, **options)
        return Pool(1 if request.param == "one worker" else 2, settings, **options)

    return make


@pytest.fixture(autouse=True)
def _nothing_left_behind():
    before = dict(os.environ)
    files = open_files()
    yield
    assert multiprocessing.active_children() == []
    assert dict(os.environ) == before | {"PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}
    # Three more at most: the pipe of the resource tracker, which lives as long as this process, and the last engine's.
    assert open_files() <= files + 3


def open_files():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def run(engine, *calls):
    """The outcomes by key, each only once."""
    outcomes = list(engine.run(calls))
    by_key = {outcome.call.key: outcome for outcome in outcomes}
    assert len(by_key) == len(outcomes)
    return by_key


def call(function, *args, key=None, **options):
    return Call(key or function.__name__, f"{function.__module__}:{function.__name__}", args, **options)


def numbered(function, count, *args, **options):
    return [call(function, *args, key=str(n), **options) for n in range(count)]


def doubles(count):
    return [call(engine_calls.double, n, key=str(n)) for n in range(count)]


def local(jobs=1, environment=None, initializer=None, initargs=(), **options):
    return Pool(jobs, WorkerSettings(environment or {}, initializer, initargs), **options)


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


# Workers that die, hang or cannot answer.


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


def test_a_call_beyond_the_timeout_loses_its_worker_only(tmp_path):
    engine = local(2, timeout=0.5)
    endless = call(engine_calls.compute_for_ever, tmp_path / "lock", key="endless")
    outcomes = run(engine, endless, *doubles(5))
    assert (outcomes["endless"].status, outcomes["endless"].attempts) == ("timed_out", 1)
    assert outcomes["endless"].error.message == "no result after 0.5 s"
    assert 0.5 <= outcomes["endless"].seconds < 3
    assert [outcomes[str(n)].status for n in range(5)] == ["done"] * 5
    assert not is_held(tmp_path / "lock")


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


# Which worker does what.


def test_workers_stay_warm():
    outcomes = run(local(), *numbered(engine_calls.pid, 5))
    pids = {outcome.value for outcome in outcomes.values()}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_no_more_workers_than_calls():
    hellos = []
    engine = local(16, on_worker=lambda worker, value: hellos.append(worker))
    assert len(run(engine, *numbered(engine_calls.nothing, 2))) == 2
    assert set(hellos) <= {0, 1}


def test_as_many_calls_as_jobs_run_at_once(tmp_path):
    paths = [tmp_path / str(n) for n in range(3)]
    outcomes = run(local(3), *(call(engine_calls.meet, path, paths, key=path.name) for path in paths))
    assert len({outcome.value for outcome in outcomes.values()}) == 3
    assert {outcome.worker for outcome in outcomes.values()} == {0, 1, 2}


def test_a_starting_worker_does_not_hold_up_the_others(tmp_path):
    """The second worker's initializer waits for a file that the last of the first worker's calls makes."""
    paths = tmp_path / "first", tmp_path / "5"
    engine = local(2, initializer="engine_calls:initialize_first_quickly", initargs=paths)
    outcomes = run(engine, *(call(engine_calls.meet, tmp_path / str(n), [], key=str(n)) for n in range(6)))
    assert len({outcome.value for outcome in outcomes.values()}) == 1


def test_a_process_is_replaced_after_some_calls():
    hellos = []
    engine = local(recycle_after=2, on_worker=lambda worker, value: hellos.append(worker))
    outcomes = run(engine, *numbered(engine_calls.pid, 6))
    pids = [outcomes[str(n)].value for n in range(6)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]
    assert hellos == [0, 0, 0]


def test_a_process_that_grew_too_large_is_replaced():
    engine = local(recycle_bytes=300 * 2**20)
    outcomes = run(
        engine,
        call(engine_calls.pid, key="small"),
        call(engine_calls.hold_memory, 400 * 2**20, key="large"),
        call(engine_calls.pid, key="after"),
    )
    assert outcomes["small"].value == outcomes["large"].value != outcomes["after"].value


def test_calls_of_a_group_stay_together(tmp_path):
    """Two workers in step: each call of group a ends only beside one of b, each of c beside one of d."""
    calls = []
    for pair in ("ab", "cd"):
        for n in range(5):
            paths = {group: tmp_path / f"{group}{n}" for group in pair}
            calls += [call(engine_calls.meet, paths[g], [*paths.values()], key=f"{g}{n}", group=g) for g in pair]
    outcomes = run(local(2), *calls)
    workers = {group: {o.worker for o in outcomes.values() if o.call.group == group} for group in "abcd"}
    assert all(len(numbers) == 1 for numbers in workers.values())
    assert workers["a"] != workers["b"]
    assert workers["c"] != workers["d"]


def test_nobody_is_idle_while_calls_of_another_group_wait(tmp_path):
    """One group, two workers: every call needs another one that runs at the same time."""
    pairs = [[tmp_path / f"{n}a", tmp_path / f"{n}b"] for n in range(3)]
    calls = [call(engine_calls.meet, path, pair, key=path.name, group="one") for pair in pairs for path in pair]
    assert len({outcome.worker for outcome in run(local(2), *calls).values()}) == 2


def test_calls_that_want_to_be_alone_run_last_one_at_a_time_on_a_warm_worker(tmp_path):
    paths = [tmp_path / f"{n}" for n in range(4)]
    pairs = [paths[:2], paths[:2], paths[2:], paths[2:]]
    alone = [call(engine_calls.held_and_seen, paths, key=f"alone {n}", alone=True) for n in range(3)]
    together = [call(engine_calls.hold, path, pair, key=path.name) for path, pair in zip(paths, pairs, strict=True)]
    outcomes = list(local(2).run([alone[0], *together, *alone[1:]]))
    assert [outcome.call.alone for outcome in outcomes] == [False] * 4 + [True] * 3
    assert [outcome.value[:2] for outcome in outcomes[4:]] == [(0, 4)] * 3
    assert {outcome.value[2] for outcome in outcomes[4:]} <= {outcome.value for outcome in outcomes[:4]}


def test_a_call_is_prepared_before_each_attempt_and_may_need_no_worker(tmp_path):
    prepared = []

    def prepare(one):
        prepared.append(one.key)
        if one.key == "known":
            return Outcome(one, "done", "known already", attempts=0)
        return dataclasses.replace(one, args=(tmp_path / "mark",))

    calls = [call(engine_calls.die_once, "not this", key="dies"), call(engine_calls.die, key="known")]
    outcomes = run(local(prepare_call=prepare), *calls)
    assert outcomes["dies"].value == "survived"
    assert outcomes["known"].value == "known already"
    assert sorted(prepared) == ["dies", "dies", "known"]


def test_calls_that_run_alone_follow_calls_that_needed_no_worker():
    engine = local(prepare_call=lambda one: one if one.alone else Outcome(one, "done", attempts=0))
    outcomes = run(engine, call(engine_calls.die), call(engine_calls.double, 4, alone=True))
    assert outcomes["double"].value == 8


def test_calls_that_want_to_be_alone_are_beside_no_other_of_their_kind(tmp_path):
    """Each would hold the lock that the other looks for."""
    calls = [call(engine_calls.held_and_seen, [tmp_path / "1"], key="look", alone=True)]
    calls += [call(engine_calls.hold, tmp_path / "1", [], key="hold", alone=True)]
    assert run(local(2), *calls)["look"].value[:2] == (0, 0)


def test_a_call_that_wants_to_be_alone_runs_though_there_is_no_other(make_engine, tmp_path):
    outcomes = run(make_engine(), call(engine_calls.double, 4, alone=True))
    assert outcomes["double"].value == 8


def test_a_call_that_wants_to_be_alone_survives_its_worker(tmp_path):
    outcomes = run(local(2), call(engine_calls.double, 1), call(engine_calls.die_once, tmp_path / "mark", alone=True))
    assert (outcomes["die_once"].value, outcomes["die_once"].attempts) == ("survived", 2)


def test_a_stop_leaves_calls_that_want_to_be_alone_for_next_time(make_engine):
    engine = make_engine()
    engine.on_message = lambda call, message: engine.stop()
    outcomes = run(engine, call(engine_calls.stop_when_asked), call(engine_calls.double, 1, alone=True))
    assert {key: outcome.status for key, outcome in outcomes.items()} == {"stop_when_asked": "stopped"}


def test_the_group_with_the_most_to_do_comes_first_and_ties_keep_their_order():
    calls = [
        call(engine_calls.nothing, key="small", group="small"),
        call(engine_calls.nothing, key="long1", group="long", cost=2),
        call(engine_calls.nothing, key="alone", cost=3),
        call(engine_calls.nothing, key="long2", group="long", cost=2),
        call(engine_calls.nothing, key="small too"),
    ]
    expected = ["long1", "long2", "alone", "small", "small too"]
    assert list(run(local(), *calls)) == expected
    assert list(run(InlineEngine(), *calls)) == expected


# Calls that are not known beforehand, and calls that are told something.


def test_calls_drawn_one_by_one_may_depend_on_what_came_out(make_engine):
    """Each number is twice the one before; None says that the next is not known yet."""
    values, drawn_at = [1], []

    def calls():
        for number in range(5):
            while len(values) <= number:
                yield None
            drawn_at.append(len(values))
            yield call(engine_calls.double, values[number], key=str(number))

    for outcome in make_engine().run(calls()):
        values.append(outcome.value)
    assert values == [1, 2, 4, 8, 16, 32]
    assert drawn_at == [1, 2, 3, 4, 5]


def test_no_more_calls_are_drawn_than_there_are_workers(make_engine):
    engine, drawn = make_engine(), []
    calls = (drawn.append(n) or call(engine_calls.double, n, key=str(n)) for n in itertools.count())
    outcomes = engine.run(calls)
    assert [next(outcomes).status for _ in range(4)] == ["done"] * 4
    assert len(drawn) <= 3 + (engine.jobs or 1)
    outcomes.close()


def test_a_run_whose_calls_are_not_known_while_nothing_runs_ends(make_engine):
    assert list(make_engine().run(iter([None]))) == []
    (outcome,) = make_engine().run(iter([call(engine_calls.double, 1), None, None]))
    assert outcome.value == 2


def test_an_error_while_calls_are_drawn_ends_the_run(make_engine):
    def calls():
        yield call(engine_calls.double, 1)
        raise OSError("no proposals")

    with pytest.raises(OSError, match="no proposals"):
        list(make_engine().run(calls()))


def test_a_call_drawn_by_itself_that_wants_to_be_alone_has_no_other_beside_it(tmp_path):
    """In the order of the iterator: two that meet, one alone, two that meet."""
    paths = [tmp_path / str(n) for n in range(4)]
    calls = [call(engine_calls.hold, path, pair, key=path.name) for pair in (paths[:2], paths[2:]) for path in pair]
    calls.insert(2, call(engine_calls.held_and_seen, paths, key="alone", alone=True))
    outcomes = list(local(2).run(iter(calls)))
    assert outcomes[2].call.alone
    assert outcomes[2].value[:2] == (0, 2)
    assert len(outcomes) == 5


def test_what_is_sent_reaches_the_running_call(make_engine):
    told = []

    def answer(one, message):
        if message == "ready":
            told.extend(engine.send(key, f"to {key}") for key in (one.key, one.key, "nobody"))

    engine = make_engine(on_message=answer)
    outcomes = run(engine, *(call(engine_calls.wait_for_messages, 2, key=key) for key in ("one", "two", "three")))
    assert {key: outcome.value for key, outcome in outcomes.items()} == {key: [f"to {key}"] * 2 for key in outcomes}
    assert told == [True, True, False] * 3
    assert engine.send("one", "too late") is False


def test_what_was_sent_to_a_call_is_not_for_the_next_one():
    engine = local(on_message=lambda one, message: engine.send(one.key, one.key))
    calls = [call(engine_calls.report_numbers, 3, key="deaf"), call(engine_calls.wait_for_messages, 1, key="next")]
    assert run(engine, *calls)["next"].value == ["next"]


def test_workers_stay_warm_from_one_run_to_the_next(make_engine):
    hellos = []
    with make_engine(on_worker=lambda worker, value: hellos.append(worker)) as engine:
        pids = {outcome.value for n in range(3) for outcome in engine.run([call(engine_calls.pid)])}
        assert not engine.is_stopped
    assert len(pids) == len(hellos) == 1
    assert multiprocessing.active_children() == []


def test_a_warm_engine_keeps_no_worker_that_is_busy_when_a_run_is_left(tmp_path):
    with local(2) as engine:
        run(engine, call(engine_calls.pid))
        endless = call(engine_calls.compute_for_ever, tmp_path / "lock", key="endless")
        for _ in engine.run([endless, call(engine_calls.wait_until_held, tmp_path / "lock")]):
            break
        assert not is_held(tmp_path / "lock")
        assert len(multiprocessing.active_children()) == 1
        assert len(run(engine, *doubles(4))) == 4


def test_a_warm_worker_that_died_between_two_runs_is_no_fault_of_the_next_call():
    with local(retries=0) as engine:
        for _ in range(4):
            outcome = run(engine, call(engine_calls.pid))["pid"]
            assert (outcome.status, outcome.attempts) == ("done", 1)
            os.kill(outcome.value, signal.SIGKILL)
            os.waitid(os.P_PID, outcome.value, os.WEXITED | os.WNOWAIT)


def test_warm_workers_are_no_more_than_the_next_run_may_have(tmp_path):
    with local(2) as engine:
        pair = [tmp_path / "a", tmp_path / "b"]
        assert {outcome.worker for outcome in engine.run([call(engine_calls.meet, p, pair) for p in pair])} == {0, 1}
        engine.jobs = 1
        assert {outcome.worker for outcome in engine.run(doubles(4))} == {0}
        assert len(multiprocessing.active_children()) == 1


def test_a_stopped_engine_keeps_nothing_warm():
    with local(2, on_message=lambda call, message: engine.stop()) as engine:
        run(engine, call(engine_calls.finish_when_asked))
        assert multiprocessing.active_children() == []
        assert engine.is_stopped


def test_a_paused_engine_goes_on_with_the_next_run(make_engine):
    hellos = []
    pause = {"on_message": lambda call, message: engine.pause(), "on_worker": lambda *hello: hellos.append(hello)}
    with make_engine(**pause) as engine:
        for function, end in [(engine_calls.stop_when_asked, "stopped"), (engine_calls.finish_when_asked, "done")] * 2:
            outcomes = run(engine, *numbered(function, 6))
            assert 1 <= len(outcomes) <= 2
            assert {outcome.status for outcome in outcomes.values()} == {end}
        assert not engine.is_stopped
        assert len(run(engine, *doubles(4))) == 4
        assert len(hellos) <= 2, "workers stay warm"
        engine.stop()
        assert run(engine, *doubles(4)) == {}


def test_a_pause_between_two_runs_is_for_neither(make_engine):
    engine = make_engine()
    engine.pause()
    assert len(run(engine, *doubles(4))) == 4


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


def test_an_idle_parent_sleeps(tmp_path):
    """Half a second of waiting costs no CPU time: nothing polls."""
    engine = local(2, timeout=60)
    outcomes = engine.run(numbered(engine_calls.wait_for, 3, tmp_path / "go"))
    threading.Timer(0.7, (tmp_path / "go").touch).start()
    started = time.process_time()
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert time.process_time() - started < 0.2


def test_large_arguments_and_results_pass():
    size_bytes = 20 * 2**20
    calls = [call(engine_calls.big, size_bytes, key=f"result {n}") for n in range(2)]
    calls += [call(engine_calls.length, bytes(size_bytes), key=f"argument {n}") for n in range(2)]
    outcomes = run(local(2), *calls)
    assert len(outcomes["result 0"].value) == len(outcomes["result 1"].value) == size_bytes
    assert outcomes["argument 0"].value == outcomes["argument 1"].value == size_bytes


# The end.


def test_closing_the_generator_ends_the_workers(tmp_path):
    holding = []
    engine = local(2, on_message=lambda call, message: holding.append(call.key))
    endless = call(engine_calls.compute_for_ever, tmp_path / "lock", key="endless", cost=100)
    outcomes = engine.run([endless, *numbered(engine_calls.report_numbers, 1000, 1)])
    wait_until(lambda: next(outcomes).status == "done" and "endless" in holding)
    assert is_held(tmp_path / "lock")
    outcomes.close()
    assert not is_held(tmp_path / "lock")
    assert multiprocessing.active_children() == []


def test_a_stop_now_counts_what_was_finished_and_retries_nothing(tmp_path):
    """Stopped while the consumer holds an outcome: the other worker's result is in the pipe already."""
    engine = local(2, retries=0)
    calls = [call(engine_calls.meet, tmp_path / n, [tmp_path / "a", tmp_path / "b"], key=n) for n in "ab"]
    outcomes = engine.run([*calls, *numbered(engine_calls.compute_for_ever, 3, tmp_path / "lock")])
    first = next(outcomes)
    engine.stop(now=True)
    rest = list(outcomes)
    assert first.status == "done"
    assert {outcome.call.key for outcome in rest} <= {"a", "b"}
    assert {outcome.status for outcome in rest} <= {"done", "stopped"}


def test_stop_before_run_starts_nothing(make_engine):
    engine = make_engine()
    engine.stop()
    assert run(engine, call(engine_calls.nothing)) == {}


def test_a_worker_that_dies_while_stopping_leaves_its_call_for_next_time():
    engine = local(on_message=lambda call, message: engine.stop())
    assert run(engine, call(engine_calls.die_when_asked))["die_when_asked"].status == "stopped"


def test_a_gentle_stop_does_not_wait_for_workers_that_start(tmp_path):
    engine = local(initializer="engine_calls:initialize_slowly", initargs=(tmp_path / "never",))
    threading.Timer(0.3, engine.stop).start()
    started = time.monotonic()
    assert run(engine, call(engine_calls.nothing)) == {}
    assert time.monotonic() - started < 5


INTERRUPTED_SCRIPT = """
import signal
import sys
from pathlib import Path
import engine_calls
from fmnist_mlp.engines import pool
from fmnist_mlp.engines.calls import Call, WorkerSettings
from fmnist_mlp.engines.pool import Pool

if __name__ == "__main__":
    pool._MAX_IDLE_DEATHS = 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    Path(sys.argv[1]).touch()
    calls = [Call(str(n), "engine_calls:double", (n,)) for n in range(50)]
    outcomes = list(Pool(2, WorkerSettings(), recycle_after=10).run(calls))
    print({(outcome.status, outcome.attempts) for outcome in outcomes}, len(outcomes))
"""


def test_workers_leave_interrupts_to_the_parent_from_their_first_moment(tmp_path):
    """Ctrl-C in a terminal goes to the whole process group; here it is held down from beginning to end."""
    (tmp_path / "script.py").write_text(INTERRUPTED_SCRIPT)
    with subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tmp_path / "ready"],
        env=SCRIPT_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as parent:
        wait_until((tmp_path / "ready").exists)
        while parent.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGINT)
                os.killpg(parent.pid, signal.SIGTERM)
            time.sleep(0.001)
        assert parent.stdout.read() == "{('done', 1)} 50\n"


SCRIPT = """
import sys
from pathlib import Path
import engine_calls
from fmnist_mlp.engines.calls import Call, WorkerSettings
from fmnist_mlp.engines.pool import Pool

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    calls = [Call(name, "engine_calls:compute_for_ever", (folder / name,)) for name in ("one", "two")]
    engine = Pool(2, WorkerSettings(), on_message=lambda call, message: (folder / f"{call.key}.holds").touch())
    outcomes = engine.run([Call("first", "engine_calls:wait_until_held", (folder / "one",), cost=9), *calls])
    assert next(outcomes).status == "done"
    if "exit" not in sys.argv:
        next(outcomes)
"""


def test_a_parent_killed_with_kill_9_leaves_no_workers(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    with subprocess.Popen([sys.executable, tmp_path / "script.py", tmp_path], env=SCRIPT_ENVIRONMENT) as parent:
        wait_until(lambda: all((tmp_path / f"{name}.holds").exists() for name in ("one", "two")))
        assert is_held(tmp_path / "one")
        assert is_held(tmp_path / "two")
        parent.kill()
        parent.wait()
        wait_until(lambda: not is_held(tmp_path / "one") and not is_held(tmp_path / "two"), seconds=3)


def test_a_parent_that_exits_with_an_unfinished_run_takes_its_workers_along(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path, "exit"], env=SCRIPT_ENVIRONMENT, timeout=20
    )
    assert done.returncode == 0
    assert not is_held(tmp_path / "one")

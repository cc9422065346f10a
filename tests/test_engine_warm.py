"""From one run of an engine to the next: workers that stay warm, and a pause."""

import multiprocessing
import os
import signal

import engine_calls
from engine_calls import is_held
from engine_runs import call, doubles, local, make_engine, nothing_left_behind, numbered, run

__all__ = ["make_engine", "nothing_left_behind"]  # fixtures, used by name


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


def test_workers_that_are_released_end_by_themselves():
    with local(2) as engine:
        run(engine, call(engine_calls.pid))
        engine.release()
        engine_calls.wait_until(lambda: not multiprocessing.active_children())


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

"""How a run ends: stopped, left by its consumer, interrupted, or with a parent that is killed; no worker stays."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import engine_calls
import pytest
from engine_calls import is_held, wait_until
from engine_runs import SCRIPT_ENVIRONMENT, call, local, nothing_left_behind, numbered, run

__all__ = ["nothing_left_behind"]  # a fixture, used by itself


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
    assert {(outcome.status, outcome.attempts) for outcome in rest} <= {("done", 1), ("stopped", 1)}
    assert {outcome.call.key for outcome in rest if outcome.status == "done"} <= {"a", "b"}


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


@pytest.mark.slow
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

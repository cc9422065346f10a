"""Calls run in this process, one after another, for a debugger."""

import contextlib
import pickle
import pkgutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from fmnist_mlp.engines.calls import Call, Context, Engine, EngineError, Failure, Outcome, Stopped, WorkerSettings
from fmnist_mlp.engines.machine import environment
from fmnist_mlp.engines.waiting import Waiting
from fmnist_mlp.errors import SweepError


class InlineEngine(Engine):
    """Calls run in this process, one after another, so that a debugger sees them.

    There is nothing to kill or to replace: `timeout`, `retries` and `recycle_*` do nothing, and `stop(now=True)` from a
    signal handler interrupts the running call with KeyboardInterrupt. From the first call to the end of `run`, or of
    the engine's `with` block, the environment is the workers'.
    """

    def __init__(self, jobs: int = 0, settings: WorkerSettings | None = None, **options):
        super().__init__(jobs, settings or WorkerSettings(), **options)
        self._stop = threading.Event()  # this run is to end
        self._stop_asked = self._kill_asked = False
        self._at_close: contextlib.ExitStack | None = None  # None: this process is not prepared for calls
        self._running: tuple[Call, deque[bytes]] | None = None  # the call that runs, and what was sent to it

    def run(self, calls: Iterable[Call | None]) -> Iterator[Outcome]:
        waiting, groups = Waiting(calls), ()
        if not self._stop_asked:  # a pause was for the run before
            self._stop.clear()
        try:
            while not self._stop.is_set():
                waiting.draw(1, nothing_runs=True)
                if not waiting:
                    break
                self._prepare()
                task = waiting.pop(groups, set())
                groups = (task.group,)
                yield self._call(task.call)
        finally:
            if not self.stays_warm:
                self.close()

    def send(self, key: str, message: Any) -> bool:
        if self._running is None or self._running[0].key != key:
            return False
        self._running[1].append(pickle.dumps(message))
        return True

    def stop(self, now: bool = False):
        self._stop_asked = True
        self._stop.set()
        if now:
            self._kill_asked = True
            if self._running and threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt

    def pause(self):
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        return self._stop_asked

    def close(self):
        if self._at_close is not None:
            self._at_close.close()
            self._at_close = None

    def _prepare(self):
        """What a worker's start is elsewhere."""
        if self._at_close is not None:
            return
        self._at_close = contextlib.ExitStack()
        self._at_close.enter_context(environment(self.settings.variables()))
        value = None
        if self.settings.initializer:
            try:
                value = pkgutil.resolve_name(self.settings.initializer)(*self.settings.initargs)
            except SweepError:
                raise
            except Exception as error:
                raise EngineError(f"a worker cannot start:\n{Failure.of(error).traceback}") from error
        self.on_worker(0, value)

    def _call(self, call: Call) -> Outcome:
        consumer_errors = []

        def report(message):
            try:
                self.on_message(call, message)
            except BaseException as raised:  # not the call's: it ends the run, as with workers
                consumer_errors.append(raised)
                raise

        inbox: deque[bytes] = deque()
        context = Context(report, self._stop, inbox)
        status, value, error = "done", None, None
        started = time.perf_counter()
        self._running = call, inbox
        try:
            value = pkgutil.resolve_name(call.function)(context, *call.args)
        except Stopped:
            status = "stopped"
        except (Exception, SystemExit) as raised:
            status, error = "failed", Failure.of(raised)
        except KeyboardInterrupt:
            if not self._kill_asked:
                raise
            status = "stopped"
        finally:
            self._running = None
        if consumer_errors and not self._kill_asked:
            raise consumer_errors[0]
        return Outcome(call, status, value, error, seconds=time.perf_counter() - started)

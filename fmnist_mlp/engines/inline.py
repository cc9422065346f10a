"""Calls run in this process, one after another, for a debugger."""

import pkgutil
import threading
import time
from collections.abc import Iterable, Iterator

from fmnist_mlp.engines.calls import Call, Context, Engine, EngineError, Failure, Outcome, Stopped, WorkerSettings
from fmnist_mlp.engines.machine import environment
from fmnist_mlp.engines.waiting import Task, Waiting
from fmnist_mlp.errors import SweepError


class InlineEngine(Engine):
    """Calls run in this process, one after another, so that a debugger sees them.

    There is nothing to kill or to replace: `timeout`, `retries` and `recycle_*` do nothing, and `stop(now=True)` from a
    signal handler interrupts the running call with KeyboardInterrupt. While `run` is not finished the environment is
    the workers'.
    """

    def __init__(self, jobs: int = 0, settings: WorkerSettings | None = None, **options):
        super().__init__(jobs, settings or WorkerSettings(), **options)
        self._stop = threading.Event()
        self._kill_asked = self._is_calling = False

    def run(self, calls: Iterable[Call]) -> Iterator[Outcome]:
        tasks = [Task(call) for call in calls]
        waiting = Waiting([task for task in tasks if not task.call.alone])
        for_later = [task for task in tasks if task.call.alone]
        if not tasks or self._stop.is_set():
            return
        with environment(self.settings.variables()):
            self._initialize()
            group = None
            while waiting and not self._stop.is_set():
                task = waiting.pop(group, set())
                group = task.group
                yield self._call(task.call)
            while for_later and not self._stop.is_set():
                yield self._call(for_later.pop(0).call)

    def stop(self, now: bool = False):
        self._stop.set()
        if now:
            self._kill_asked = True
            if self._is_calling and threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt

    def _initialize(self):
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

        context = Context(report, self._stop)
        status, value, error = "done", None, None
        started = time.perf_counter()
        self._is_calling = True
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
            self._is_calling = False
        if consumer_errors and not self._kill_asked:
            raise consumer_errors[0]
        return Outcome(call, status, value, error, seconds=time.perf_counter() - started)

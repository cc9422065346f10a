"""Calls in local worker processes, which stay warm from call to call.

Hidden here: how many workers there are, which gets which call, deadlines, replacement and stopping. What is promised
stands in `calls`; one process, seen from both ends of its pipe, is `process`.
"""

import atexit
import contextlib
import math
import pickle
import time
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import connection, resource_tracker

from fmnist_mlp.engines.calls import Call, Engine, EngineError, Failure, Outcome, WorkerSettings
from fmnist_mlp.engines.machine import IS_POSIX, environment
from fmnist_mlp.engines.process import (
    GRACE_SECONDS,
    SPAWN,
    Worker,
    cause_of_death,
    signals_held_back,
    unpickle_result,
    work,
)
from fmnist_mlp.engines.waiting import Task, Waiting
from fmnist_mlp.errors import SweepError

_LONGEST_WAIT_SECONDS = 1e6

_MAX_IDLE_DEATHS = 3  # workers that may die in a row without a call ended in between


class LocalEngine(Engine):
    """Calls run in up to `jobs` local processes, which stay warm from call to call.

    Args: those of `Engine`. `run` raises what `pickle` raises for a call that does not pickle, before any is started.
    """

    def __init__(self, jobs: int, settings: WorkerSettings, **options):
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {jobs}")
        super().__init__(jobs, settings, **options)
        self._workers: list[Worker] = []
        self._idle_deaths = 0
        self._stop_asked = self._kill_asked = False
        # A signal handler does not end a wait (PEP 475), a message does.
        self._woken, self._wake = SPAWN.Pipe(duplex=False)

    def run(self, calls: Iterable[Call]) -> Iterator[Outcome]:
        tasks = [Task(call, pickle.dumps((call.function, call.args))) for call in calls]
        waiting = Waiting([task for task in tasks if not task.call.alone])
        for_later = deque(task for task in tasks if task.call.alone)
        # A generator that nobody closed may outlive everything but this; multiprocessing would wait for its workers.
        atexit.register(self._kill_workers)
        try:
            while True:
                if self._stop_asked:
                    self._pass_on_stop()
                    waiting.clear()
                    for_later.clear()

                # Workers for what is left to do: fewer than `jobs` near the end.
                busy = [worker for worker in self._workers if worker.task]
                if for_later and not waiting and not busy:
                    waiting.put_back(for_later.popleft())
                if not waiting and not busy:
                    break
                while waiting and len(self._workers) < min(self.jobs, len(waiting) + len(busy)):
                    self._start_worker()

                # A call, or its leave, for every worker that is ready.
                for worker in list(self._workers):
                    while worker.is_idle and waiting and not self._stop_asked:
                        if outcome := self._hand_out(waiting.pop(worker.group, self._groups_in_work()), worker):
                            yield outcome
                    if worker.is_idle and not waiting and not (for_later and worker is self._workers[0]):
                        worker.end()

                if for_later and not waiting and not any(worker.task for worker in self._workers):
                    continue  # the last calls before those needed no worker

                # Whatever happens next: messages, results, deaths, deadlines, a stop.
                for worker in self._wait():
                    if outcome := self._attend(worker, waiting):
                        yield outcome
        finally:
            for worker in self._workers:
                if not worker.is_ending:
                    worker.kill()
            while self._workers:
                self._bury(self._workers[0])
            atexit.unregister(self._kill_workers)

    def stop(self, now: bool = False):
        self._stop_asked = True
        if now:
            self._kill_asked = True
            self._kill_workers()
        self._wake.send(None)

    def _kill_workers(self):
        for worker in list(self._workers):
            worker.kill()

    def _pass_on_stop(self):
        """Tell running calls, send everybody else home."""
        for worker in self._workers:
            if self._kill_asked or not worker.is_ready:
                worker.kill()
            elif worker.task:
                worker.ask_to_stop()

    def _hand_out(self, task: "Task", worker: "Worker") -> Outcome | None:
        """Give a worker a call; the outcome where the call needs no worker."""
        worker.take(task, self.timeout)
        return None

    def _start_worker(self):
        number = min(set(range(self.jobs)) - {worker.number for worker in self._workers})
        # Started here because, as part of Process.start, it would unblock the signals again (seen in CPython 3.11).
        if IS_POSIX:
            resource_tracker.ensure_running()
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=work, args=(theirs,), name=f"worker-{number}", daemon=True)
        worker = Worker(number, process, ours)
        # Known before it starts: whatever is raised from here on (Ctrl-C), `run` ends it.
        self._workers.append(worker)
        try:
            with environment(self.settings.variables()), signals_held_back():
                process.start()
        except OSError as error:  # no more processes, memory or file descriptors
            self._bury(worker)
            if not self._workers:
                raise EngineError(f"cannot start a worker process: {error}") from error
            self.jobs = len(self._workers)  # as many as the machine allows
        else:
            worker.send(pickle.dumps((self.settings.initializer, self.settings.initargs)))
        finally:
            theirs.close()

    def _groups_in_work(self) -> set:
        return {worker.group for worker in self._workers if worker.task}

    def _wait(self) -> list["Worker"]:
        """Sleep until some workers need attention, and return them."""
        deadline = min(worker.deadline for worker in self._workers) if self._workers else math.inf
        sources = {self._woken: None}
        for worker in self._workers:
            sources[worker.pipe] = sources[worker.process.sentinel] = worker
        # Longer waits are made of several: poll(2) takes milliseconds in 32 bits, 24.8 days.
        seconds = None if deadline == math.inf else min(max(0.0, deadline - time.monotonic()), _LONGEST_WAIT_SECONDS)
        ready = {sources[source]: None for source in connection.wait(list(sources), seconds)}
        if None in ready:
            self._woken.recv()
            del ready[None]
        now = time.monotonic()
        return list(ready | {worker: None for worker in self._workers if worker.deadline <= now})

    def _attend(self, worker: "Worker", waiting: "Waiting") -> Outcome | None:
        """Hear one message of a worker, or find it dead or late; return the outcome if that ends its call."""
        if worker.deadline <= time.monotonic():
            # What it sent in time still counts, and is read before the end of its pipe.
            worker.is_late, worker.deadline = True, math.inf
            worker.kill()
        message = None
        try:
            if worker.pipe.poll():
                message = worker.pipe.recv()
            elif worker.process.is_alive():
                return None
        except (EOFError, OSError):  # died, perhaps in the middle of a message
            pass
        return self._hear(worker, *message) if message else self._lose(worker, waiting)

    def _hear(self, worker: "Worker", kind: str, *content) -> Outcome | None:
        if kind == "ready":
            worker.is_ready = True
            self.on_worker(worker.number, pickle.loads(*content))
        elif kind == "unfit":
            is_for_user, failure = content
            if is_for_user:
                raise SweepError(failure.message)
            raise EngineError(f"a worker cannot start:\n{failure.traceback}")
        elif kind == "message" and worker.task:  # else from a thread that the call left behind
            self.on_message(worker.task.call, pickle.loads(*content))
        elif kind == "result":
            status, value, error, seconds, rss_bytes = content
            if status == "done":
                value, error = unpickle_result(value)
                status = "failed" if error else "done"
            self._idle_deaths = 0
            worker.calls_ended += 1
            if worker.calls_ended >= self.recycle_after or rss_bytes > self.recycle_bytes:
                worker.end()
            return worker.outcome(status, value=value, error=error, seconds=seconds)
        return None

    def _lose(self, worker: "Worker", waiting: "Waiting") -> Outcome | None:
        """Bury a worker that died, and see to its call."""
        cause = self._bury(worker)
        task = worker.task
        if task is None:
            if not worker.is_ending and not self._stop_asked:
                self._count_idle_death(cause)
        elif worker.is_late:
            return worker.outcome("timed_out", error=Failure("TimedOut", f"no result after {self.timeout:g} s"))
        elif task.attempts - task.losses > self.retries and not self._kill_asked:
            return worker.outcome("crashed", error=Failure("WorkerDied", cause))
        elif self._stop_asked:
            return worker.outcome("stopped")
        else:
            waiting.put_back(task)
        return None

    def _count_idle_death(self, cause: str):
        self._idle_deaths += 1
        if self._idle_deaths >= _MAX_IDLE_DEATHS:
            raise EngineError(f"{self._idle_deaths} workers in a row died before they could work, the last one {cause}")

    def _bury(self, worker: "Worker") -> str:
        """Wait for a worker's end, hasten it if need be, and give back what it held; return how it ended."""
        self._workers.remove(worker)
        exitcode = None
        if worker.process.pid is not None:
            # One that closed its pipe is about to end: a moment more tells how.
            patience = worker.deadline - time.monotonic() if worker.is_ending else 1.0
            worker.process.join(min(max(0.0, patience), GRACE_SECONDS))
            worker.kill()
            worker.process.join()
            exitcode = worker.process.exitcode
        worker.pipe.close()
        with contextlib.suppress(ValueError):  # somebody else has waited for it, and knows how it ended
            worker.process.close()
        return cause_of_death(exitcode)

"""Calls in worker processes, which stay warm from call to call; on this machine or elsewhere.

Hidden here: how many workers there are, which gets which call, deadlines, replacement and stopping. What is promised
stands in `calls`. A worker's process is whatever a `Workplace` makes: `process` has those of this machine, `ray` those
of a cluster.
"""

import atexit
import itertools
import math
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import Pipe, connection
from typing import Any, Protocol

from fmnist_mlp.engines.calls import Call, Engine, EngineError, Failure, Outcome, WorkerSettings
from fmnist_mlp.engines.machine import HEED_SECONDS
from fmnist_mlp.engines.process import ThisMachine
from fmnist_mlp.engines.waiting import Task, Waiting
from fmnist_mlp.errors import SweepError

_GROUPS_REMEMBERED = 16  # of each worker: what they share may be there still
_GRACE_SECONDS = 5.0  # for a worker that was asked to end; TensorFlow takes some 0.3 s
_MAX_IDLE_DEATHS = 3  # workers that may die in a row without a call ended in between
_MAX_LOSSES = 5  # of machines under one call, after which the call itself is suspected


class WorkerProcess(Protocol):
    """A worker's process as the pool sees it. Only `start` and `end` may take a while."""

    sources: Sequence  # for `connection.wait`: ready when there is something to receive; without any it calls `wake`

    def start(self) -> None:
        """Start it; OSError where the machine has no room for one more."""

    def send(self, message: tuple) -> None:
        """`("call", payload)`, `("message", payload)`, `("stop",)` or `("end",)`; says nothing if it has died."""

    def poll(self) -> bool:
        """Whether `receive` has something to tell."""

    def receive(self) -> tuple:
        """The next it says: "ready", "unfit", "message" or "result", each with its content; EOFError if it has died."""

    def kill(self) -> None:
        """Let it die; its death is told like any other."""

    def end(self, patience: float) -> str:
        """Wait so many seconds for its end, then hasten it; give back what it held, and say how it ended."""

    def has_lost_its_machine(self) -> bool:
        """Whether it died with its machine, through no fault of its call."""


class Workplace(Protocol):
    """Where workers are."""

    may_kill_at_any_time: bool  # whether a process's `kill` is safe in a signal handler and in another thread

    def make_process(self, number: int, settings: WorkerSettings, wake: Callable[[], None]) -> WorkerProcess:
        """A process that is not started yet; `wake` may be called from any thread."""

    def look_after(self, processes: Sequence[WorkerProcess]) -> None:
        """Called twice a second or more often; may raise a `SweepError` where there is nothing to wait for."""


class Pool(Engine):
    """Calls run in up to `jobs` processes, which stay warm from call to call.

    Args:
        workplace: where they are; this machine unless told otherwise.
        prepare_call: called as `prepare_call(call)` just before a call is handed out (again before a second attempt).
            Returns the call to make in its place, or the outcome where none is to be made.
        options: those of `Engine`. `run` raises what `pickle` raises for a call that does not pickle when it draws it,
            from a list before any is started.
    """

    def __init__(
        self,
        jobs: int,
        settings: WorkerSettings,
        workplace: Workplace | None = None,
        *,
        prepare_call: Callable[[Call], Call | Outcome] | None = None,
        **options,
    ):
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {jobs}")
        super().__init__(jobs, settings, **options)
        self.workplace = workplace or ThisMachine()
        self.prepare_call = prepare_call or (lambda call: call)
        self._workers: list[_Worker] = []
        self._idle_deaths = 0
        self._stop_asked = self._kill_asked = self._pause_asked = False
        # A signal handler does not end a wait (PEP 475), a message does.
        self._woken, self._waker = Pipe(duplex=False)

    def run(self, calls: Iterable[Call | None]) -> Iterator[Outcome]:
        waiting = Waiting(calls, lambda call: Task(call, _payload(call)))
        self._pause_asked = False  # that was for the run before
        # A generator that nobody closed may outlive everything but this; multiprocessing would wait for its workers.
        atexit.register(self._kill_workers)
        try:
            for worker in list(self._workers):  # warm ones
                if worker.process.poll():  # died meanwhile?
                    self._attend(worker, waiting)
                elif worker.number >= self.jobs:  # there were more before
                    worker.ask_to_end()
            while True:
                if self._ends_early:
                    self._pass_on_stop()
                    waiting.clear()

                # Workers for what is left to do: fewer than `jobs` near the end.
                busy = [worker for worker in self._workers if worker.task]
                waiting.draw(self.jobs - len(busy), nothing_runs=not busy)
                if not waiting and not busy:
                    break
                while waiting and len(self._workers) < min(self.jobs, len(waiting) + len(busy)):
                    self._start_worker()

                # A call, or its leave, for every worker that is ready.
                yield from self._hand_out(waiting)
                for worker in self._workers:
                    if worker.is_idle and not waiting and not self._is_wanted(worker, waiting):
                        worker.ask_to_end()
                if not waiting and not any(worker.task for worker in self._workers):
                    continue  # those that were left needed no worker

                # Whatever happens next: messages, results, deaths, deadlines, a stop.
                for worker in self._wait():
                    if outcome := self._attend(worker, waiting):
                        # What is drawn already is handed out first: the consumer may take a while.
                        outcomes = [] if waiting.may_grow else [*self._hand_out(waiting)]
                        yield outcome
                        yield from outcomes
        finally:
            stay_warm = self.stays_warm and not self._stop_asked
            self._dismiss([w for w in self._workers if w.task or w.is_ending or not stay_warm])

    def send(self, key: str, message: Any) -> bool:
        for worker in self._workers:
            if worker.task and worker.task.call.key == key:
                worker.process.send(("message", pickle.dumps(message)))
                return True
        return False

    def stop(self, now: bool = False):
        self._stop_asked = True
        if now:
            self._kill_asked = True
            if self.workplace.may_kill_at_any_time:  # else `run`, which is woken, does it
                self._kill_workers()
        self._wake()

    def pause(self):
        self._pause_asked = True
        self._wake()

    @property
    def is_stopped(self) -> bool:
        return self._stop_asked

    @property
    def _ends_early(self) -> bool:
        return self._stop_asked or self._pause_asked

    def release(self):
        for worker in self._workers:
            if worker.is_idle:
                worker.ask_to_end()

    def close(self):
        self.release()
        self._dismiss(list(self._workers))

    # ---- workers

    def _start_worker(self):
        number = min(set(range(self.jobs)) - {worker.number for worker in self._workers})
        worker = _Worker(number, self.workplace.make_process(number, self.settings, self._wake))
        # Known before it starts: whatever is raised from here on (Ctrl-C), `run` ends it.
        self._workers.append(worker)
        try:
            worker.process.start()
        except OSError as error:  # no more processes, memory or file descriptors
            self._bury(worker)
            if not self._workers:
                raise EngineError(f"cannot start a worker process: {error}") from error
            self.jobs = len(self._workers)  # as many as the machine allows

    def _is_wanted(self, worker: "_Worker", waiting: Waiting) -> bool:
        """Whether a worker that has nothing to do now may be given something later."""
        return self.stays_warm or waiting.may_grow or (waiting.has_alone and worker is self._workers[0])

    def _dismiss(self, workers: list["_Worker"]):
        """End these workers; those that were not asked to end already at once."""
        for worker in workers:
            if not worker.is_ending:
                worker.process.kill()
        for worker in workers:
            self._bury(worker)
        if not self._workers:
            atexit.unregister(self._kill_workers)

    def _bury(self, worker: "_Worker") -> str:
        """See to a worker's end, and return how it ended."""
        self._workers.remove(worker)
        # One that closed its pipe is about to end: a moment more tells how.
        patience = worker.deadline - time.monotonic() if worker.is_ending else 1.0
        return worker.process.end(min(max(0.0, patience), _GRACE_SECONDS))

    def _kill_workers(self):
        for worker in list(self._workers):
            worker.process.kill()

    def _pass_on_stop(self):
        """Tell running calls, send everybody else home."""
        for worker in self._workers:
            if self._kill_asked or (self._stop_asked and not worker.is_ready):
                worker.process.kill()
            elif worker.task:
                worker.ask_to_stop()

    # ---- calls

    def _hand_out(self, waiting: Waiting) -> Iterator[Outcome]:
        """Give every worker that is ready a call; yields the outcomes of those that need no worker."""
        for worker in list(self._workers):
            while worker.is_idle and waiting and not self._ends_early:
                task = waiting.pop(worker.groups, self._groups_in_work())
                prepared = self.prepare_call(task.call)
                if isinstance(prepared, Outcome):
                    yield prepared
                    continue
                if prepared is not task.call:
                    task.payload = _payload(prepared)
                worker.take(task, self.timeout)

    def _groups_in_work(self) -> set:
        return {worker.task.group for worker in self._workers if worker.task}

    # ---- what happens

    def _wake(self):
        self._waker.send(None)

    def _wait(self) -> list["_Worker"]:
        """Sleep until some workers need attention, and return them."""
        sources = [source for worker in self._workers for source in worker.process.sources]
        deadline = min((worker.deadline for worker in self._workers), default=math.inf)
        seconds = min(max(0.0, deadline - time.monotonic()), HEED_SECONDS)
        connection.wait([self._woken, *sources], seconds)
        while self._woken.poll():
            self._woken.recv()
        now = time.monotonic()
        workers = [worker for worker in self._workers if worker.process.poll() or worker.deadline <= now]
        self.workplace.look_after([worker.process for worker in self._workers])
        return workers

    def _attend(self, worker: "_Worker", waiting: Waiting) -> Outcome | None:
        """Hear one message of a worker, or find it dead or late; return the outcome if that ends its call."""
        if worker.deadline <= time.monotonic():
            # What it sent in time still counts, and is read before the end of its pipe.
            worker.is_late, worker.deadline = True, math.inf
            worker.process.kill()
        if not worker.process.poll():
            return None
        try:
            message = worker.process.receive()
        except EOFError:
            return self._lose(worker, waiting)
        return self._hear(worker, *message)

    def _hear(self, worker: "_Worker", kind: str, *content) -> Outcome | None:
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
                value, error = _unpickle_result(value)
                status = "failed" if error else "done"
            self._idle_deaths = 0
            worker.calls_ended += 1
            if worker.calls_ended >= self.recycle_after or rss_bytes > self.recycle_bytes:
                worker.ask_to_end()
            return worker.outcome(status, value=value, error=error, seconds=seconds)
        return None

    def _lose(self, worker: "_Worker", waiting: Waiting) -> Outcome | None:
        """Bury a worker that died, and see to its call."""
        is_blameless = worker.process.has_lost_its_machine()
        cause = self._bury(worker)
        task = worker.task
        if task is None:
            if not (worker.is_ending or worker.calls_ended or is_blameless or self._ends_early):
                self._count_idle_death(cause)
            return None
        if is_blameless and task.losses < _MAX_LOSSES:
            task.losses += 1
        if worker.is_late:
            return worker.outcome("timed_out", error=Failure("TimedOut", f"no result after {self.timeout:g} s"))
        if task.attempts - task.losses > self.retries and not self._kill_asked:
            return worker.outcome("crashed", error=Failure("WorkerDied", cause))
        if self._ends_early:
            return worker.outcome("stopped")
        waiting.put_back(task)
        return None

    def _count_idle_death(self, cause: str):
        self._idle_deaths += 1
        if self._idle_deaths >= _MAX_IDLE_DEATHS:
            raise EngineError(f"{self._idle_deaths} workers in a row died before they could work, the last one {cause}")


class _Worker:
    """A worker of the pool: starting, then idle or at a call, at last ending."""

    def __init__(self, number: int, process: WorkerProcess):
        self.number = number
        self.process = process
        self.is_ready = self.is_ending = self.is_late = self.knows_of_stop = False
        self.task: Task | None = None
        self.groups: dict[Any, None] = {}  # of its calls, the last one first
        self.started = 0.0
        self.deadline = math.inf  # of the call, or of its end
        self.calls_ended = 0

    @property
    def is_idle(self) -> bool:
        return self.is_ready and not self.is_ending and self.task is None

    def take(self, task: Task, timeout: float | None):
        task.attempts += 1
        self.task, self.started = task, time.monotonic()
        self.groups = dict.fromkeys([task.group, *itertools.islice(self.groups, _GROUPS_REMEMBERED)])
        self.knows_of_stop = False
        self.deadline = self.started + (timeout or math.inf)
        self.process.send(("call", task.payload))

    def outcome(self, status, *, value=None, error=None, seconds=None) -> Outcome:
        task, self.task = self.task, None
        if not self.is_ending:
            self.deadline = math.inf
        seconds = time.monotonic() - self.started if seconds is None else seconds
        return Outcome(task.call, status, value, error, task.attempts, seconds, self.number)

    def ask_to_stop(self):
        if not self.knows_of_stop:
            self.knows_of_stop = True
            self.process.send(("stop",))

    def ask_to_end(self):
        self.is_ending = True
        self.deadline = time.monotonic() + _GRACE_SECONDS
        self.process.send(("end",))


def _payload(call: Call) -> bytes:
    return pickle.dumps((call.function, call.args))


def _unpickle_result(value: bytes) -> tuple[Any, Failure | None]:
    try:
        return pickle.loads(value), None
    except Exception as error:
        return None, Failure.of(error)

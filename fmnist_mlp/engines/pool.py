"""Run many calls: in local worker processes, in this process for a debugger, elsewhere on a cluster.

An engine takes picklable calls and yields one outcome for each as it ends. It knows nothing of Keras, of sweeps or of
files. What every engine promises, so that its caller need not know which one it drives:

- `run` yields one `Outcome` for every call that was started, in the order in which they end, and returns when none is
  left. The order in which calls are handed out, and to whom, decides how long a run takes and nothing else.
- A call that raises, or whose result cannot be sent, is `failed`, and not tried again: it would raise again. A call
  whose worker died is tried again on a fresh worker, at most `retries` times, then it is `crashed`. A call that takes
  longer than `timeout` seconds loses its worker and is `timed_out`. No call's fate touches another call.
- Messages of a call reach `on_message` in the order they were sent, all of them before the call's outcome is yielded;
  what the initializer returned reaches `on_worker` before the worker's first call. Both are called by `run`, in the
  consumer's thread and while it waits for the next outcome; an exception in them ends the run.
- After `stop()` no call is handed out or tried again; running calls see `stop_requested` and end as they like
  (`stopped` where they raise `Stopped`); calls that were never started are not yielded. `stop(now=True)` ends running
  calls at once, as `stopped`. A stopped engine stays stopped.
- Nothing outlives `run`: when it ends, is closed, raises, or its process dies, so do its workers.

Hidden here: how workers start, stay warm, are replaced, watched and ended, and the protocol on their pipes. Left to
others: what the calls do, what becomes of the outcomes, which signals mean stop (`cli` calls `stop` from its handlers),
how many workers are wise. Tried on Linux; elsewhere signals may reach workers, and memory is not watched on Windows.
"""

import atexit
import contextlib
import math
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker
from pathlib import Path
from typing import Any, Literal

from fmnist_mlp.errors import SweepError

# Spawned, not forked: a fork would share the parent's threads and locks, and its settings of TensorFlow.
_SPAWN = multiprocessing.get_context("spawn")
_GRACE_SECONDS = 5.0  # for a worker that was asked to end; TensorFlow takes some 0.3 s
_LONGEST_WAIT_SECONDS = 1e6
_MAX_IDLE_DEATHS = 3  # workers that may die in a row without a call ended in between
_IS_POSIX = os.name == "posix"
_STOP, _END = "stop", "end"  # what the parent says to a worker, besides the bytes of a call


class EngineError(Exception):
    """Workers cannot work at all, for a reason that is not the user's to mend."""


class Stopped(Exception):
    """Raised by a function that heeds `Context.stop_requested`."""


@dataclass(frozen=True)
class Call:
    """One thing to do: `function(context, *args)`.

    Args:
        key: the caller's own name for the call; the engine does not look at it.
        function: a module-level function. It and `args` must pickle, and so must what it returns.
        group: calls of one group share something that is expensive in a process (a compilation). They prefer the same
            worker, unless another would have nothing to do. `""` shares with nobody.
        cost: how long it takes, relative to the other calls.
        alone: it runs when all others have ended, and beside no other: for what takes its own time.
    """

    key: str
    function: Callable
    args: tuple = ()
    group: str = ""
    cost: float = 1.0
    alone: bool = False


@dataclass(frozen=True)
class Failure:
    """What went wrong, as text: an exception itself may not survive the way between processes."""

    type: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        try:
            message = str(error)
        except Exception:
            message = "(its message cannot be shown)"
        return cls(type(error).__name__, message, "".join(traceback.format_exception(error)))


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Args:
        value: what the function returned, where `status` is `"done"`.
        error: what went wrong, where `status` is `"failed"`, `"crashed"` or `"timed_out"`.
        attempts: how often the call was started.
        seconds: of the last attempt.
        worker: the worker of the last attempt, `0 <= worker < jobs`; a process that replaces another takes its number.
    """

    call: Call
    status: Literal["done", "failed", "crashed", "timed_out", "stopped"]
    value: Any = None
    error: Failure | None = None
    attempts: int = 1
    seconds: float = 0.0
    worker: int = 0


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker begins.

    Args:
        environment: variables to set, or with `None` to remove, before the worker's interpreter starts, since some
            libraries read them when imported. A function without arguments that returns them is called on the machine
            where the worker starts: what there is to remove differs from one to the next.
        initializer: called as `initializer(*initargs)` once in each process, before its first call; what it returns
            goes to `on_worker`. A `SweepError` in it is raised by `run`, anything else as `EngineError`.
        initargs: small; a worker's start sends them.
    """

    environment: Mapping[str, str | None] | Callable[[], Mapping[str, str | None]] = field(default_factory=dict)
    initializer: Callable | None = None
    initargs: tuple = ()

    def variables(self) -> Mapping[str, str | None]:
        """The environment as it is to be on this machine."""
        return self.environment() if callable(self.environment) else self.environment


class Context:
    """What a function may say to and ask of the process that called it; its first argument."""

    def __init__(self, send: Callable[[Any], None], stop: threading.Event):
        self._send = send
        self._stop = stop

    def report(self, message):
        """Send any picklable message to `on_message`; waits only if the parent left hundreds of messages unread."""
        self._send(message)

    @property
    def stop_requested(self) -> bool:
        """Whether to end at the next good moment and raise `Stopped`."""
        return self._stop.is_set()


class Engine:
    """What all engines share: their settings, and the shape of `run` and `stop` (promises in the module's docstring).

    Args:
        jobs: how many calls run at once.
        settings: how a worker begins.
        retries: how often a call is tried again after its worker died.
        timeout: seconds a call may take in one attempt; its worker's start is not counted.
        recycle_after: calls after which a worker's process is replaced.
        recycle_bytes: resident memory above which a worker's process is replaced, looked at after each call.
        on_message: called as `on_message(call, message)` for each `Context.report`.
        on_worker: called as `on_worker(worker, value)` for each process that is ready, `value` from its initializer.
    """

    def __init__(
        self,
        jobs: int,
        settings: WorkerSettings,
        *,
        retries: int = 1,
        timeout: float | None = None,
        recycle_after: int | None = None,
        recycle_bytes: int | None = None,
        on_message: Callable[[Call, Any], None] | None = None,
        on_worker: Callable[[int, Any], None] | None = None,
    ):
        self.jobs = jobs
        self.settings = settings
        self.retries = retries
        self.timeout = timeout
        self.recycle_after = recycle_after or math.inf
        self.recycle_bytes = recycle_bytes or math.inf
        self.on_message = on_message or (lambda call, message: None)
        self.on_worker = on_worker or (lambda worker, value: None)

    def run(self, calls: Iterable[Call]) -> Iterator[Outcome]:
        """Yield the outcome of each call as it ends; closing the generator ends what still runs."""
        raise NotImplementedError

    def stop(self, now: bool = False):
        """End the run early, gently or `now`; may be called from a signal handler, another thread, or twice."""
        raise NotImplementedError


class LocalEngine(Engine):
    """Calls run in up to `jobs` local processes, which stay warm from call to call.

    Args: those of `Engine`. `run` raises what `pickle` raises for a call that does not pickle, before any is started.
    """

    def __init__(self, jobs: int, settings: WorkerSettings, **options):
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {jobs}")
        super().__init__(jobs, settings, **options)
        self._workers: list[_Worker] = []
        self._idle_deaths = 0
        self._stop_asked = self._kill_asked = False
        # A signal handler does not end a wait (PEP 475), a message does.
        self._woken, self._wake = _SPAWN.Pipe(duplex=False)

    def run(self, calls: Iterable[Call]) -> Iterator[Outcome]:
        tasks = [_Task(call, pickle.dumps((call.function, call.args))) for call in calls]
        waiting = _Waiting([task for task in tasks if not task.call.alone])
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

    def _hand_out(self, task: "_Task", worker: "_Worker") -> Outcome | None:
        """Give a worker a call; the outcome where the call needs no worker."""
        worker.take(task, self.timeout)
        return None

    def _start_worker(self):
        number = min(set(range(self.jobs)) - {worker.number for worker in self._workers})
        # Started here because, as part of Process.start, it would unblock the signals again (seen in CPython 3.11).
        if _IS_POSIX:
            resource_tracker.ensure_running()
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(theirs,), name=f"worker-{number}", daemon=True)
        worker = _Worker(number, process, ours)
        # Known before it starts: whatever is raised from here on (Ctrl-C), `run` ends it.
        self._workers.append(worker)
        try:
            with environment(self.settings.variables()), _signals_held_back():
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

    def _wait(self) -> list["_Worker"]:
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

    def _attend(self, worker: "_Worker", waiting: "_Waiting") -> Outcome | None:
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
                worker.end()
            return worker.outcome(status, value=value, error=error, seconds=seconds)
        return None

    def _lose(self, worker: "_Worker", waiting: "_Waiting") -> Outcome | None:
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

    def _bury(self, worker: "_Worker") -> str:
        """Wait for a worker's end, hasten it if need be, and give back what it held; return how it ended."""
        self._workers.remove(worker)
        exitcode = None
        if worker.process.pid is not None:
            # One that closed its pipe is about to end: a moment more tells how.
            patience = worker.deadline - time.monotonic() if worker.is_ending else 1.0
            worker.process.join(min(max(0.0, patience), _GRACE_SECONDS))
            worker.kill()
            worker.process.join()
            exitcode = worker.process.exitcode
        worker.pipe.close()
        with contextlib.suppress(ValueError):  # somebody else has waited for it, and knows how it ended
            worker.process.close()
        return _cause_of_death(exitcode)


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
        tasks = [_Task(call) for call in calls]
        waiting = _Waiting([task for task in tasks if not task.call.alone])
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
                value = self.settings.initializer(*self.settings.initargs)
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
            value = call.function(context, *call.args)
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


def start_process(variables: Mapping[str, str | None]) -> tuple[Any, connection.Connection]:
    """Start a worker's process on this machine for an engine that is on another; it ends with its pipe.

    Returns:
        The process, and this end of its pipe. It expects what `LocalEngine` sends, the initializer first.
    """
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_work, args=(theirs,), name="worker-0", daemon=True)
    with environment(variables), _signals_held_back():
        process.start()
    theirs.close()
    return process, ours


@contextlib.contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """These environment variables inside the block, None for those that are not to be; afterwards as before."""
    before = {name: os.environ.get(name) for name in changes}
    set_environment(changes)
    try:
        yield
    finally:
        set_environment(before)


def set_environment(variables: Mapping[str, str | None]) -> None:
    """Set environment variables, or with None remove them."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def forget_warning_options() -> None:
    """Warn as Python does that nobody asked (PYTHONWARNINGS, -W): a shell in which warnings are errors is for others.

    multiprocessing hands what the parent was asked on to its children, whatever their environment says.
    """
    if sys.warnoptions:
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)


def available_cores(root: Path = Path("/")) -> int:
    """How many cores this process may compute on: its affinity, and the quota of its control groups (containers).

    Args:
        root: where `proc` and `sys` lie.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _control_groups(root, "cpu"):
        quota = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(quota) == 2 and quota[0].isdigit():  # no quota is "max", in version 1 "-1"
            # Rounded up: two workers make use of a quota of 1.5 cores, one would waste a third of it.
            cores = min(cores, math.ceil(int(quota[0]) / int(quota[1])))
    return max(1, cores)


def available_memory_bytes(root: Path = Path("/")) -> int | None:
    """How much memory may still be taken: of the machine, and of this process's control groups; None if unknown.

    Args:
        root: where `proc` and `sys` lie.
    """
    available = []
    meminfo = _words(root / "proc/meminfo")
    if "MemAvailable:" in meminfo:
        available.append(1024 * int(meminfo[meminfo.index("MemAvailable:") + 1]))
    for folder in _control_groups(root, "memory"):
        limit = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        usage = _words(folder / "memory.current") or _words(folder / "memory.usage_in_bytes")
        if limit and usage and limit[0].isdigit():
            # Files read lately count as used, but are dropped when memory is needed.
            stat = _words(folder / "memory.stat")
            inactive = [
                int(stat[stat.index(key) + 1]) for key in ("total_inactive_file", "inactive_file") if key in stat
            ]
            available.append(max(0, int(limit[0]) - int(usage[0]) + (inactive or [0])[0]))
    return min(available, default=None)


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the control groups this process is in, for one controller, with those around them."""
    for entry in _words(root / "proc/self/cgroup", "\n"):
        _, controllers, path = entry.split(":", 2)
        if controllers == "":  # version 2, alone or beside version 1
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif controller in controllers.split(","):
            mounts = [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup" / controller]
        else:
            continue
        for mount in mounts:
            # Inside a container the path may be the host's: its folder is missing, the mount itself is the group.
            group = mount / path.lstrip("/")
            yield from (folder for folder in [group, *group.parents] if folder.is_relative_to(mount))


def _words(path: Path, separator: str | None = None) -> list[str]:
    """The parts of a text file; none if it cannot be read."""
    try:
        return path.read_text().strip().split(separator)
    except OSError:
        return []


class _Task:
    """A call on its way."""

    def __init__(self, call: Call, payload: bytes = b""):
        self.call = call
        self.payload = payload
        self.attempts = 0
        self.losses = 0  # attempts whose whole machine was lost, which is no fault of the call
        self.group = call.group or self  # without a group: one of its own


class _Waiting:
    """The calls that are still to be handed out, by group, and the choice of the next."""

    def __init__(self, tasks: list[_Task]):
        self._groups: dict[Any, deque[_Task]] = {}
        self._costs: dict[Any, float] = {}
        self._count = 0
        for task in tasks:
            self._groups.setdefault(task.group, deque()).append(task)
            self._costs[task.group] = self._costs.get(task.group, 0.0) + task.call.cost
            self._count += 1

    def __len__(self) -> int:
        return self._count

    def clear(self):
        self._groups, self._costs, self._count = {}, {}, 0

    def pop(self, group, groups_in_work: set) -> _Task:
        """The next call for a worker that last worked on `group`: of that group; of the group nobody works on with the
        most left to do; or else, so that nobody is idle, of the one with the most left to do. Earlier ones win ties."""
        if group not in self._groups:
            untouched = [other for other in self._groups if other not in groups_in_work]
            group = max(untouched or self._groups, key=self._costs.__getitem__)
        task = self._groups[group].popleft()
        self._costs[group] -= task.call.cost
        self._count -= 1
        if not self._groups[group]:
            del self._groups[group], self._costs[group]
        return task

    def put_back(self, task: _Task):
        self._groups.setdefault(task.group, deque()).appendleft(task)
        self._costs[task.group] = self._costs.get(task.group, 0.0) + task.call.cost
        self._count += 1


class _Worker:
    """A worker process as the parent sees it: starting, then idle or at a call, at last ending."""

    def __init__(self, number: int, process, pipe: connection.Connection):
        self.number = number
        self.process = process
        self.pipe = pipe
        self.is_ready = self.is_ending = self.is_late = self.knows_of_stop = False
        self.task: _Task | None = None
        self.group = None  # of the last call
        self.started = 0.0
        self.deadline = math.inf  # of the call, or of its end
        self.calls_ended = 0

    @property
    def is_idle(self) -> bool:
        return self.is_ready and not self.is_ending and self.task is None

    def send(self, message):
        # One that has died is found dead by the next wait.
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def take(self, task: _Task, timeout: float | None):
        task.attempts += 1
        self.task, self.group, self.started = task, task.group, time.monotonic()
        self.deadline = self.started + (timeout or math.inf)
        self.send(task.payload)

    def outcome(self, status, *, value=None, error=None, seconds=None) -> Outcome:
        task, self.task = self.task, None
        if not self.is_ending:
            self.deadline = math.inf
        seconds = time.monotonic() - self.started if seconds is None else seconds
        return Outcome(task.call, status, value, error, task.attempts, seconds, self.number)

    def ask_to_stop(self):
        if not self.knows_of_stop:
            self.knows_of_stop = True
            self.send(_STOP)

    def end(self):
        self.is_ending = True
        self.deadline = time.monotonic() + _GRACE_SECONDS
        self.send(_END)

    def kill(self):
        # Not started, or another thread has just buried it.
        with contextlib.suppress(AttributeError, ValueError):
            self.process.kill()


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process started inside has these signals blocked from its first instruction; here they are only late."""
    if not _IS_POSIX:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unpickle_result(value: bytes) -> tuple[Any, Failure | None]:
    try:
        return pickle.loads(value), None
    except Exception as error:
        return None, Failure.of(error)


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:  # None: this process ignores SIGCHLD, or waits for any child elsewhere
        return f"ended with exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


# From here on: what runs in a worker.


def _work(pipe: connection.Connection):
    """The life of a worker: initialize, then one call after another until told to end."""
    forget_warning_options()
    # Ctrl-C and many batch systems signal the whole process group; what that means is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if _IS_POSIX:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    inbox, stop, lock = queue.SimpleQueue(), threading.Event(), threading.Lock()
    threading.Thread(target=_listen, args=(pipe, inbox, stop), daemon=True).start()

    def send(*message):
        try:
            with lock:
                pipe.send(message)
        except OSError:  # nobody is left to work for
            os._exit(1)

    try:
        initializer, initargs = pickle.loads(inbox.get())
        value = pickle.dumps(initializer(*initargs) if initializer else None)
    except BaseException as error:
        send("unfit", isinstance(error, SweepError), Failure.of(error))
        return
    send("ready", value)

    context = Context(lambda message: send("message", pickle.dumps(message)), stop)
    while (payload := inbox.get()) != _END:
        send("result", *_call(payload, context), _rss_bytes())


def _listen(pipe: connection.Connection, inbox: queue.SimpleQueue, stop: threading.Event):
    """Take in what the parent says even while a call computes, and end with the parent, however it died.

    The parent closes its end of the pipe only when this process is gone, or by dying itself.
    """
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = pipe.recv()
            if message == _STOP:
                stop.set()
            else:
                inbox.put(message)
    os._exit(1)


def _call(payload: bytes, context: Context) -> tuple[str, bytes | None, Failure | None, float]:
    started = time.perf_counter()
    status, value, error = "done", None, None
    try:
        function, args = pickle.loads(payload)
        # Pickled apart from the envelope: one that cannot be read over there spoils this call only.
        value = pickle.dumps(function(context, *args))
    except Stopped:
        status = "stopped"
    except BaseException as raised:  # SystemExit too: a call does not end its worker
        status, error = "failed", Failure.of(raised)
    return status, value, error, time.perf_counter() - started


def _rss_bytes() -> int:
    if statm := _words(Path("/proc/self/statm")):
        return int(statm[1]) * os.sysconf("SC_PAGESIZE")
    if not _IS_POSIX:
        return 0  # not known: no process is replaced for its memory
    import resource  # there is none on Windows

    # The peak, where the present is not known; kilobytes, but bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

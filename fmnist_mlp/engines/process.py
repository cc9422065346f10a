"""A worker process, from both ends of its pipe: how it starts, works, says what it says, dies and is ended."""

import contextlib
import math
import multiprocessing
import os
import pickle
import pkgutil
import queue
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from multiprocessing import connection
from typing import Any

from fmnist_mlp.engines.calls import Context, Failure, Outcome, Stopped
from fmnist_mlp.engines.machine import IS_POSIX, environment, forget_warning_options, rss_bytes
from fmnist_mlp.engines.waiting import Task
from fmnist_mlp.errors import SweepError

# Spawned, not forked: a fork would share the parent's threads and locks, and its settings of TensorFlow.
SPAWN = multiprocessing.get_context("spawn")

GRACE_SECONDS = 5.0  # for a worker that was asked to end; TensorFlow takes some 0.3 s

_STOP, END = "stop", "end"  # what the parent says to a worker, besides the bytes of a call


def start_process(variables: Mapping[str, str | None]) -> tuple[Any, connection.Connection]:
    """Start a worker's process on this machine for an engine that is on another; it ends with its pipe.

    Returns:
        The process, and this end of its pipe. It expects what `LocalEngine` sends, the initializer first.
    """
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=work, args=(theirs,), name="worker-0", daemon=True)
    with environment(variables), signals_held_back():
        process.start()
    theirs.close()
    return process, ours


class Worker:
    """A worker process as the parent sees it: starting, then idle or at a call, at last ending."""

    def __init__(self, number: int, process, pipe: connection.Connection):
        self.number = number
        self.process = process
        self.pipe = pipe
        self.is_ready = self.is_ending = self.is_late = self.knows_of_stop = False
        self.task: Task | None = None
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

    def take(self, task: Task, timeout: float | None):
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
        self.deadline = time.monotonic() + GRACE_SECONDS
        self.send(END)

    def kill(self):
        # Not started, or another thread has just buried it.
        with contextlib.suppress(AttributeError, ValueError):
            self.process.kill()


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """A process started inside has these signals blocked from its first instruction; here they are only late."""
    if not IS_POSIX:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unpickle_result(value: bytes) -> tuple[Any, Failure | None]:
    try:
        return pickle.loads(value), None
    except Exception as error:
        return None, Failure.of(error)


def cause_of_death(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:  # None: this process ignores SIGCHLD, or waits for any child elsewhere
        return f"ended with exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def work(pipe: connection.Connection):
    """The life of a worker: initialize, then one call after another until told to end."""
    forget_warning_options()
    # Ctrl-C and many batch systems signal the whole process group; what that means is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if IS_POSIX:
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
        value = pickle.dumps(pkgutil.resolve_name(initializer)(*initargs) if initializer else None)
    except BaseException as error:
        send("unfit", isinstance(error, SweepError), Failure.of(error))
        return
    send("ready", value)

    context = Context(lambda message: send("message", pickle.dumps(message)), stop)
    while (payload := inbox.get()) != END:
        send("result", *_call(payload, context), rss_bytes())


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
        name, args = pickle.loads(payload)
        function = pkgutil.resolve_name(name)
        # Pickled apart from the envelope: one that cannot be read over there spoils this call only.
        value = pickle.dumps(function(context, *args))
    except Stopped:
        status = "stopped"
    except BaseException as raised:  # SystemExit too: a call does not end its worker
        status, error = "failed", Failure.of(raised)
    return status, value, error, time.perf_counter() - started

"""A worker process of this machine, from both ends of its pipe: how it starts, works, says what it says and ends."""

import contextlib
import multiprocessing
import os
import pickle
import pkgutil
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, resource_tracker

from fmnist_mlp.engines.calls import Context, Failure, Stopped, WorkerSettings
from fmnist_mlp.engines.machine import IS_POSIX, environment, forget_warning_options, rss_bytes
from fmnist_mlp.errors import SweepError

# Spawned, not forked: a fork would share the parent's threads and locks, and its settings of TensorFlow.
_SPAWN = multiprocessing.get_context("spawn")


# ---- the parent's end ---------------------------------------------------------------------------------------------


class ThisMachine:
    """The `Workplace` of workers that are processes of this machine."""

    may_kill_at_any_time = True

    def make_process(self, number: int, settings: WorkerSettings, wake: Callable[[], None]) -> "LocalProcess":
        return LocalProcess(number, settings)

    def look_after(self, processes: Sequence["LocalProcess"]):
        pass


class LocalProcess:
    """A `WorkerProcess` of this machine."""

    def __init__(self, number: int, settings: WorkerSettings):
        self._settings = settings
        self._pipe, self._far_end = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(self._far_end,), name=f"worker-{number}", daemon=True)

    @property
    def sources(self) -> list:
        return [self._pipe, self._process.sentinel]

    def start(self):
        # Started here because, as part of Process.start, it would unblock the signals again (seen in CPython 3.11).
        if IS_POSIX:
            resource_tracker.ensure_running()
        try:
            with environment(self._settings.variables()), _signals_held_back(), _main_module_hidden():
                self._process.start()
        finally:
            self._far_end.close()
        self.send(("begin", pickle.dumps((self._settings.initializer, self._settings.initargs))))

    def send(self, message: tuple):
        with contextlib.suppress(OSError):
            self._pipe.send(message)

    def poll(self) -> bool:
        return self._pipe.poll() or not self._process.is_alive()

    def receive(self) -> tuple:
        is_alive = self._process.is_alive()  # asked first: what one that is dead has said is in the pipe by now
        try:
            if self._pipe.poll() or is_alive:
                return self._pipe.recv()
        except OSError as error:  # died in the middle of a message
            raise EOFError from error
        raise EOFError

    def kill(self):
        # Not started, or another thread has just seen to its end.
        with contextlib.suppress(AttributeError, ValueError):
            self._process.kill()

    def end(self, patience: float) -> str:
        exitcode = None
        if self._process.pid is not None:
            self._process.join(patience)
            self.kill()
            self._process.join()
            exitcode = self._process.exitcode
        self._pipe.close()
        with contextlib.suppress(ValueError):  # somebody else has waited for it, and knows how it ended
            self._process.close()
        return _cause_of_death(exitcode)

    def has_lost_its_machine(self) -> bool:
        return False


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process started inside has these signals blocked from its first instruction; here they are only late."""
    if not IS_POSIX:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Else multiprocessing would run the main module once more in the worker, and need a file and a guard for that.

    It looks for that module by these two attributes (`multiprocessing.spawn.get_preparation_data`).
    """
    main = vars(sys.modules["__main__"])
    before = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(before)


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:  # None: this process ignores SIGCHLD, or waits for any child elsewhere
        return f"ended with exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


# ---- the worker's end ---------------------------------------------------------------------------------------------


def _work(pipe: connection.Connection):
    """The life of a worker: initialize, then one call after another until told to end."""
    forget_warning_options()
    # Ctrl-C and many batch systems signal the whole process group; what that means is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if IS_POSIX:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    tasks, stop, lock = queue.SimpleQueue(), threading.Event(), threading.Lock()
    threading.Thread(target=_listen, args=(pipe, tasks, stop), daemon=True).start()

    def send(*message):
        try:
            with lock:
                pipe.send(message)
        except OSError:  # nobody is left to work for
            os._exit(1)

    _, beginning, _ = tasks.get()
    try:
        initializer, initargs = pickle.loads(beginning)
        value = pickle.dumps(pkgutil.resolve_name(initializer)(*initargs) if initializer else None)
    except BaseException as error:
        send("unfit", isinstance(error, SweepError), Failure.of(error))
        return
    send("ready", value)

    while (task := tasks.get())[0] != "end":
        _, payload, inbox = task
        context = Context(lambda message: send("message", pickle.dumps(message)), stop, inbox)
        send("result", *_call(payload, context), rss_bytes())


def _listen(pipe: connection.Connection, tasks: queue.SimpleQueue, stop: threading.Event):
    """Take in what the parent says even while a call computes, and end with the parent, however it died.

    The parent closes its end of the pipe only when this process is gone, or by dying itself.
    """
    inbox = deque()
    with contextlib.suppress(EOFError, OSError):
        while True:
            kind, *content = pipe.recv()
            if kind == "stop":
                stop.set()
            elif kind == "message":  # for the call that was handed out last
                inbox.append(*content)
            else:
                stop.clear()  # that was for the call before: a paused pool goes on
                inbox = deque()
                tasks.put((kind, *content, inbox))
    os._exit(1)


def _call(payload: bytes, context: Context) -> tuple[str, bytes | None, Failure | None, float]:
    started = time.perf_counter()
    status, value, error = "done", None, None
    try:
        name, args = pickle.loads(payload)
        # Pickled apart from the envelope: one that cannot be read over there spoils this call only.
        value = pickle.dumps(pkgutil.resolve_name(name)(context, *args))
    except Stopped:
        status = "stopped"
    except BaseException as raised:  # SystemExit too: a call does not end its worker
        status, error = "failed", Failure.of(raised)
    return status, value, error, time.perf_counter() - started

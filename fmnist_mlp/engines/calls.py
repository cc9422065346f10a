"""Calls and their outcomes, and what every engine that runs them promises.

An engine takes picklable calls and yields one outcome for each as it ends. It knows nothing of Keras, of sweeps or of
files. What every engine promises, so that its caller need not know which one it drives:

- `run` yields one `Outcome` for every call that was started, in the order in which they end, and returns when none is
  left. The order in which calls are handed out, and to whom, decides how long a run takes and nothing else.
- A list of calls, or another collection, is drawn whole before anything starts, so that the longest can go first; the
  next may be handed out before the consumer hears of an outcome. From any other iterable a call is drawn when a worker
  would have nothing to do, after the consumer has dealt with every earlier outcome: what comes next may depend on what
  came out. Where such an iterator gives None, it has nothing for now: it is asked again when something has happened,
  and where nothing runs any more the run ends. After a call that wants to be alone it is asked again when that one has
  ended.
- A call that raises, or whose result cannot be sent, is `failed`, and not tried again: it would raise again. A call
  whose worker died is tried again on a fresh worker, at most `retries` times, then it is `crashed`. A call that takes
  longer than `timeout` seconds loses its worker and is `timed_out`. No call's fate touches another call.
- Messages of a call reach `on_message` in the order they were sent, all of them before the call's outcome is yielded;
  what the initializer returned reaches `on_worker` before the worker's first call. Both are called by `run`, in the
  consumer's thread and while it waits for the next outcome; an exception in them ends the run.
- `send` reaches a running call, in whatever process: `Context.messages` gives what was sent to its present attempt.
- After `stop()` no call is handed out or tried again; running calls see `stop_requested` and end as they like
  (`stopped` where they raise `Stopped`); calls that were never started are not yielded. `stop(now=True)` ends running
  calls at once, as `stopped`. A stopped engine stays stopped. `pause()` does the same as `stop()` to the run that goes
  on, and nothing to the next: there may be other calls then.
- Nothing outlives `run`: when it ends, is closed, raises, or its process dies, so do its workers. In a `with` block of
  the engine idle workers stay warm for the next `run`, and nothing outlives the block. Busy ones do not outlive `run`.
- A worker imports what it is to call and nothing of the main module, which may be a script without a guard, a notebook
  or standard input.

Left to others: what the calls do, what becomes of the outcomes, which signals mean stop (`cli` calls `stop` from its
handlers), how many workers are wise. Tried on Linux; elsewhere signals may reach workers, and memory is not watched on
Windows.
"""

import math
import pickle
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


class EngineError(Exception):
    """Workers cannot work at all, for a reason that is not the user's to mend."""


class Stopped(Exception):
    """Raised by a function that heeds `Context.stop_requested`."""


@dataclass(frozen=True)
class Call:
    """One thing to do: `function(context, *args)`.

    Args:
        key: the caller's own name for the call; the engine does not look at it.
        function: its dotted name, `package.module:function`. The worker imports it, so that the caller need not import
            what it computes with. `args` must pickle, and so must what it returns.
        group: calls of one group share something that is expensive in a process (a compilation). They prefer the same
            worker, unless another would have nothing to do. `""` shares with nobody.
        cost: how long it takes, relative to the other calls.
        alone: it runs when all others have ended, and beside no other: for what takes its own time.
    """

    key: str
    function: str
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
        initializer: the dotted name of what is called as `initializer(*initargs)` once in each process, before its
            first call; what it returns goes to `on_worker`. A `SweepError` in it is raised by `run`, anything else as
            `EngineError`.
        initargs: small; a worker's start sends them.
    """

    environment: Mapping[str, str | None] | Callable[[], Mapping[str, str | None]] = field(default_factory=dict)
    initializer: str | None = None
    initargs: tuple = ()

    def variables(self) -> Mapping[str, str | None]:
        """The environment as it is to be on this machine."""
        return self.environment() if callable(self.environment) else self.environment


class Context:
    """What a function may say to and ask of the process that called it; its first argument."""

    def __init__(self, send: Callable[[Any], None], stop: threading.Event, inbox: deque[bytes] | None = None):
        self._send = send
        self._stop = stop
        self._inbox = deque() if inbox is None else inbox

    def report(self, message):
        """Send any picklable message to `on_message`; waits only if the parent left hundreds of messages unread."""
        self._send(message)

    def messages(self) -> list:
        """What `Engine.send` has sent to this call since it last asked, in order; does not wait."""
        return [pickle.loads(self._inbox.popleft()) for _ in range(len(self._inbox))]

    @property
    def stop_requested(self) -> bool:
        """Whether to end at the next good moment and raise `Stopped`."""
        return self._stop.is_set()


class Engine:
    """What all engines share: their settings, and how they are run, told, stopped and closed (promises above).

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
        self.stays_warm = False

    def __enter__(self):
        self.stays_warm = True
        return self

    def __exit__(self, *exception):
        self.stays_warm = False
        self.close()

    def run(self, calls: Iterable[Call | None]) -> Iterator[Outcome]:
        """Yield the outcome of each call as it ends; closing the generator ends what still runs."""
        raise NotImplementedError

    def send(self, key: str, message: Any) -> bool:
        """Send a picklable message to the running call of this key, from the consumer's thread; False if none runs."""
        raise NotImplementedError

    def stop(self, now: bool = False):
        """End the run early, gently or `now`; may be called from a signal handler, another thread, or twice."""
        raise NotImplementedError

    def pause(self):
        """End this run early and gently, and be ready for the next; may be called from another thread."""
        raise NotImplementedError

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        raise NotImplementedError

    def release(self):
        """Tell workers that were kept warm to end, without waiting: there is no other run."""

    def close(self):
        """End the workers that were kept warm."""
        raise NotImplementedError

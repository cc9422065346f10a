"""What the workers of the engine's tests are asked to do; a module of its own, since workers import it by name."""

import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path

from fmnist_mlp.engines.calls import Stopped
from fmnist_mlp.errors import SweepError


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.002)


def is_held(path):
    """Whether a living process holds the lock on a file (the kernel drops it with the process, zombies included)."""
    with Path(path).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def nothing(context):
    return None


def double(context, number):
    return 2 * number


def pid(context):
    return os.getpid()


def big(context, size_bytes):
    return bytes(size_bytes)


def length(context, value):
    return len(value)


def report_numbers(context, count):
    for number in range(count):
        context.report(number)
    return count


def fail(context, error_class, *args):
    raise error_class(*args)


def exit_politely(context):
    sys.exit("enough")


class TwoArgumentsError(Exception):
    """Pickles, but cannot be unpickled: its `args` hold one argument of the two that it needs."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class LockedError(Exception):
    """Cannot be pickled."""

    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


class Unreadable:
    """Pickles, but cannot be unpickled."""

    def __reduce__(self):
        return _raise_value_error, ()


def _raise_value_error():
    raise ValueError("unreadable on purpose")


def unpicklable(context):
    return threading.Lock()


def unreadable(context):
    return Unreadable()


def die(context, how=signal.SIGKILL):
    os.kill(os.getpid(), how)


def leave(context, code):
    os._exit(code)


def die_once(context, mark):
    """Die the first time, answer the second."""
    mark = Path(mark)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def wait_for(context, path):
    wait_until(Path(path).exists)
    return os.getpid()


def wait_until_held(context, path):
    wait_until(lambda: is_held(path))


def meet(context, mine, others):
    """End only if all the others run at the same time."""
    Path(mine).touch()
    wait_until(lambda: all(Path(other).exists() for other in others))
    return os.getpid()


def hold(context, path, beside):
    """Hold the lock on `path` until the `beside` are held too; says nothing of how long it took."""
    with Path(path).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Path(f"{path}-seen").touch()
        wait_until(lambda: all(Path(f"{other}-seen").exists() for other in beside))
    return os.getpid()


def held_and_seen(context, paths):
    """How many of these are held now, how many have ever been, and by whom this was asked."""
    return sum(map(is_held, paths)), sum(Path(f"{path}-seen").exists() for path in paths), os.getpid()


def compute_for_ever(context, path):
    """Hold the lock on `path`, say so, and never look up from the work again."""
    with Path(path).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        context.report("holding")
        while True:
            sum(range(1000))


def stop_when_asked(context):
    context.report("running")
    wait_until(lambda: context.stop_requested)
    raise Stopped


def finish_when_asked(context):
    context.report("running")
    wait_until(lambda: context.stop_requested)
    return "finished"


def die_when_asked(context):
    context.report("running")
    wait_until(lambda: context.stop_requested)
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_messages(context, count):
    context.report("ready")
    messages = []
    wait_until(lambda: messages.extend(context.messages()) or len(messages) == count)
    return messages


def variables(context, *names):
    return [os.environ.get(name) for name in names]


def hold_memory(context, size_bytes):
    hold_memory.held = b"x" * size_bytes
    return os.getpid()


def initialize(value):
    return value, os.environ.get("ENGINE_TEST")


def initialize_slowly(mark):
    """Take until the file `mark` is there."""
    wait_until(Path(mark).exists)


def initialize_first_quickly(first, mark):
    """Return at once in the first process, in others when the file `mark` is there."""
    try:
        Path(first).touch(exist_ok=False)
    except FileExistsError:
        wait_until(Path(mark).exists)


def initialize_badly(message, error_class=SweepError):
    raise error_class(message)


def pid_as_variable():
    """Called where a worker starts, by the process that starts it."""
    return {"ENGINE_TEST_PID": str(os.getpid())}


def fetch_times(fetch, count):
    return (count * fetch(),)

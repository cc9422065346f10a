"""What this machine has for workers: cores and memory within control groups, variables, a place for scratch files."""

import atexit
import contextlib
import functools
import math
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from fmnist_mlp.errors import SweepError

IS_POSIX = os.name == "posix"

# The longest wait of a main thread that handles signals: CPython calls a handler when the wait ends, and a signal that
# comes just before it begins, or to another thread, ends none.
HEED_SECONDS = 0.5

_TRIES = 100


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


def rss_bytes() -> int:
    if statm := _words(Path("/proc/self/statm")):
        return int(statm[1]) * os.sysconf("SC_PAGESIZE")
    if not IS_POSIX:
        return 0  # not known: no process is replaced for its memory
    import resource  # there is none on Windows

    # The peak, where the present is not known; kilobytes, but bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@functools.cache
def scratch_folder() -> Path:
    """A folder of this process's own, made once and gone with it; what killed workers left is cleared away.

    Raises:
        SweepError: it cannot be made.
    """
    # Imported here: the parent, which imports this module too, starts quicker without it.
    import filelock

    parent = folder_of_user()
    for lock_file in parent.glob("worker-*.lock"):
        lock = filelock.FileLock(lock_file)
        with contextlib.suppress(filelock.Timeout, OSError), lock.acquire(timeout=0):
            _remove_scratch(lock_file.with_suffix(""))
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):  # another process was the last to leave, and took it along
            folder = Path(tempfile.mkdtemp(prefix="worker-", dir=folder_of_user()))
            lock = filelock.FileLock(_lock_file(folder))
            lock.acquire()
            break
    else:
        raise SweepError(f"{platform.node()}: cannot make a folder in {parent}: set TMPDIR there")
    atexit.register(_remove_scratch, folder, lock)  # which holds on to the lock, too
    return folder


def _lock_file(folder: Path) -> Path:
    return folder.with_suffix(".lock")


def _remove_scratch(folder: Path, lock=None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        _lock_file(folder).unlink(missing_ok=True)
        folder.parent.rmdir()  # unless others have something there


def folder_of_user() -> Path:
    """Where this user's workers write on this machine. Raises SweepError where there is no such place."""
    owner = os.getuid() if hasattr(os, "getuid") else "workers"
    folder = Path(tempfile.gettempdir()) / f"fmnist_mlp-{owner}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            raise PermissionError(None, "it belongs to another user")
    except OSError as error:
        raise SweepError(f"{platform.node()}: cannot use {folder} ({error.strerror}): set TMPDIR there") from error
    return folder

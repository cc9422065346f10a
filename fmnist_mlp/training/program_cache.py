"""Compiled programs that outlast their process: XLA's own cache, with our checks around it.

XLA compiles a stack's programs for seconds, and on one kind of CPU its machine code is the same every time. TensorFlow
can keep it in a folder, but runs whatever it finds there. So TensorFlow gets an empty scratch folder of this process;
what was kept of a program is put there just before it is needed, after its checksum was compared, and what is new there
afterwards is kept: whole, with a checksum, in a folder that is this user's alone.

A kept program never changes a number: it is the machine code that XLA would make again. Whatever is damaged, missing,
foreign or cannot be written costs the compilation and nothing else.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from fmnist_mlp import files
from fmnist_mlp.engines import machine
from fmnist_mlp.errors import SweepError

# Of the user's shell: names the folder, or is `off`.
VARIABLE = "FMNIST_MLP_PROGRAMS"
_OFF = "off"

# Raised when kept programs must not be used any more, though XLA, flags and CPU are the same.
_VERSION = 1
_MOST_BYTES_OF_ONE = 64 * 2**20
# A trial fails where TensorFlow cannot write into its scratch folder, so there has to be room to spare.
_ROOM_BYTES = 256 * 2**20
_ENTRY_NAME = re.compile(r"[0-9a-f]{64}\.programs|\.draft-[0-9a-f]{16}")
_XLA_FILE_NAME = re.compile(r"xla_compile_cache__[0-9a-z_]+__XLA_CPU_JIT\.pb", re.IGNORECASE)
# What of /proc/cpuinfo decides which instructions XLA chooses; a virtual machine may hide some flags of a model.
_OF_THE_CPU = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "cache size")
_PLAIN_PATH = re.compile(r"[^\s'\"\\]+")  # TensorFlow splits its flags at blanks, and dies of one that it does not know
_SUM_BYTES = hashlib.sha256().digest_size


class ProgramCache:
    """The programs that are kept, as one process sees them.

    Args:
        kept: the folder that they are kept in.
        scratch: the folder that TensorFlow of this process reads and writes.
        surroundings: what decides the machine code beside the program.
        most_bytes: what was used longest ago goes where there are more; a stack's programs take 0.15 MB.
    """

    def __init__(self, kept: Path, scratch: Path, surroundings: list[str], most_bytes: int = 256 * 2**20):
        self._kept, self._scratch, self._surroundings = kept, scratch, surroundings
        self._most_bytes = most_bytes

    @classmethod
    def start(cls, threads: int) -> Self | None:
        """Make XLA keep what it compiles in this process; to be called before TensorFlow is imported.

        Only on Linux, and only for programs of the CPU, which are those that can be told apart by what the system says.

        Args:
            threads: that TensorFlow will compute on.

        Returns:
            None where nothing is to be kept, or can be.
        """
        place = os.environ.get(VARIABLE) or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/fmnist_mlp/programs"
        if place == _OFF or "tensorflow" in sys.modules or not (cpu := _cpu()):
            return None
        try:
            kept = _own_folder(Path(place).expanduser())
            scratch = machine.scratch_folder() / "xla"
            scratch.mkdir(exist_ok=True)
            if shutil.disk_usage(scratch).free < _ROOM_BYTES or not _PLAIN_PATH.fullmatch(str(scratch)):
                return None
        except (OSError, RuntimeError, SweepError):  # RuntimeError: nobody knows this user's home
            return None
        os.environ |= {
            "TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={scratch} "
            "--tf_xla_persistent_cache_device_types=CPU,XLA_CPU_JIT",
            # Each program that is loaded is reported as an error: LLVM's preferences are no features of a CPU.
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        return cls(kept, scratch, [*cpu, os.environ.get("XLA_FLAGS", ""), f"{threads} threads"])

    @contextlib.contextmanager
    def holding(self, program: str) -> Iterator[None]:
        """For the block that runs a program for the first time: what was kept of it is used, what is new is kept.

        Args:
            program: the same for the same program (`trials.program_of`); if it is not, that costs only time.
        """
        # Imported here: a worker makes this object before it imports TensorFlow.
        import tensorflow as tf

        from fmnist_mlp.training.tracing import same_names

        library = [tf.version.VERSION, tf.version.GIT_VERSION, tf.version.COMPILER_VERSION]
        entry = self._kept / f"{files.made_of([_VERSION, program, *library, *self._surroundings])}.programs"
        before = _unpacked(entry)
        self._fill_scratch(before)
        try:
            with same_names(program):
                yield
        finally:
            with contextlib.suppress(OSError, SweepError):
                after = {path.name: path.read_bytes() for path in self._scratch.iterdir() if _is_xlas(path.name)}
                if after.keys() - before.keys():
                    files.write_whole(entry, _packed(after), flush=False)
                    self._drop_oldest()
                elif before:
                    os.utime(entry)  # used now
            self._fill_scratch({})

    def _fill_scratch(self, contents: dict[str, bytes]) -> None:
        """With these files and no other, or where that fails with none: TensorFlow would stumble over half of one."""
        for wanted in (contents, {}):
            with contextlib.suppress(OSError):
                for path in self._scratch.iterdir():
                    path.unlink()
                for name, content in wanted.items():
                    (self._scratch / name).write_bytes(content)
                return

    def _drop_oldest(self) -> None:
        """Of what we wrote; other processes may do the same."""
        entries = []
        for path in self._kept.iterdir():
            if _ENTRY_NAME.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    about = path.lstat()
                    entries.append((about.st_mtime_ns, about.st_size, path))
        kept_bytes = 0
        for _, size, path in sorted(entries, reverse=True):
            kept_bytes += size
            if kept_bytes > self._most_bytes:
                path.unlink(missing_ok=True)


def _cpu() -> list[str]:
    """What the system says of the CPU; nothing where it is not Linux."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return [f"{name}: {found[name]}" for name in _OF_THE_CPU if name in found] if found.get("flags") else []


def _own_folder(folder: Path) -> Path:
    """The folder, made where it is missing. Raises OSError where it is not this user's alone: it holds machine code."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder


def _is_xlas(name: str) -> bool:
    return _XLA_FILE_NAME.fullmatch(name) is not None


def _packed(contents: dict[str, bytes]) -> bytes:
    """Files as the bytes of one: a checksum, then a zip archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, content in contents.items():
            packed.writestr(name, content)
    body = archive.getvalue()
    return hashlib.sha256(body).digest() + body


def _unpacked(entry: Path) -> dict[str, bytes]:
    """What `_packed` made of XLA's files; nothing where it is missing or not as it was written."""
    with contextlib.suppress(OSError):
        if entry.stat().st_size > _MOST_BYTES_OF_ONE:
            return {}
        content = entry.read_bytes()
        sum_, body = content[:_SUM_BYTES], content[_SUM_BYTES:]
        if hashlib.sha256(body).digest() == sum_:
            with zipfile.ZipFile(io.BytesIO(body)) as packed:
                return {name: packed.read(name) for name in packed.namelist() if _is_xlas(name)}
    return {}

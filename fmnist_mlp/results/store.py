"""Every path under `results/`: records, what is done already, the views and tables of a sweep.

A record goes by what it is (`_records/<fingerprint>/`), so sweeps share it and a rename costs nothing. What carries a
name (`<sweep>/results.csv`, `<sweep>/models/<architecture>.keras`) is a view, made again from the records by every
run: copies, since a person may write to them, that `views` tells from what a person put there. Every file is written
beside its place, flushed and moved in with `os.replace`: a reader never sees half a file, and whoever is killed leaves
at most a draft that the next run clears away.

A record and a checkpoint are sealed: `SHA256SUMS` covers every file of theirs, and none is believed before it is
compared (`files`). One that is damaged is a `DamagedRecord`, which its trial replaces. A record from before there were
seals is compared with itself once, figures with confusion matrix and predictions, and then sealed.

No TensorFlow, pandas or scipy here: a rerun with nothing to do lives on this module.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fmnist_mlp import files
from fmnist_mlp.data.class_names import ENTRY, in_json, with_class_names
from fmnist_mlp.errors import cannot_write
from fmnist_mlp.files import UNREADABLE_ARRAYS, DamagedFile, Digests
from fmnist_mlp.results import unsealed
from fmnist_mlp.results.record import FORMAT_WITHOUT_SEAL, DamagedRecord, Latency, Record, parse_record
from fmnist_mlp.results.registry import Registry, exists, relative_to
from fmnist_mlp.results.views import Kept, Views
from fmnist_mlp.sweepfile.sweep import Baseline, Sweep
from fmnist_mlp.sweepfile.trials import Trial


class Results:
    """The results folder.

    Args:
        root: made on the first write.

    Attributes:
        registry: which sweeps have results here.
        unsealed: fingerprints of sound records that have no seal yet.
        damaged: what was found damaged when it was read, though it was sound when the records were looked up: a line
            for each file.
    """

    def __init__(self, root: Path):
        self.root = Path(root)
        self.unsealed: set[str] = set()
        self.damaged: dict[Path, str] = {}
        self._records = self.root / "_records"
        self._drafts = self._records / ".drafts"
        self.registry = Registry(self.root)
        self._views: dict[str, Views] = {}  # of each sweep, by its name
        self._digests = Digests(self._records, self._records / ".digests.json")

    def relative(self, path: Path) -> str:
        """A path as it is remembered: relative to the results, so that both can be moved or mounted elsewhere."""
        return relative_to(path, self.root)

    # ---- records

    def record_folder(self, fingerprint: str) -> Path:
        """Where the record of this trial lies, or will."""
        return self._records / fingerprint

    def kept(self) -> frozenset[str]:
        """Fingerprints of the trials that have a record, also one that cannot be used or is being replaced just now.

        One look at the folder: most trials of a large plan have none, and to look for each would take minutes.
        """
        try:
            return frozenset(name.removeprefix(".") for name in os.listdir(self._records))  # noqa: PTH208
        except OSError:
            return frozenset()

    def stamp(self, fingerprint: str) -> tuple[int, int] | None:
        """What changes when the record of this trial is replaced, whatever the clocks say; None where there is none."""
        try:
            about = os.stat(f"{self._records}/{fingerprint}/record.json")  # noqa: PTH116 (asked of thousands)
        except OSError:
            return None
        return about.st_ino, about.st_mtime_ns

    def content_key(self, fingerprint: str) -> str:
        """What is another as soon as any file of a record is, but not where its folder was only copied."""
        try:
            return self._digests.of(f"{self.record_folder(fingerprint)}/{files.SUMS}")
        except OSError:
            return str(self.stamp(fingerprint))

    def load_record(self, fingerprint: str) -> Record | None:
        """The record of this trial; None where there is none.

        Raises:
            DamagedRecord: there is one and it cannot be used: a file of it is cut off, changed or missing, it is from a
                newer version, or another trial's.
        """
        try:
            return self._load_record(fingerprint)
        except DamagedRecord:
            # Another sweep may have replaced it while it was read; then its files were of two records.
            return self._load_record(fingerprint)

    def _load_record(self, fingerprint: str) -> Record | None:
        # Text, not Path, down to `files`: a plan looks at thousands, and to join paths would take half of the time.
        path = f"{self._records}/{fingerprint}/record.json"
        try:
            text = files.read(path)
        except OSError as error:
            folder = self.record_folder(fingerprint)
            if exists(folder):
                raise DamagedRecord(f"{path}: cannot be read ({error.strerror})") from error
            _step_back(folder)
            return self._load_record(fingerprint) if exists(folder) else None
        sums = self._sums(fingerprint)
        if sums is not None:
            _compare(text, path, sums.get("record.json", ""))
        record = parse_record(path, text, fingerprint)
        folder = self.record_folder(fingerprint)
        needed = () if not record.is_done else _FILES_OF_A_BASELINE if record.is_baseline else _FILES_OF_A_DONE_TRIAL
        if sums is not None and {*needed} <= {*sums}:
            self._check_files(folder, sums)
        elif missing := [name for name in needed if not (folder / name).is_file()]:
            raise DamagedRecord(f"{folder}: lacks {', '.join(missing)}")
        elif sums is not None:
            raise DamagedRecord(f"{folder / files.SUMS}: is not of all its files")
        elif record.format != FORMAT_WITHOUT_SEAL:
            raise DamagedRecord(f"{folder}: lacks {files.SUMS}")
        elif record.is_done and (reasons := [*unsealed.contradictions(record, folder)]):
            raise DamagedRecord(f"{folder}: does not agree with itself: {'; '.join(reasons)}")
        else:
            self.unsealed.add(fingerprint)
        return record

    def _check_files(self, folder: Path, sums: Mapping[str, str]) -> None:
        try:
            for name, expected in sums.items():
                files.check(f"{folder}/{name}", expected, self._digests)
        except DamagedFile as error:
            missing = [name for name in sums if not (folder / name).is_file()]
            raise DamagedRecord(f"{folder}: lacks {', '.join(missing)}" if missing else str(error)) from error

    def seal_older_records(self) -> int:
        """Seal the records from before there were seals that `load_record` found sound; how many."""
        sealed = 0
        for fingerprint in sorted(self.unsealed):
            with contextlib.suppress(OSError):  # read-only: they are checked again each time
                folder = self.record_folder(fingerprint)
                # What the system or a person has put there meanwhile (.DS_Store) may change and be no damage.
                files.seal(folder, {n: sum_ for n, sum_ in files.sums_of(folder).items() if _FILE_OF_A_RECORD(n)})
                sealed += 1
        self.unsealed.clear()
        return sealed

    def remember_digests(self, fingerprints: Iterable[str] = ()) -> None:
        """So that the next run need not hash what it finds unchanged, these new records among them."""
        for fingerprint in fingerprints:
            with contextlib.suppress(DamagedRecord):  # the next run says it
                self._check_files(self.record_folder(fingerprint), self._sums(fingerprint) or {})
        self._digests.save()

    def load_correct(self, fingerprint: str) -> np.ndarray:
        """Which test images the model of a finished trial classifies correctly: bool, `(n,)`.

        Raises:
            DamagedRecord: its predictions cannot be read.
        """
        label, predicted = self.load_predictions(fingerprint, "label", "predicted")
        if label.shape != predicted.shape:
            raise DamagedRecord(
                f"{self.record_folder(fingerprint)}: has {len(label)} labels, {len(predicted)} predictions"
            )
        return predicted == label

    def load_predictions(self, fingerprint: str, *names: str) -> list[np.ndarray]:
        """These arrays of a finished trial's `predictions.npz`, in this order; results/README.md says which there are.

        Raises:
            DamagedRecord: its predictions cannot be read, or lack one of them.
        """
        return self.load_arrays(fingerprint, "predictions.npz", *names)

    def load_arrays(self, fingerprint: str, file: str, *names: str) -> list[np.ndarray]:
        """These arrays of an archive among a record's files, in this order; raises as `load_predictions`."""
        try:
            with np.load(io.BytesIO(self.read_file(fingerprint, file)), allow_pickle=False) as arrays:
                return [arrays[name] for name in names]
        except UNREADABLE_ARRAYS as error:
            raise DamagedRecord(f"{self.record_folder(fingerprint) / file}: cannot be read ({error})") from error

    def read_file(self, fingerprint: str, name: str) -> bytes:
        """The content of a file of a record, `model.keras` for one, compared with the record's seal at each read.

        Raises:
            DamagedRecord: it is missing, or not what was written; the next run will find that too, and train again.
        """
        path = self.record_folder(fingerprint) / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DamagedRecord(f"{path}: cannot be read ({error.strerror})") from error
        if (sums := self._sums(fingerprint)) is not None:
            try:
                _compare(content, path, sums.get(name, ""))
            except DamagedRecord as error:
                self._digests.forget(path)
                self.damaged[path] = str(error)
                raise
        return content

    def sums(self, fingerprint: str) -> dict[str, str]:
        """The SHA-256 of each file of a record by its path below the folder; of one without a seal, as they are now.

        Raises:
            DamagedRecord: the seal is damaged, or a file cannot be read.
        """
        folder = self.record_folder(fingerprint)
        try:
            return self._sums(fingerprint) or files.sums_of(folder)
        except OSError as error:
            raise DamagedRecord(f"{folder}: cannot be read ({error})") from error

    def _sums(self, fingerprint: str) -> dict[str, str] | None:
        """What the seal of a record says; None where it has none."""
        try:
            return files.read_sums(f"{self._records}/{fingerprint}")
        except FileNotFoundError:
            return None
        except DamagedFile as error:
            raise DamagedRecord(str(error)) from error

    def find_model(self, path: Path) -> Record | None:
        """The record whose model this file holds, whatever it is called; None where there is none, or it is damaged."""
        for folder in sorted(self._records.glob("[0-9a-f]*")):
            if self.is_model_of(folder.name, path):
                with contextlib.suppress(DamagedRecord):
                    return self.load_record(folder.name)
        return None

    def is_model_of(self, fingerprint: str, path: Path) -> bool:
        """Whether a file holds the very model of a record, whatever names of classes either carries."""
        try:
            return _model_content(self.record_folder(fingerprint) / "model.keras") == _model_content(path)
        except OSError:
            return False

    def draft(self, fingerprint: str) -> contextlib.AbstractContextManager[Path]:
        """A folder to write a record's files into; leaving the block moves it into place whole, an error removes it."""
        return self._draft_of(self.record_folder(fingerprint))

    def write_record(self, folder: Path, record: Record) -> None:
        """Write `record.json` into a draft."""
        (folder / "record.json").write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @contextlib.contextmanager
    def claim(self, fingerprint: str, may_wait: Callable[[], bool]) -> Iterator[bool]:
        """Take this trial for oneself while the block runs, so that two sweeps never train it at once.

        An operating-system lock: that of a process that died is free again. (Not so on network file systems without
        locks; there, two machines may train a trial twice, and the later record replaces the earlier whole.)

        Args:
            may_wait: asked again and again while somebody else has the trial, whether to go on waiting.

        Yields:
            Whether the trial is ours.
        """
        # Imported here: only workers claim, and the parent starts quicker without it.
        import filelock

        path = self._records / ".claims" / f"{fingerprint}.lock"
        lock, is_ours = filelock.FileLock(path), False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            while not is_ours:
                try:
                    lock.acquire(timeout=0.2 if may_wait() else 0)
                    is_ours = True
                except filelock.Timeout:
                    if not may_wait():
                        break
        except OSError as error:  # a full disk, no permission: not the trial's fault
            raise cannot_write(path, error) from error
        if not is_ours:
            yield False
            return
        try:
            for leftover in self._drafts.glob(f"{fingerprint[:16]}-*"):  # of a process that was killed while it wrote
                shutil.rmtree(leftover, ignore_errors=True)
            self.drop_live(fingerprint)
            yield True
        finally:
            self.drop_live(fingerprint)
            with contextlib.suppress(OSError):  # a disk that turned read-only: the lock is free all the same
                path.unlink()  # while it is held: whoever waits for it sees that it is gone
            lock.release()

    # ---- curves of trials in work

    def live_folder(self, fingerprint: str) -> Path:
        """Where a trial writes its curves while it trains; whoever has the claim, and nobody else, writes there."""
        return self._records / ".live" / fingerprint

    def drop_live(self, fingerprint: str) -> None:
        shutil.rmtree(self.live_folder(fingerprint), ignore_errors=True)

    def trial_logs(self, folder_name: str) -> Path:
        """Where `logs` shows TensorBoard every trial of a sweep; `logs/` itself has an overview."""
        return self.root / "_trials" / folder_name

    # ---- checkpoints of trials that are not done

    def checkpoint_folder(self, fingerprint: str) -> Path:
        return self._records / ".checkpoints" / fingerprint

    def checkpoint_draft(self, fingerprint: str) -> contextlib.AbstractContextManager[Path]:
        """As `draft`, for a checkpoint: the one before it is replaced whole."""
        return self._draft_of(self.checkpoint_folder(fingerprint))

    def read_checkpoint(self, fingerprint: str) -> dict[str, bytes]:
        """The files of a checkpoint by name, each compared with the seal; its events lie in a folder below it.

        Raises:
            DamagedFile: one is missing, or not what was written.
        """
        folder = self.checkpoint_folder(fingerprint)
        try:
            sums = files.read_sums(folder)
        except FileNotFoundError as error:
            raise DamagedFile(f"{folder / files.SUMS}: is missing") from error
        return {name: files.read_checked(folder / name, expected) for name, expected in sums.items()}

    def drop_checkpoint(self, *fingerprints: str) -> None:
        for fingerprint in fingerprints:
            shutil.rmtree(self.checkpoint_folder(fingerprint), ignore_errors=True)

    @contextlib.contextmanager
    def _draft_of(self, place: Path) -> Iterator[Path]:
        try:
            self._drafts.mkdir(parents=True, exist_ok=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{place.name[:16]}-", dir=self._drafts))
            folder.chmod(0o777 & ~_umask())  # mkdtemp shuts everybody else out
            try:
                yield folder
                if not (folder / files.SUMS).exists():  # else it came from another machine with its own
                    files.seal(folder)
                _flush_tree(folder)
                self._move_in(folder, place)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            raise cannot_write(place, error) from error

    def _move_in(self, draft: Path, place: Path) -> None:
        """os.replace does not replace a folder that has files: an older record steps aside, and back if need be."""
        older = _aside(place)
        for attempts_left in reversed(range(10)):
            _remove(older)
            with contextlib.suppress(FileNotFoundError):
                os.replace(place, older)
            try:
                os.replace(draft, place)
                break
            except OSError:
                is_taken = place.exists()  # another sweep looked for the record just now and put the older one back
                _step_back(place)
                if not (is_taken and attempts_left):
                    raise
        _remove(older)

    # ---- what belongs to one sweep

    def sweep_folder(self, sweep: Sweep) -> Path:
        return self.root / sweep.folder_name

    def trial_folders(self) -> list[tuple[Path, str]]:
        """Every record, checkpoint and draft that nobody works on, and what it is when no sweep asks for it."""
        in_work = {path.name[:16] for path in (self._records / ".claims").glob("*.lock")}
        kinds = {
            self._records: "a record that no sweep asks for",
            self._records / ".checkpoints": "a checkpoint that no sweep asks for",
            self._records / ".live": "curves of a process that was killed",
            self._drafts: "a draft of a process that was killed",
        }
        return [
            (folder, reason)
            for parent, reason in kinds.items()
            for folder in (sorted(parent.iterdir()) if parent.is_dir() else ())
            if folder.is_dir() and not folder.name.startswith(".") and folder.name[:16] not in in_work
        ]

    def has_table(self, sweep: Sweep, name: str, key: str) -> bool:
        """Whether `<sweep>/<name>` is there as it was written last, and was written with this key."""
        return self.views(sweep).is_in_step(name, key)

    def write_table(self, sweep: Sweep, name: str, text: str, key: str = "-") -> None:
        """Write `<sweep>/<name>`, whole or not at all; an unchanged one is left alone.

        Args:
            key: a word for what it is made of, which `has_table` asks for.
        """
        self.views(sweep).write(name, text, key)

    def load_report(self, sweep: Sweep) -> tuple[str, frozenset[str]]:
        """The page that `write_report` wrote last and the names of its pictures; empty where any was changed since."""
        views = self.views(sweep)
        if not views.is_in_step("report", "-"):
            return "", frozenset()
        try:
            page = (views.folder / "report.html").read_text("utf-8")
        except (OSError, ValueError):
            return "", frozenset()
        return page, frozenset(Path(name).name for name in views.names("report") if name.startswith("plots/"))

    def write_report(self, sweep: Sweep, page: str, pictures: Mapping[str, bytes]) -> Path:
        """Bring `<sweep>/plots/` in step, these PNG files and no others of ours, then `<sweep>/report.html`."""
        views = self.views(sweep)
        # The page last: one that is there has its pictures beside it.
        contents = {f"plots/{name}": content for name, content in pictures.items()} | {"report.html": page}
        views.show("report", "-", contents, flush=True)
        return views.folder / "report.html"

    def show_models(self, sweep: Sweep, best: Mapping[str, Trial], class_names: Sequence[str] = ()) -> None:
        """Bring `<sweep>/models/` in step: a copy of the model of the best trial of each architecture (by name).

        Baselines have none. Each file carries the names of its classes, so it is read only where something changed.
        """
        views, wanted = self.views(sweep), set()
        for name, trial in best.items():
            if isinstance(trial.architecture, Baseline):
                continue
            file, sums = f"models/{name}.keras", {}
            with contextlib.suppress(DamagedRecord):  # the next run says it
                sums = self.sums(trial.fingerprint)
            model = self._kept(trial.fingerprint, "model.keras", sums)
            wanted.add(file)
            key = hashlib.sha256(f"{model.sum} {in_json(class_names)}".encode()).hexdigest()
            if not views.is_in_step(file, key) and (content := model.read()) is not None:
                views.adopt(file, model.sum)  # as it is without names, from before there was a journal
                views.show(file, key, {file: with_class_names(content, class_names)})
        shown = [part for part in views.parts() if part.startswith("models")]  # one for each file, once one for all
        views.remove(file for part in shown for file in views.names(part) if file not in wanted)

    def events(self, fingerprint: str) -> dict[str, Kept]:
        """The event files of a record, by their path below its `events/`."""
        try:
            sums = self.sums(fingerprint)
        except DamagedRecord:  # the next run says it
            return {}
        names = [name for name in sums if name.startswith("events/") and "events.out.tfevents." in name]
        return {name.removeprefix("events/"): self._kept(fingerprint, name, sums) for name in names}

    def _kept(self, fingerprint: str, name: str, sums: Mapping[str, str]) -> Kept:
        """A file of a record as its seal has it; None is read where it has become another."""

        def read() -> bytes | None:
            with contextlib.suppress(DamagedRecord):
                return self.read_file(fingerprint, name)
            return None

        return Kept(sums.get(name, "missing"), read)

    def views(self, sweep: Sweep) -> Views:
        """The folder `<root>/<sweep>/`."""
        folder = self.sweep_folder(sweep)
        if folder.name not in self._views:
            self._views[folder.name] = views = Views(folder)
            if views.is_unknown:
                self.drop_links(folder)
        return self._views[folder.name]

    def drop_links(self, folder: Path) -> None:
        """Remove what an earlier version linked to records below a folder of views: whoever wrote there wrote to them.

        Raises:
            SweepError: it cannot be removed.
        """
        linked = []
        for path in files.below(folder):
            with contextlib.suppress(OSError):  # a draft of another process, or links that lead nowhere
                linked += [path] if path.stat().st_nlink > 1 else []
        if not linked:
            return
        kept = {(about.st_dev, about.st_ino) for about in map(os.stat, self._records.glob("*/model.keras"))}
        kept |= {(about.st_dev, about.st_ino) for about in map(os.stat, self._records.glob("*/events/**/*"))}
        try:
            for path in linked:
                if (path.stat().st_dev, path.stat().st_ino) in kept:
                    path.unlink()
        except OSError as error:
            raise cannot_write(folder, error) from error

    def take_notices(self) -> list[str]:
        """What is to be said of files that people changed, a line each; every line once."""
        notices = [line for views in self._views.values() for line in views.notices]
        for views in self._views.values():
            views.notices.clear()
        return notices

    # ---- what was measured or computed once and is no part of a record

    def load_latency(self, key: str) -> Latency | None:
        with contextlib.suppress(ValueError):
            return Latency.model_validate(files.load_json(self.root / "_latency" / f"{key}.json") or None)
        return None

    def save_latency(self, key: str, latency: Latency) -> None:
        files.save_json(self.root / "_latency" / f"{key}.json", latency.model_dump())

    def load_comparison(self, folder_name: str) -> dict:
        """What `save_comparison` was given last for the sweep of this folder; empty before, or where it is damaged."""
        return files.load_json(self.root / folder_name / "_comparison.json")

    def save_comparison(self, sweep: Sweep, comparison: dict) -> None:
        files.save_json(self.sweep_folder(sweep) / "_comparison.json", comparison)

    # ---- the memory of what the images are (data.describe)

    def load_data_memory(self) -> dict:
        return files.load_json(self.root / "_data.json")

    def save_data_memory(self, memory: dict) -> None:
        files.save_json(self.root / "_data.json", memory)


def _compare(content: bytes, path: Path | str, expected: str) -> None:
    try:
        files.compare(content, path, expected)
    except DamagedFile as error:
        raise DamagedRecord(str(error)) from error


def _model_content(path: Path) -> dict[str, tuple[int, int]]:
    """CRC-32 and size of each file in a model's archive, without reading them; but for the names of classes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {f.filename: (f.CRC, f.file_size) for f in archive.infolist() if f.filename != ENTRY}
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        content = path.read_bytes()
        return {"": (zlib.crc32(content), len(content))}


# ---- helpers ------------------------------------------------------------------------------------------------------


_FILES_OF_A_DONE_TRIAL = ("model.keras", "predictions.npz")

_FILES_OF_A_BASELINE = ("predictions.npz",)

_FILE_OF_A_RECORD = re.compile(
    r"record\.json|model\.keras|predictions\.npz|events/(.+/)?(events\.out\.tfevents\.[^/]+|last_hidden_layer\.npz)"
).fullmatch


def _aside(place: Path) -> Path:
    """Where a record waits while a newer one takes its place."""
    return place.with_name(f".{place.name}")


def _step_back(place: Path) -> None:
    """Put back the older record where the newer one did not come: an error, or a process killed in between."""
    if not exists(place):
        with contextlib.suppress(OSError):
            os.replace(_aside(place), place)


def _remove(path: Path) -> None:
    """Whatever it is, if it is there at all."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush_tree(folder: Path) -> None:
    """Bring a draft's files to the disk before the rename that makes it a record."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""What no sweep file asks for any more: found, moved to a trash folder, and deleted for good by a second command.

Whoever deletes needs proof. A record is left over only where a sweep that is remembered here (`Registry.known_sweeps`)
asked for it once, and none asks for it now. Who asks now is read from the sweep files and the images themselves, never
from what is remembered of them. Where one of these cannot be read, nothing is left over: that is an error which says
what is missing. What nobody is known to have asked for stays; of folders of views only files that are as we wrote them
go.

Knows no TensorFlow. Which files are whose is for `results` and `views` to know.
"""

import contextlib
import itertools
import json
import re
import shutil
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from fmnist_mlp.data.source import DataInfo, describe, find_data
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results.registry import KnownSweep
from fmnist_mlp.results.search import Candidate, SearchLog
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.views import JOURNAL, Views
from fmnist_mlp.runner.search import search_log
from fmnist_mlp.sweepfile.duplicates import new_trials
from fmnist_mlp.sweepfile.in_words import trial_in_short
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.sweep import Overrides, Sweep, read_folder_name
from fmnist_mlp.sweepfile.trials import list_refits, list_trials

_TRASH = "_trash"
_REST = (".live", ".drafts")  # what a killed process leaves of a trial lies there
_OF_A_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}-\d{6}(-\d+)?")  # what `move_to_trash` calls a folder


@dataclass(frozen=True)
class Leftover:
    """A folder that no sweep file asks for any more.

    Args:
        folder: of a trial, or of the views of a sweep.
        reason: why it is left over.
        files: what of it goes; of a folder of views only what is as we wrote it.
        is_of_a_trial: whether it is a record, a checkpoint, or what a killed process left of one.
    """

    folder: Path
    reason: str
    files: tuple[Path, ...]
    is_of_a_trial: bool

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)


def find_leftovers(
    results_dir: Path, logs_dir: Path, data_dir: Path | None = None, gone: Collection[str] = ()
) -> tuple[list[Leftover], int]:
    """What lies under results and logs that no sweep file asks for any more; changes nothing.

    Quick looks (`--epochs`, `--limit`, `--seeds`), their tables and those of their trials that the full sweep does not
    share, are left over: no file asks for them.

    Args:
        data_dir: as in `plan.Options`.
        gone: names of sweeps whose file is gone for good, though the folder that it lay in cannot be reached, or
            nothing is remembered of them; then their views stay.

    Returns:
        The leftovers, and how many records and checkpoints stay because no sweep is known to have asked for them.

    Raises:
        SweepError: what some sweep asks for cannot be told: its file has mistakes or cannot be reached, its images are
            not here, or what is remembered of it is damaged.
    """
    results, images = Results(results_dir), {}
    wanted, asked_for, leftovers = set(), set(), []
    for sweep in results.registry.known_sweeps():
        if sweep.sweep_file is None:
            if sweep.folder_name in gone:
                continue
            raise SweepError(
                f"nothing is cleaned: {sweep.memory} is missing or damaged, so nobody knows what "
                f"{sweep.folder_name} asks for; run its sweep again, or say that there is none (a folder that was "
                f"copied or renamed): --gone {sweep.folder_name}"
            )
        asked_for |= sweep.asked_for
        sweep_files = [path for path in (sweep.sweep_file, *sweep.former_files) if _is_there(path, sweep, gone)]
        for sweep_file in sweep_files:
            try:
                wanted |= _asked_for_now(results, sweep_file, data_dir, images)
            except SweepError as error:
                raise SweepError(
                    f"nothing is cleaned, since nobody can tell what {sweep.folder_name} asks for: {error}"
                ) from error
        if sweep.sweep_file not in sweep_files:
            leftovers += _views_of(sweep, results_dir, logs_dir, f"its sweep file {sweep.sweep_file} is gone")
        elif options := (read_folder_name(sweep.folder_name) or ("", Overrides()))[1].options:
            leftovers += _views_of(sweep, results_dir, logs_dir, f"a quick look ({options}) at {sweep.sweep_file}")
    left_over, unknown = asked_for - wanted, 0
    for folder, reason in results.trial_folders():
        is_rest = folder.parent.name in _REST
        if is_rest or folder.name in left_over:
            files = tuple(path for path in folder.rglob("*") if path.is_file())
            leftovers.append(Leftover(folder, f"{reason}{_trained_what(folder)}", files, True))
        else:
            unknown += folder.name not in wanted
    return leftovers, unknown


def move_to_trash(leftovers: Iterable[Leftover], results_dir: Path, logs_dir: Path) -> Path:
    """Move what was found to `<results>/_trash/<moment>/{results,logs}/`, each to its old place below.

    A trial that is in work by now is left alone.

    Returns:
        That folder.

    Raises:
        SweepError: something cannot be moved; what was moved before lies in the trash.
    """
    results, moment = Results(results_dir), time.strftime("%Y-%m-%d-%H%M%S")
    names = (moment if number == 0 else f"{moment}-{number}" for number in itertools.count())
    trash = next(path for path in (results_dir / _TRASH / name for name in names) if not path.exists())
    for leftover in leftovers:
        is_in_results = leftover.folder.is_relative_to(results_dir)
        root = results_dir if is_in_results else logs_dir
        place = trash / ("results" if is_in_results else "logs") / leftover.folder.relative_to(root)
        with _moving(leftover.folder):
            if not leftover.folder.exists():  # the claim of its trial has cleared it away
                continue
            if not leftover.is_of_a_trial and leftover.folder.is_dir():
                _move_views(leftover.folder, place)
            elif not leftover.is_of_a_trial or leftover.folder.parent.name in _REST:
                _move(leftover.folder, place)
            else:
                with results.claim(leftover.folder.name, may_wait=lambda: False) as is_free:
                    if is_free:
                        _move(leftover.folder, place)
    return trash


def trash_bytes(results_dir: Path) -> int:
    """How much `move_to_trash` has put into the trash and nobody has deleted yet."""
    return sum(path.stat().st_size for folder in _trash(results_dir) for path in folder.rglob("*") if path.is_file())


def empty_trash(results_dir: Path) -> None:
    """Delete for good what `move_to_trash` has put into the trash; whatever else lies there stays.

    Raises:
        SweepError: it cannot be deleted.
    """
    for folder in _trash(results_dir):
        with _moving(folder):
            shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # not empty, or not there
        (results_dir / _TRASH).rmdir()


def _is_there(sweep_file: Path, sweep: KnownSweep, gone: Collection[str]) -> bool:
    """Whether a sweep file is there; where it is not, its folder must be, or it may only be unmounted."""
    try:
        if sweep_file.exists():
            return True
        is_reached = sweep_file.parent.is_dir() and any(sweep_file.parent.iterdir())
    except OSError:
        is_reached = False
    if not is_reached and sweep.folder_name not in gone:
        raise SweepError(
            f"nothing is cleaned: {sweep_file.parent}, where the sweep file of {sweep.folder_name} lies, is missing or "
            f"empty: mount it, or say that it is gone for good: --gone {sweep.folder_name}"
        )
    return False


def _asked_for_now(results: Results, sweep_file: Path, data_dir: Path | None, images: dict) -> set[str]:
    """Fingerprints of all that a sweep file may ask for, whatever options it is run with."""
    sweep = load_sweep(sweep_file)
    info = _images_of(sweep, data_dir, images)
    sweep = sweep.with_images(info.train_images)
    fingerprints, candidates = set(), 0
    for plain_fit in (False, True):
        how = {"data_identity": info.identity, "plain_fit": plain_fit}
        if sweep.search is not None:  # whichever of its candidates are finalists, or were
            found = _candidates(search_log(results, sweep, info, plain_fit))
            candidates += len(found)
            fingerprints |= {candidate.trial.fingerprint for candidate in found}
            listed = tuple(new_trials([candidate.architecture for candidate in found], [*sweep.architectures]))
            sweep = sweep.model_copy(update={"architectures": (*sweep.architectures, *listed)})
        trials = list_trials(sweep, **how)
        if sweep.refit is not None:  # of whichever architecture was the best at the time
            trials = [*trials, *list_refits(sweep, sweep.architectures, **how)]
        fingerprints |= {trial.fingerprint for trial in trials}
    if sweep.search is not None and not candidates:
        raise SweepError(f"the list of candidates of {sweep_file} is missing or damaged: run its sweep again")
    return fingerprints


def _candidates(log: SearchLog) -> list[Candidate]:
    return [candidate for found in log.proposed for _, candidate in found if candidate is not None]


def _images_of(sweep: Sweep, data_dir: Path | None, images: dict) -> DataInfo:
    """The images as they are, read; those of several sweeps only once."""
    source = find_data(sweep.dataset, data_dir if sweep.dataset in ("auto", "fashion_mnist") else None)
    if source.fallback_reason:
        raise SweepError(f"Fashion-MNIST is not here and the generated stand-in is no proof ({source.fallback_reason})")
    return describe(source, images)


def _views_of(sweep: KnownSweep, results_dir: Path, logs_dir: Path, reason: str) -> list[Leftover]:
    """What is as we wrote it of a sweep's folders and memory; nothing of a folder that has no journal."""
    leftovers, name = [], sweep.folder_name
    for folder in (results_dir / name, Results(results_dir).trial_logs(name), logs_dir / name):
        views = Views(folder)
        names = () if views.is_unknown else (*views.ours(), JOURNAL, *_MEMORIES)
        files = tuple(folder / name for name in names if (folder / name).is_file())
        leftovers += [Leftover(folder, reason, files, False)] if files else []
    memory = sweep.memory
    return leftovers + ([Leftover(memory, reason, (memory,), False)] if memory.is_file() else [])


# Of ours, though no journal lists them: what is only remembered carries its own checksum.
_MEMORIES = ("_comparison.json",)


def _move_views(folder: Path, place: Path) -> None:
    views = Views(folder)
    views.remove(views.ours(), to=place)
    for name in (*_MEMORIES, JOURNAL):
        if (folder / name).is_file():
            _move(folder / name, place / name)
    with contextlib.suppress(OSError):  # what is not ours stays, and so does its folder
        folder.rmdir()


def _move(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, place)


def _trash(results_dir: Path) -> list[Path]:
    return [path for path in sorted((results_dir / _TRASH).glob("*")) if _OF_A_MOMENT.fullmatch(path.name)]


@contextlib.contextmanager
def _moving(path: Path):
    try:
        yield
    except OSError as error:
        raise SweepError(f"cannot move or delete {path}: {error.strerror or error}") from error


def _trained_what(record_folder: Path) -> str:
    """`: 256-drop0.3, seed 2, 20 epochs`, so that a person knows the record; nothing where it cannot be read."""
    try:
        settings = json.loads((record_folder / "record.json").read_bytes())["settings"]
        return f": {trial_in_short(settings)}"
    except (OSError, ValueError, TypeError, LookupError):
        return ""

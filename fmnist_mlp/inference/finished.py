"""The models that a sweep exported: which there are, and what is known of them.

Which model is which is decided by records, never by files for people. Leaves to others: predicting (`predictor`), from
a picture to an image (`pictures`), the page (`app`), other formats of a model (`export`).
"""

import dataclasses
from pathlib import Path

from fmnist_mlp.data.class_names import present
from fmnist_mlp.data.source import Dataset, find_data, load_data
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.record import DamagedRecord, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.settings import IdxFolder, NpzFile
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.sweep import UNKNOWN_SIZE, Overrides, Sweep, read_folder_name
from fmnist_mlp.sweepfile.trials import list_refits, list_trials
from fmnist_mlp.words import harmless

CLASSES_FILE = "classes.json"  # the names of the classes, beside a model that left its results folder


# ---- what a sweep exported ----------------------------------------------------------------------------------------


class FinishedSweep:
    """What a sweep left behind: the table, the exported models, the records behind them. Read only.

    What it says is what the last run decided, and remembered with a checksum (`table.FinalTable`); where that is lost,
    it is decided again from the records, by way of the sweep file. Files for people (`results.csv`, the names of files
    under `models/`) decide nothing: they may be edited, locked or gone. All is as it was when this object was made.

    Args:
        results_dir: the results folder.
        name: of the sweep's folder; a quick look has its own (`architectures+epochs-2`).

    Raises:
        SweepError: there are no results of such a sweep, or nothing can be known of them.
    """

    def __init__(self, results_dir: Path, name: str = "architectures"):
        self.name, self.folder = name, Path(results_dir) / name
        self.results = Results(results_dir)
        there_are = [known for known, _ in self.results.registry.sweeps()]
        # Of a sweep whose folder was deleted the records are still there.
        if read_folder_name(name) is None or not (name in there_are or self.folder.is_dir()):
            hint = f"there are {', '.join(there_are)} (--sweep)" if there_are else "run python sweep.py first"
            looks = [known for known in there_are if (read_folder_name(known) or ("", None))[0] == name]
            if looks:
                hint = f"there is only a quick look at it: --sweep {' or --sweep '.join(looks)}"
            raise SweepError(f"no results of a sweep '{harmless(name)[:100]}' in {results_dir}: {hint}")
        self._final = table.load_final_table(self.results, name) or _decide_again(self.results, name)

    def rows(self) -> list[TableRow]:
        """The rows of the table, as from `table.make_table`; none before the first trial is done."""
        return self._final.rows

    def row(self, architecture: str) -> TableRow | None:
        """The row of one architecture; None where the table has none."""
        return next((row for row in self.rows() if row.architecture == architecture), None)

    def model_names(self) -> list[str]:
        """The architectures that have an exported model, in the table's order, then what else lies under `models/`."""
        ours = [row.architecture for row in self.rows() if row.architecture in self._final.exported]
        return ours + sorted({path.stem for path in self._view("*").parent.glob("*.keras")} - {*ours})

    def best(self) -> str:
        """The best of the architectures that have an exported model, in the order of the ranking.

        Raises:
            SweepError: there is no exported model yet.
        """
        ranked = [row.architecture for row in ranking.best_first(self.rows())]
        for name in ranked:
            if name in self._final.exported:
                return name
        if others := self.model_names():
            raise SweepError(
                f"{self.folder}: which model is the best is not known, since no record says so: run python sweep.py, "
                f"or name one of {', '.join(others)}"
            )
        raise SweepError(f"{self.folder} holds no exported model yet: run python sweep.py, or name one by its path")

    def model_path(self, architecture: str) -> Path:
        """A file with the exported model of an architecture, compared with its record.

        Raises:
            SweepError: it has none (the message lists those that have), or it is damaged.
        """
        names = self.model_names()
        if architecture not in names:
            there_are = f"there are {', '.join(names)}" if names else "run python sweep.py first"
            raise SweepError(f"no exported model '{harmless(architecture)[:100]}' in {self.folder}: {there_are}")
        record, view = self.record(architecture), self._view(architecture)
        if record is not None:
            return self.results.record_folder(record.fingerprint) / "model.keras"
        if not view.is_file():
            raise SweepError(f"the model of {architecture} is gone, and its record too: run python sweep.py again")
        return view

    def record(self, architecture: str) -> Record | None:
        """The record of the trial whose model is exported, with today's class names; None where there is none (now).

        Raises:
            SweepError: it is damaged.
        """
        fingerprint = self._final.exported.get(architecture)
        if fingerprint is None:
            return None
        try:
            record = self.results.load_record(fingerprint)
            if record is not None:
                self.results.read_file(fingerprint, "model.keras")  # compared with the seal once more, by its content
        except DamagedRecord as error:
            raise SweepError(f"{error}: run python sweep.py again, which trains {architecture} anew") from error
        return record and self._with_names(record)

    def caveats(self, architecture: str) -> list[str]:
        """What nobody who uses this model may overlook, a line each."""
        record, view = self.record(architecture), self._view(architecture)
        said = caveats(record, self.name)
        if record is None:
            said.append(UNVOUCHED.format(view))
        elif view.is_file() and not self.results.is_model_of(record.fingerprint, view):
            said.append(
                f"{view} is no longer the model that the sweep exported: the one in its record is used instead; "
                "predict takes the file by its path (--model)"
            )
        return said

    def _with_names(self, record: Record) -> Record:
        names = present(self.results.registry.class_names(self.name), record.class_names)
        return record.model_copy(update={"class_names": names})

    def load_images(self, record: Record, data_dir: Path | None = None) -> Dataset:
        """The very images that a trial of this sweep was trained and scored on.

        Args:
            data_dir: where Fashion-MNIST lies, if not in Keras's cache.

        Raises:
            SweepError: they are not to be found, or have changed since.
        """
        # The same images have the same records: one may say fashion_mnist, and the sweep file where else they lie.
        if self._final.images is None and not record.dataset.startswith(("idx:", "npz:")):
            return self._load_images(record.dataset, record, data_dir)
        # The record has the name alone. They lay where the last run found it, or lie where the sweep file says now.
        problem = SweepError(f"the images of {self.name} ({record.dataset}) cannot be found: no sweep file is known")
        if self._final.images is not None:
            try:
                path = (self.results.root / self._final.images).resolve()
                return self._load_images((NpzFile if path.is_file() else IdxFolder)(path), record)
            except SweepError as error:
                problem = error
        if (sweep_file := dict(self.results.registry.sweeps()).get(self.name)) is None or not sweep_file.is_file():
            raise problem
        return self._load_images(load_sweep(sweep_file).dataset, record, data_dir)

    def _load_images(self, dataset, record: Record, data_dir: Path | None = None) -> Dataset:
        images = load_data(find_data(dataset, data_dir if dataset in ("auto", "fashion_mnist") else None))
        if images.identity != record.settings["data"]:
            raise SweepError(f"the images in {images.source.path} are not those that {self.name} was trained on")
        return dataclasses.replace(images, class_names=record.class_names)

    def _view(self, architecture: str) -> Path:
        return self.folder / "models" / f"{architecture}.keras"


def caveats(record: Record | None, folder_name: str) -> list[str]:
    """What nobody who uses this trial's model may overlook, a line each.

    Args:
        record: None where it is not known.
        folder_name: of the sweep that it was taken from, or of any other folder.
    """
    said, (_, overrides) = [], read_folder_name(folder_name) or ("", Overrides())
    if overrides.options:
        said.append(f"of a quick look ({overrides.options}), not of the full sweep")
    if record is not None and record.dataset == "synthetic":
        said.append("trained on the generated stand-in, not on Fashion-MNIST: it knows drawings made by a program only")
    return said


def _decide_again(results: Results, name: str) -> table.FinalTable:
    """The final table from the records that the sweep file asks for, of those images that the last run had.

    Raises:
        SweepError: the sweep file has mistakes or is gone, so nobody knows what it asked for.
    """
    nothing = table.FinalTable(key="", rows=[], exported={}, images=None)
    sweep_file = dict(results.registry.sweeps()).get(name)
    if sweep_file is None:
        return nothing
    _, overrides = read_folder_name(name)
    try:
        sweep = load_sweep(sweep_file, overrides)
    except SweepError as error:
        raise SweepError(
            f"what the last run of {name} remembered is missing or damaged ({results.root / name}), and its sweep file "
            f"cannot be read in its place: mend it and run python sweep.py again\n{error}"
        ) from error
    if sweep.folder_name != name:  # it has another name now, and this folder is what it left behind
        return nothing
    settings = list(results.registry.last_plan(sweep).values())
    try:
        ((identity, limit),) = {(one["data"], one["limit"]) for one in settings}
    except (TypeError, LookupError, ValueError):
        return nothing
    sweep, state = sweep.model_copy(update={"limit": limit}), None
    for plain_fit in (False, True):
        identified = {"data_identity": identity, "plain_fit": plain_fit}
        state = _state_of(results, sweep, list_trials(sweep, **identified), ())
        if sweep.looks:  # another sweep may have trained seeds that this one never asked for
            asked = ranking.rank(state).progress.asked
            asked_for = [t for t in state.trials if t.seed in sweep.seeds[: asked[t.architecture.name]]]
            state = _state_of(results, sweep, asked_for, ())
        if sweep.refit is not None:
            best = ranking.rank(state).best
            chosen = [item for item in sweep.architectures if sweep.refit.which == "all" or item.name == best]
            state = _state_of(results, sweep, state.trials, list_refits(sweep, chosen, **identified))
        if state.records:
            break
    return table.final_table(state, results)


def _state_of(results: Results, sweep: Sweep, trials, refits) -> ranking.SweepState:
    """What the records say of these trials; sizes are those that they had."""
    records = {}
    sizes = dict.fromkeys((architecture.name for architecture in sweep.architectures), UNKNOWN_SIZE)
    for trial in (*trials, *refits):
        try:
            record = results.load_record(trial.fingerprint)
        except DamagedRecord as error:
            raise SweepError(f"{error}: run python sweep.py again, which trains it anew") from error
        if record is not None:
            records[trial.fingerprint] = record.in_short(trial)
            size = StackSize(record.params, record.trainable_params, record.flops)
            sizes[trial.architecture.name] = size
    dataset = next((record.dataset for record in records.values()), "")
    earlier = results.registry.earlier_looks(sweep)
    return ranking.SweepState(sweep, trials, records, sizes, dataset, refits=refits, earlier=earlier)


UNVOUCHED = "{}: no record has this model, so nothing vouches for it"

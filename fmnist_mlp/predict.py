"""The exported models: which there are, what is known of them, and what they say of an image.

`FinishedSweep` finds the models that a sweep exported and what is known of them, `Predictor` is one of these models
ready to classify; models are loaded without running code from them.

Keras is imported by `import_keras` alone, late and for the CPU. Leaves to others: from a picture to such an image
(`pictures`), arguments and printing (`cli`), the page (`app`), other formats of a model (`export`).
"""

import contextlib
import csv
import dataclasses
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_mlp import config, data, table
from fmnist_mlp.class_names import carried_by, present, with_class_names
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import DamagedRecord, Record, Results
from fmnist_mlp.yaml_nodes import harmless

CLASSES_FILE = "classes.json"  # the names of the classes, beside a model that left its results folder


# ---- what a sweep exported ----------------------------------------------------------------------------------------


class FinishedSweep:
    """What lies under `results/<name>/`: the table, the exported models, the records behind them. Read only.

    Args:
        results_dir: the results folder.
        name: of the sweep's folder; a quick look has its own (`architectures+epochs-2`).

    Raises:
        SweepError: there are no results of such a sweep.
    """

    def __init__(self, results_dir: Path, name: str = "architectures"):
        self.name, self.folder = name, Path(results_dir) / name
        self.results = Results(results_dir)
        if config.read_folder_name(name) is None or not self.folder.is_dir():
            there_are = sorted(path.parent.name for path in self.results.root.glob("*/results.csv"))
            hint = f"there are {', '.join(there_are)} (--sweep)" if there_are else "run python sweep.py first"
            looks = [known for known in there_are if (config.read_folder_name(known) or ("", None))[0] == name]
            if looks:
                hint = f"there is only a quick look at it: --sweep {' or --sweep '.join(looks)}"
            raise SweepError(f"no results of a sweep '{harmless(name)[:100]}' in {results_dir}: {hint}")

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `results.csv` as `table.make_table` made them; none before the first trial is done.

        Every column is there, None where the file is empty or older than the column.
        """
        rows = _read_csv(self.folder / "results.csv")
        return [{column.name: _value(column.name, row) for column in table.RESULTS_COLUMNS} for row in rows]

    def row(self, architecture: str) -> dict[str, Any] | None:
        """The row of one architecture; None where the table has none."""
        return next((row for row in self.rows() if row["architecture"] == architecture), None)

    def model_names(self) -> list[str]:
        """The architectures that have an exported model: in the table's order, then what the table does not name."""
        names = {path.stem for path in (self.folder / "models").glob("*.keras")}
        order = [row["architecture"] for row in self.rows() if row["architecture"] in names]
        return order + sorted(names - {*order})

    def best(self) -> str:
        """The architecture whose verdict is `best`; where no model has it, the one with the best mean `val_accuracy`.

        None has it while the sweep runs, and where a baseline is the best.

        Raises:
            SweepError: there is no exported model yet.
        """
        names = self.model_names()
        if not names:
            raise SweepError(f"{self.folder} holds no exported model yet: run python sweep.py, or name one by its path")
        rows = [row for row in self.rows() if row["architecture"] in names]
        best = [row for row in rows if row["verdict"] == "best"] or table.sort_rows(rows, "val_accuracy")
        return best[0]["architecture"] if best else names[0]

    def model_path(self, architecture: str) -> Path:
        """The exported model of an architecture.

        Raises:
            SweepError: it has none; the message lists those that have.
        """
        names = self.model_names()
        if architecture not in names:
            there_are = f"there are {', '.join(names)}" if names else "run python sweep.py first"
            raise SweepError(f"no exported model '{harmless(architecture)[:100]}' in {self.folder}: {there_are}")
        return self.folder / "models" / f"{architecture}.keras"

    def record(self, architecture: str) -> Record | None:
        """The record of the trial whose model is exported, with today's class names; None where none has this model."""
        model = self.model_path(architecture)
        for trial in _read_csv(self.folder / "trials.csv"):
            fingerprint = trial.get("fingerprint") or ""
            if trial.get("architecture") != architecture or not re.fullmatch("[0-9a-f]{64}", fingerprint):
                continue
            theirs = self.results.record_folder(fingerprint) / "model.keras"
            with contextlib.suppress(OSError, DamagedRecord):
                # A copy of it, which may carry names.
                content, names = model.read_bytes(), carried_by(model)
                if content in (theirs.read_bytes(), with_class_names(theirs, names)):
                    record = self.results.load_record(fingerprint)
                    return record and self._with_names(record)
        return None

    def caveats(self, architecture: str) -> list[str]:
        """What nobody who uses this model may overlook, a line each."""
        return caveats(self.record(architecture), self.name)

    def _with_names(self, record: Record) -> Record:
        names = present(self.results.class_names(self.name), record.class_names)
        return record.model_copy(update={"class_names": names})

    def load_images(self, record: Record, data_dir: Path | None = None) -> data.Dataset:
        """The very images that a trial of this sweep was trained and scored on.

        Args:
            data_dir: where Fashion-MNIST lies, if not in Keras's cache.

        Raises:
            SweepError: they are not to be found, or have changed since.
        """
        dataset = record.dataset
        if dataset.startswith("idx:"):  # the record has the folder's name, the sweep file its path
            sweep_file = dict(self.results.sweeps()).get(self.name)
            if sweep_file is None:
                raise SweepError(f"the images of {self.name} ({dataset}) cannot be found: its sweep file is not known")
            dataset = config.load_sweep(sweep_file).dataset
        images = data.load_data(data.find_data(dataset, data_dir if dataset == "fashion_mnist" else None))
        if images.identity != record.settings["data"]:
            raise SweepError(f"the images in {images.source.folder} are not those that {self.name} was trained on")
        return dataclasses.replace(images, class_names=record.class_names)


def caveats(record: Record | None, folder_name: str) -> list[str]:
    """What nobody who uses this trial's model may overlook, a line each.

    Args:
        record: None where it is not known.
        folder_name: of the sweep that it was taken from, or of any other folder.
    """
    said, (_, overrides) = [], config.read_folder_name(folder_name) or ("", config.Overrides())
    if overrides.options:
        said.append(f"of a quick look ({overrides.options}), not of the full sweep")
    if record is not None and record.dataset == "synthetic":
        said.append("trained on the generated stand-in, not on Fashion-MNIST: it knows drawings made by a program only")
    return said


@dataclass(frozen=True)
class ChosenModel:
    """A model's file, what to call it, the names of its classes (none where they are not known), and its caveats."""

    name: str
    path: Path
    class_names: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()


def choose_model(results_dir: Path, sweep: str = "architectures", wanted: str | None = None) -> ChosenModel:
    """The model to predict with.

    Args:
        wanted: the name of an architecture of the sweep, or the path of a `.keras` file; default: the sweep's best.

    Raises:
        SweepError: there is no such model.
    """
    if wanted is not None and (wanted.endswith(".keras") or {*wanted} & {"/", os.sep}):
        path = Path(wanted)
        if path.suffix != ".keras" or not path.is_file():
            raise SweepError(f"{harmless(wanted)[:300]}: is no file of a Keras model (.keras)")
        return ChosenModel(path.stem, path, _class_names_of(path), tuple(_caveats_of(path)))
    finished = FinishedSweep(results_dir, sweep)
    name = finished.best() if wanted is None else wanted
    path, record = finished.model_path(name), finished.record(name)
    return ChosenModel(name, path, record.class_names if record else (), tuple(caveats(record, finished.name)))


def _caveats_of(path: Path) -> list[str]:
    """Of a model by its path: by the sweep's folder that it lies in, or as the record beside it says."""
    results_dir, folder_name = path.resolve().parents[1].parent, path.resolve().parents[1].name
    if path.parent.name == "models" and config.read_folder_name(folder_name) is not None:
        finished = FinishedSweep(results_dir, folder_name)
        return caveats(finished.record(path.stem) if path.stem in finished.model_names() else None, folder_name)
    record = None
    with contextlib.suppress(DamagedRecord, SweepError):
        record = Results(results_dir).load_record(path.resolve().parent.name)
    return caveats(record, "")


def _class_names_of(path: Path) -> tuple[str, ...]:
    """What a model's file carries, else what lies around it says: its sweep, its record, or what `export` wrote."""
    if names := carried_by(path):
        return names
    if path.parent.name == "models":
        with contextlib.suppress(SweepError):
            sweep_folder = path.resolve().parent.parent
            finished = FinishedSweep(sweep_folder.parent, sweep_folder.name)
            record = finished.record(path.stem) if path.stem in finished.model_names() else None
            # A model that somebody trained on and saved again has lost its names, but not its classes.
            return record.class_names if record else finished.results.class_names(finished.name)
    for beside, key in ((path.with_name("record.json"), "class_names"), (path.with_name(CLASSES_FILE), None)):
        with contextlib.suppress(OSError, ValueError, RecursionError, LookupError, TypeError):
            content = json.loads(beside.read_bytes())
            names = content if key is None else content[key]
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                return tuple(names)
    return ()


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if row.get("architecture")]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SweepError(f"{path}: cannot be read ({error}); python sweep.py writes it again") from error


_TEXT_COLUMNS = ("architecture", "layers", "verdict", "pareto", "size", "dataset", "mixed")


def _value(column: str, row: Mapping[str, str | None]) -> str | int | float | None:
    text = row.get(column)
    if not text or column in _TEXT_COLUMNS:
        return text or None
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return None


# ---- the model ----------------------------------------------------------------------------------------------------


class Predictor:
    """An exported model, loaded and ready, on the CPU.

    Args:
        model_path: a `.keras` file: uint8 images `(n, height, width)` in, class probabilities `(n, classes)` out.
        class_names: one a class; without them those that the file carries. The numbers stand in their place where there
            are not as many.

    Raises:
        SweepError: it is no such model, or one that carries code.
    """

    def __init__(self, model_path: Path, class_names: Sequence[str] = ()):
        self._model = load_model(model_path)
        inputs, outputs = self._model.input_shape, self._model.output_shape
        if not _is_shape(inputs, 3) or not _is_shape(outputs, 2):
            raise SweepError(
                f"{model_path}: takes {inputs} and gives {outputs}; a model that takes images "
                "(None, height, width) and gives probabilities (None, classes) was expected"
            )
        self.shape: tuple[int, int] = inputs[1:]
        numbers, names = tuple(map(str, range(outputs[1]))), tuple(class_names) or carried_by(model_path)
        self.class_names = names if len(names) == len(numbers) else numbers

    def predict(self, pixels: np.ndarray) -> list[tuple[str, float]]:
        """The classes of one image with their probabilities, the most probable first.

        Args:
            pixels: uint8, `shape`.
        """
        if pixels.dtype != np.uint8 or pixels.shape != self.shape:
            raise ValueError(f"expected uint8 pixels of shape {self.shape}, got {pixels.dtype} of {pixels.shape}")
        probabilities = self.probabilities(pixels[None])[0]
        order = np.argsort(-probabilities, kind="stable")
        return [(self.class_names[number], float(probabilities[number])) for number in order]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of many images at once: uint8 `(n, height, width)` to float32 `(n, classes)`."""
        keras = import_keras()
        with keras.device("cpu"):
            return np.concatenate(
                [
                    keras.ops.convert_to_numpy(self._model(images[start : start + 1000], training=False))
                    for start in range(0, len(images), 1000)
                ]
            )


def load_model(path: Path):
    """The Keras model of a `.keras` file, on the CPU; one that carries code is refused, not run.

    Raises:
        SweepError: it cannot be loaded.
    """
    keras = import_keras()
    try:
        with keras.device("cpu"):
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a damaged file makes it: zipfile, json, h5py, its own
        reason = harmless(" ".join(str(error).split()))[:200]
        raise SweepError(f"{path}: is no model that Keras can load ({reason})") from error


def import_keras():
    """Import Keras with TensorFlow as a worker would, but without a GPU: for a few images it is not worth claiming."""
    if "tensorflow" in sys.modules:
        import keras

        return keras
    # Imported here: they are needed only where TensorFlow is about to be loaded, which takes seconds.
    from fmnist_mlp import engine, trial

    # Level 3: TensorFlow 2.21 calls it an error that there is no GPU.
    engine.set_environment(trial.own_environment("cpu", threads=1) | {"TF_CPP_MIN_LOG_LEVEL": "3"})
    with trial.quiet_start(), trial.keras_as_shipped():
        import keras
    return keras


def _is_shape(shape, dimensions: int) -> bool:
    """Whether it is `(None, size, ...)` with so many dimensions; models of several inputs have a list of shapes."""
    return (
        isinstance(shape, tuple)
        and len(shape) == dimensions
        and shape[0] is None
        and all(isinstance(size, int) and size > 0 for size in shape[1:])
    )

"""One model, ready to say what an image shows; chosen from a sweep or a file of one's own.

Models are loaded without running code from them. Keras is imported by `import_keras` alone, late and for the CPU.
"""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_mlp.data.class_names import carried_by, present
from fmnist_mlp.engines.machine import set_environment
from fmnist_mlp.errors import SweepError
from fmnist_mlp.inference.finished import CLASSES_FILE, UNVOUCHED, FinishedSweep, caveats
from fmnist_mlp.results.store import Results
from fmnist_mlp.training import worker
from fmnist_mlp.words import harmless


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
        return _choose_file(path, Path(results_dir))
    finished = FinishedSweep(results_dir, sweep)
    name = finished.best() if wanted is None else wanted
    path, record = finished.model_path(name), finished.record(name)
    return ChosenModel(name, path, record.class_names if record else (), tuple(finished.caveats(name)))


def _choose_file(path: Path, results_dir: Path) -> ChosenModel:
    """A model by its path. What it is, its content says: the record that has the very same, whatever it is called."""
    above = [*path.resolve().parents, Path(), Path(), Path()]  # of <results>/<sweep>/models/<name>.keras
    sweep, names = above[1].name, carried_by(path)
    for results in map(Results, dict.fromkeys((above[2], results_dir))):
        if record := results.find_model(path):
            names = names or present(results.registry.class_names(sweep), record.class_names)
            return ChosenModel(path.stem, path, names, tuple(caveats(record, sweep)))
    is_of_results = (above[2] / "_records").is_dir()
    # A model that somebody trained on and saved again has lost its names, but not its classes.
    names = (
        names or (Results(above[2]).registry.class_names(sweep) if is_of_results else ()) or _class_names_beside(path)
    )
    said = [*caveats(None, sweep), UNVOUCHED.format(path)] if is_of_results else []
    return ChosenModel(path.stem, path, names, tuple(said))


def _class_names_beside(path: Path) -> tuple[str, ...]:
    """From the file that `export` wrote beside it."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        names = json.loads(path.with_name(CLASSES_FILE).read_bytes())
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()


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

    # Level 3: TensorFlow 2.21 calls it an error that there is no GPU.
    set_environment(worker.own_environment("cpu", threads=1) | {"TF_CPP_MIN_LOG_LEVEL": "3"})
    with worker.quiet_start(), worker.keras_as_shipped():
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

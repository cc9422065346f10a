"""What an interrupted training goes on from, to the last bit."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from fmnist_mlp.files import UNREADABLE_ARRAYS
from fmnist_mlp.training.trainer import BadCheckpoint

# What Keras's EarlyStopping remembers from one epoch to the next. Its documentation (3.15) has none of these names:
# where one is gone, no checkpoint is taken, and an interrupted trial starts again. They can go once Keras's callbacks
# have a state to save.
_EARLY_STOPPING_COUNTERS = ("wait", "stopped_epoch", "best", "best_epoch")
_BEST_WEIGHTS = "best_weights"


@dataclass
class Checkpoint:
    """All that decides the rest of a training, as it stood at the end of an epoch.

    Keras's own (`save_weights`, BackupAndRestore) leave out the seeds of dropout and the patience of early stopping.

    Args:
        epochs_done: epochs that are behind it.
        arrays: every variable of model and optimizer, and the best weights that early stopping keeps.
        history: Keras's, so far.
        early_stopping: its counters, None without it.
        is_stopped: whether early stopping has ended the training with this epoch.
        epoch_seconds: of the epochs so far.
    """

    epochs_done: int
    arrays: dict[str, np.ndarray]
    history: dict[str, list[float]]
    early_stopping: dict[str, float] | None
    is_stopped: bool
    epoch_seconds: list[float]

    @classmethod
    def take(cls, model: keras.Sequential, history, clock, stopping=None, *, epochs_done: int) -> "Checkpoint":
        """The state at the end of an epoch, once Keras's callbacks have seen it.

        Raises:
            BadCheckpoint: this Keras's early stopping does not say what it remembers.
        """
        arrays = {f"{kind}-{i}": variable.numpy() for kind, of in _variables(model) for i, variable in enumerate(of)}
        counters = None
        if stopping is not None:
            try:
                counters = {name: getattr(stopping, name) for name in _EARLY_STOPPING_COUNTERS}
                best_weights = getattr(stopping, _BEST_WEIGHTS) or ()
            except AttributeError as error:
                raise BadCheckpoint(f"cannot be taken with Keras {keras.__version__}: {error}") from error
            arrays |= {f"best-{i}": weight for i, weight in enumerate(best_weights)}
        return cls(epochs_done, arrays, history.history, counters, model.stop_training, clock.epoch_seconds)

    def write(self, folder: Path) -> None:
        """Write into an empty folder; putting it in place whole is the caller's business."""
        np.savez(folder / "arrays.npz", **self.arrays)
        rest = {name: value for name, value in vars(self).items() if name != "arrays"}
        (folder / "state.json").write_text(json.dumps(rest), encoding="utf-8")

    @classmethod
    def read(cls, contents: Mapping[str, bytes], model: keras.Sequential) -> "Checkpoint":
        """The checkpoint in the files of a folder, by name; nothing is unpickled.

        Raises:
            BadCheckpoint: it is not a whole one, or of a model with other variables or shapes.
        """
        try:
            state = json.loads(contents["state.json"])
            with np.load(io.BytesIO(contents["arrays.npz"]), allow_pickle=False) as arrays:
                checkpoint = cls(arrays=dict(arrays), **state)
        except UNREADABLE_ARRAYS as error:
            raise BadCheckpoint(f"is not whole: {error}") from error
        expected = {f"{kind}-{i}": tuple(v.shape) for kind, of in _variables(model) for i, v in enumerate(of)}
        if not expected.items() <= {name: array.shape for name, array in checkpoint.arrays.items()}.items():
            raise BadCheckpoint("is of another model")
        return checkpoint

    def restore(self, model: keras.Sequential, history: keras.callbacks.History) -> None:
        """Set model, optimizer and history to where they stood."""
        for kind, variables in _variables(model):
            for i, variable in enumerate(variables):
                variable.assign(self.arrays[f"{kind}-{i}"])
        history.history = {name: list(values) for name, values in self.history.items()}

    def restore_early_stopping(self, stopping: keras.callbacks.EarlyStopping) -> None:
        """To be called after `fit` began, which makes it forget everything."""
        vars(stopping).update(self.early_stopping)
        weights = sum(name.startswith("best-") for name in self.arrays)
        setattr(stopping, _BEST_WEIGHTS, [self.arrays[f"best-{i}"] for i in range(weights)] or None)

    def first_epoch(self, epochs: int) -> int:
        """The epoch to go on with, from 0; there is none left where early stopping has ended the training."""
        return epochs if self.is_stopped else self.epochs_done


def best_epoch(stopping: keras.callbacks.EarlyStopping | None = None) -> int | None:
    """The epoch, from 1, whose weights early stopping restored; None where it did not, or does not say which."""
    if stopping is None or not stopping.restore_best_weights or not hasattr(stopping, "best_epoch"):
        return None
    return stopping.best_epoch + 1


def _variables(model: keras.Sequential):
    """Those of the model and those of its optimizer, which the plain fit would build when it begins."""
    model.optimizer.build(model.trainable_variables)
    return ("model", model.variables), ("optimizer", model.optimizer.variables)

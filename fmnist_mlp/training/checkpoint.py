"""What an interrupted training goes on from, to the last bit."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from fmnist_mlp.files import UNREADABLE_ARRAYS


class BadCheckpoint(Exception):
    """A checkpoint that cannot be used."""


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
    def take(cls, epochs_done: int, model: keras.Sequential, history, clock, stopping=None) -> "Checkpoint":
        """The state at the end of an epoch, once Keras's callbacks have seen it."""
        arrays = {f"model-{i}": variable.numpy() for i, variable in enumerate(model.variables)}
        arrays |= {f"optimizer-{i}": variable.numpy() for i, variable in enumerate(model.optimizer.variables)}
        counters = None
        if stopping is not None:
            counters = {name: getattr(stopping, name) for name in _EARLY_STOPPING_COUNTERS}
            arrays |= {f"best-{i}": weight for i, weight in enumerate(stopping.best_weights or ())}
        return cls(epochs_done, arrays, history.history, counters, model.stop_training, clock.epoch_seconds)

    def write(self, folder: Path) -> None:
        """Write into an empty folder; putting it in place whole is the caller's business."""
        np.savez(folder / "arrays.npz", **self.arrays)
        rest = {name: value for name, value in vars(self).items() if name != "arrays"}
        (folder / "state.json").write_text(json.dumps(rest), encoding="utf-8")

    @classmethod
    def read(cls, contents: Mapping[str, bytes]) -> "Checkpoint":
        """The checkpoint in the files of a folder, by name; nothing is unpickled.

        Raises:
            BadCheckpoint: it is not a whole one.
        """
        try:
            state = json.loads(contents["state.json"])
            with np.load(io.BytesIO(contents["arrays.npz"]), allow_pickle=False) as arrays:
                return cls(arrays=dict(arrays), **state)
        except UNREADABLE_ARRAYS as error:
            raise BadCheckpoint(f"is not whole: {error}") from error

    def fits(self, model: keras.Sequential) -> bool:
        """Whether it was taken of such a model: the same variables of the same shapes."""
        model.optimizer.build(model.trainable_variables)
        expected = {f"model-{i}": tuple(v.shape) for i, v in enumerate(model.variables)}
        expected |= {f"optimizer-{i}": tuple(v.shape) for i, v in enumerate(model.optimizer.variables)}
        return expected.items() <= {name: array.shape for name, array in self.arrays.items()}.items()

    def restore(self, model: keras.Sequential, history: keras.callbacks.History) -> None:
        """Set model, optimizer and history to where they stood."""
        model.optimizer.build(model.trainable_variables)  # the plain fit would build it when it begins
        for kind, variables in (("model", model.variables), ("optimizer", model.optimizer.variables)):
            for i, variable in enumerate(variables):
                variable.assign(self.arrays[f"{kind}-{i}"])
        history.history = {name: list(values) for name, values in self.history.items()}


def first_epoch(resume: Checkpoint | None, settings) -> int:
    if resume is None:
        return 0
    return settings.epochs if resume.is_stopped else resume.epochs_done


_EARLY_STOPPING_COUNTERS = ("wait", "stopped_epoch", "best", "best_epoch")

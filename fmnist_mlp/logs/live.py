"""The curves of a trial while it trains: written by epochs, kept with its record, made anew where they were lost."""

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fmnist_mlp.errors import SweepError, writing
from fmnist_mlp.logs.events import (
    CURVE_RUNS,
    CURVES,
    EVENTS,
    curve_tag,
    epochs_in,
    file_name,
    file_version,
    histogram_value,
    is_whole,
    scalar_value,
    serialized,
    write_run,
)


class LiveLog(contextlib.AbstractContextManager):
    """Event files that grow while a trial trains: the runs `train` and `validation`, tags and steps as Keras has them.

    Knows neither Keras nor TensorFlow. Curves can be watched as they are added: nothing waits in a buffer.

    Args:
        folder: `Results.live_folder`; what an earlier process left there goes.
        checkpoint: a folder that `keep_events` wrote into; its curves end where the checkpoint does and are put back.

    Raises:
        SweepError: the folder cannot be written; so do the methods.
    """

    def __init__(self, folder: Path, checkpoint: Path | None = None):
        self._folder, self._files = folder, {}
        with writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            if checkpoint is not None and (checkpoint / "events").is_dir():
                shutil.copytree(checkpoint / "events", folder, dirs_exist_ok=True)

    def add(self, epoch: int, figures: Mapping[str, float], histograms: Mapping[str, np.ndarray] | None = None) -> None:
        """Add what is known at the end of an epoch.

        Args:
            epoch: from 0, as Keras counts.
            figures: `loss`, `val_loss`, ... by the names of Keras's history; both become `epoch_loss`, each of its run.
            histograms: numbers of any shape by tag, for the run `train`.
        """
        values = {run: [] for run in CURVE_RUNS}
        for name, value in figures.items():
            run = "validation" if name.startswith("val_") else "train"
            values[run].append(scalar_value(curve_tag(name), float(value)))
        values["train"] += [histogram_value(tag, numbers) for tag, numbers in (histograms or {}).items()]
        with writing(self._folder):
            for run, of_run in values.items():
                if of_run:
                    file = self._files.get(run) or self._open(run)
                    file.write(serialized(epoch, of_run))
                    file.flush()

    def close(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # `add` has said it; what is cut off, `keep_events` refuses
                file.close()

    def __exit__(self, *error) -> None:
        self.close()

    def _open(self, run: str):
        """A new file, after those of the checkpoint: TensorBoard reads a folder's files in the order of their names."""
        (self._folder / run).mkdir(parents=True, exist_ok=True)
        self._files[run] = (self._folder / run / file_name("v2")).open("xb")
        self._files[run].write(file_version())
        return self._files[run]


def keep_events(folder: Path, draft: Path, must_be_whole: bool = True) -> None:
    """Copy a trial's event files into the draft of its record or of a checkpoint.

    Raises:
        SweepError: a file is cut off. TensorFlow's writer says nothing when the disk is full.
    """
    for source in folder.rglob(EVENTS):
        if must_be_whole and not is_whole(source):
            raise SweepError(f"{source} is cut off (is the disk full?): free space there and run again")
        target = draft / "events" / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def restore_curves(draft: Path, history: Mapping[str, Sequence[float]]) -> bool:
    """Write the curves of a trial anew where somebody deleted them while it trained.

    Args:
        draft: of the record, after `keep_events`.
        history: what Keras's `History` holds; it has all but histograms.

    Returns:
        Whether that was necessary.
    """
    was_necessary = False
    for run, prefix in CURVE_RUNS.items():
        curves = {m: history[prefix + m] for m in (*CURVES, "learning_rate") if prefix + m in history}
        epochs = max(map(len, curves.values()), default=0)
        folder = draft / "events" / run
        if epochs_in(folder) >= {*range(epochs)}:
            continue
        was_necessary = True
        shutil.rmtree(folder, ignore_errors=True)
        steps = ((i, [scalar_value(curve_tag(m), float(c[i])) for m, c in curves.items()]) for i in range(epochs))
        write_run(folder, "v2", steps)
    return was_necessary

"""What goes on between the epochs of a trial: progress to the parent, curves, checkpoints, an end when asked for.

A candidate of a search has curves and checkpoints as a whole trial has, so that a whole one can go on from them.
"""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_mlp.engines.calls import Stopped
from fmnist_mlp.files import DamagedFile
from fmnist_mlp.logs.live import LiveLog, keep_events
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.training.trainer import BadCheckpoint


class TrialObserver(contextlib.AbstractContextManager):
    """The `trainer.Observer` of one trial.

    Args:
        context: `calls.Context`.
        trial: the one that trains.
        results: where its checkpoints and its live curves lie.
        environment: `worker.Worker.environment`.
        checkpoint_seconds: a checkpoint is due at the end of an epoch when so long has passed since the last; and
            where a candidate stops before its last epoch.
        wants_histograms: whether the curves have histograms beside them.
    """

    def __init__(
        self,
        context,
        trial: Trial,
        results: Results,
        environment: Mapping[str, str],
        checkpoint_seconds: float,
        wants_histograms: bool,
    ):
        self.wants_histograms = wants_histograms
        self._context, self._trial, self._results = context, trial, results
        self._checkpoint_seconds = checkpoint_seconds
        # A checkpoint goes on only where it was made: other libraries or another device would mix two trainings.
        self._origin = {name: environment[name] for name in ("tensorflow", "keras", "device")}
        self._origin = {"fingerprint": trial.fingerprint} | self._origin
        self._live_folder = results.live_folder(trial.fingerprint)
        self._log: LiveLog | None = None
        self._saved = time.monotonic()

    def __exit__(self, *error) -> None:
        if self._log is not None:
            self._log.close()

    def load_checkpoint(self, read: Callable[[Mapping[str, bytes]], Any]) -> Any:
        """What `read` makes of an interrupted run of this trial; None where there is none, or none that can be used.

        The curves begin: with those of the checkpoint, or empty.
        """
        folder = self._results.checkpoint_folder(self._trial.fingerprint)
        checkpoint = self._read_checkpoint(folder, read) if folder.is_dir() else None
        self._log = LiveLog(self._live_folder, folder if checkpoint is not None else None)
        return checkpoint

    def _read_checkpoint(self, folder: Path, read: Callable[[Mapping[str, bytes]], Any]) -> Any:
        """Without it the trial starts again, which costs time and changes nothing; whoever waits for it is told."""
        try:
            contents = self._results.read_checkpoint(self._trial.fingerprint)
            made_by = json.loads(contents["made-by.json"])
            others = [f"{name} {made_by.get(name)}" for name in self._origin if made_by.get(name) != self._origin[name]]
            if others:
                raise BadCheckpoint(f"was made with {', '.join(others)}")
            return read(contents)
        except DamagedFile as error:
            reason = str(error)
        except (BadCheckpoint, ValueError, LookupError, AttributeError) as error:
            reason = f"{folder}: cannot be used ({error})"
        self._context.report({"notice": f"{reason}; {self._trial.in_words} starts again without this checkpoint"})
        return None

    def on_epoch(
        self,
        epochs_done: int,
        figures: Mapping[str, float],
        histograms: Mapping[str, np.ndarray],
        write_checkpoint: Callable[[Path], None],
    ) -> None:
        """Log, report, keep a checkpoint when one is due, stop when asked to."""
        self._log.add(epochs_done - 1, figures, histograms)
        self._context.report({"epoch": epochs_done, "epochs": self._trial.epochs, **figures})
        is_asked_to_stop = self._context.stop_requested
        if epochs_done < self._trial.epochs:
            is_due = time.monotonic() - self._saved >= self._checkpoint_seconds
        else:
            is_due = epochs_done < self._trial.architecture.training.epochs
        if is_asked_to_stop or is_due:
            # One that cannot be taken makes an interruption cost more, nothing else.
            with contextlib.suppress(BadCheckpoint), self._results.checkpoint_draft(self._trial.fingerprint) as draft:
                write_checkpoint(draft)
                keep_events(self._live_folder, draft)
                (draft / "made-by.json").write_text(json.dumps(self._origin), encoding="utf-8")
            self._saved = time.monotonic()
        if is_asked_to_stop:
            raise Stopped

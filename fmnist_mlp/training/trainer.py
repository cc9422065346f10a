"""Whatever trains: one interface for networks, for classifiers, and for what may come beside them.

The recipe of a trial (`trial`) decides which images train, scores what came of it and writes the record. A `Trainer`
does what is between: it takes trials of one architecture and yields a `Trained` for each. It hides the library that
computes and what it keeps from one trial to the next (compiled programs, images on a device); what it keeps never
changes a number. `networks` and `baseline` train one trial after the other; one that trains many as one program
takes them by the same call.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fmnist_mlp.data.source import Dataset
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.sweep import Architecture, Baseline
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.training.preprocess import Preprocessing


class TrainingDiverged(ArithmeticError):
    """The loss became infinite or NaN; the message says in which epoch."""


class BadCheckpoint(Exception):
    """A checkpoint that cannot be used, or taken; the message goes on from the name of its folder."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a trained model says of `n` images.

    Args:
        classes: the most probable ones, integers `(n,)`.
        probabilities: `(n, num_classes)`; None of a classifier that gives none.
        logits: what the loss is computed from, at full precision; None without probabilities.
    """

    classes: np.ndarray
    probabilities: np.ndarray | None
    logits: np.ndarray | None


class Observer(Protocol):
    """Who looks on while a trial trains; a trainer without epochs has nothing to show it.

    Attributes:
        wants_histograms: whether `on_epoch` is to get any.
    """

    wants_histograms: bool

    def load_checkpoint(self, read: Callable[[Mapping[str, bytes]], Any]) -> Any:
        """Once, before the first epoch: what the trial goes on from, None where it starts from the beginning.

        Args:
            read: makes a checkpoint of the files that `write_checkpoint` wrote; raises `BadCheckpoint` where it cannot.
        """

    def on_epoch(
        self,
        epochs_done: int,
        figures: Mapping[str, float],
        histograms: Mapping[str, np.ndarray],
        write_checkpoint: Callable[[Path], None],
    ) -> None:
        """At the end of each epoch.

        Args:
            figures: `loss`, `accuracy`, `learning_rate`, `val_loss`, ... of the epoch.
            histograms: numbers of any shape by tag.
            write_checkpoint: writes what the training goes on from into an empty folder, or raises `BadCheckpoint`.

        Raises:
            Stopped: the trial is to end here.
        """


@dataclass(frozen=True, eq=False)
class Assignment:
    """One trial to train.

    Args:
        trial: with its architecture and seed.
        train_indices: which of the training images it trains on.
        validation_indices: which of them validate; none for a refit.
        preprocessing: fitted on the former; None where pixels are only scaled to 0-1.
        observer: sees its epochs.
    """

    trial: Trial
    train_indices: np.ndarray
    validation_indices: np.ndarray
    preprocessing: Preprocessing | None
    observer: Observer


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """What came of a trial.

    Args:
        predict: uint8 images `(n, height, width)` to `Predictions`; None of a candidate, which is not scored.
        size: parameters and FLOPs; None where there is nothing to count.
        seconds: that training took.
        exported: the Keras model that is given away; None where no model is kept, of a classifier or candidate, say.
        save: writes that model into a file.
        size_in_words: where parameters do not say it: `200 trees, 1,234,567 nodes`.
        history: a list of numbers, one an epoch, for each name; empty without epochs.
        epoch_seconds: of each epoch, validation included; the first holds the compilation.
        is_whole: whether its training has ended, with its last epoch or by its own early stopping; only a candidate's
            (`Trial.until`) may end before.
        weights: which weights are scored: those of the last epoch or of the best one.
        notes: what its record should say of it, a line each.
        environment: what its record says of its surroundings beside what is said of every trial.
    """

    predict: Callable[[np.ndarray], Predictions] | None
    size: StackSize
    seconds: float
    exported: Any = None
    save: Callable[[Path], None] | None = None
    size_in_words: str = ""
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    epoch_seconds: Sequence[float] = ()
    is_whole: bool = True
    weights: str = ""
    notes: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Trainer(Protocol):
    """Trains, and keeps what makes the next trial quick.

    Attributes:
        has_epochs: whether training has epochs, at whose ends it may stop and go on later.
    """

    has_epochs: bool

    def planned_size(self, architecture: Architecture | Baseline, images: Dataset) -> StackSize:
        """What is known before training; of a trial that fails it is all."""

    def train(self, images: Dataset, assignments: Sequence[Assignment]) -> Iterator[Trained]:
        """Train trials of one architecture, a candidate as far as its `until` says.

        Yields:
            What came of each, in their order. It holds until the next is asked for: they may share one model.

        Raises:
            TrainingDiverged: the loss of one became NaN or infinite.
            ValueError: the images do not fit what is asked for; others as the library has them.
        """

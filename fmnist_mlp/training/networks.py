"""Trains networks with Keras: the `trainer.Trainer` of architectures.

It keeps the programs compiled for the last architectures, so that further seeds and learning rates of them cost no
compilation, and the training images where the model computes. What it keeps never changes a number.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from fmnist_mlp.data.source import Dataset
from fmnist_mlp.sweepfile import stacks
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.steps import Step, count
from fmnist_mlp.sweepfile.sweep import Architecture
from fmnist_mlp.sweepfile.trials import program_of
from fmnist_mlp.training import models
from fmnist_mlp.training.checkpoint import Checkpoint
from fmnist_mlp.training.compiled_epoch import ResidentData
from fmnist_mlp.training.fit import Learner
from fmnist_mlp.training.gradients import histograms_of
from fmnist_mlp.training.program_cache import ProgramCache
from fmnist_mlp.training.trainer import Assignment, Predictions, Trained

_PREDICTION_BATCH_SIZE = 1000
# A change of the sweep file comes back to stacks that were trained before, and a search to half of a round, where two
# workers share it; some 30 MB each.
_PROGRAMS_KEPT = 10

_NO_PROGRAMS = (
    "Keras {} takes no compiled epoch (Model.train_function): trained by Keras's own loop, which is slower and differs "
    "in last digits"
)


class NetworkTrainer:
    """One network after the other.

    Args:
        programs: keeps what is compiled for other processes; None where nothing is kept.
    """

    has_epochs = True

    def __init__(self, programs: ProgramCache | None = None):
        self._programs = programs
        self._resident_key = self._resident = None
        self._models: dict[tuple, _Models] = {}  # the last used is the last

    def planned_size(self, architecture: Architecture, images: Dataset) -> StackSize:
        return _size(architecture, architecture.training.preprocess, images)

    def train(self, images: Dataset, assignments: Sequence[Assignment]) -> Iterator[Trained]:
        for assignment in assignments:
            yield self._train(images, assignment)

    def _train(self, images: Dataset, assignment: Assignment) -> Trained:
        trial, preprocessing, observer = assignment.trial, assignment.preprocessing, assignment.observer
        settings = trial.architecture.training
        kept = self._models_for(images, assignment)
        learner = kept.learner
        resident = self._resident_images(images, settings, preprocessing)
        checkpoint = observer.load_checkpoint(lambda contents: Checkpoint.read(contents, learner.model))
        histograms = dict  # none
        if observer.wants_histograms:
            histograms = histograms_of(learner.model, resident, assignment.train_indices, settings)
        is_compiled = self._programs is None or learner.programs is not None
        with contextlib.nullcontext() if is_compiled else self._programs.holding(program_of(trial)):
            course = learner.train(
                resident,
                seed=trial.seed,
                train_indices=assignment.train_indices,
                validation_indices=assignment.validation_indices,
                until=trial.until,
                resume=checkpoint,
                at_epoch_end=lambda done, figures, write: observer.on_epoch(done, figures, histograms(), write),
            )
        lacks_programs = learner.plain_fit and trial.settings["loop"] != "plain"
        steps = (
            settings.preprocess if preprocessing is None else preprocessing.with_true_components(settings.preprocess)
        )
        return Trained(
            predict=None if trial.is_candidate else functools.partial(_predict, kept.scoring),
            size=_size(trial.architecture, steps, images),
            seconds=sum(course.epoch_seconds),
            exported=None if trial.is_candidate else kept.exported,
            save=None if trial.is_candidate else functools.partial(models.save, kept.saved),
            history=course.history,
            epoch_seconds=course.epoch_seconds,
            is_whole=course.is_whole,
            weights=_which_weights(course.best_epoch, settings.early_stopping),
            notes=(_NO_PROGRAMS.format(keras.__version__),) if lacks_programs else (),
        )

    def _resident_images(self, images: Dataset, settings, preprocessing) -> ResidentData:
        """The training images as a trial's loop wants them, transformed unless each epoch changes their pixels."""
        key = (images, preprocessing, settings.augment is not None)
        if key != self._resident_key:
            self._resident_key = self._resident = None  # first let go of the old ones
            is_transformed = preprocessing is not None and settings.augment is None
            x = preprocessing.transform(images.x_train) if is_transformed else images.x_train
            still_to_do = None if is_transformed else preprocessing
            self._resident = ResidentData(x, images.y_train, images.num_classes, still_to_do)
            self._resident_key = key
        return self._resident

    def _models_for(self, images: Dataset, assignment: Assignment) -> "_Models":
        """The model to train, at the start of this trial's seed, and unless it is a candidate those that score it."""
        trial, preprocessing = assignment.trial, assignment.preprocessing
        architecture, train_images = trial.architecture, len(assignment.train_indices)
        shape, num_classes = images.image_shape, images.num_classes
        fresh = models.build_model(architecture.layers, shape, num_classes, trial.seed, preprocessing)
        key = program_of(trial), train_images, fresh.input_shape
        if key in self._models:
            kept = self._models[key] = self._models.pop(key)
            kept.learner.restart(fresh, architecture.training)
        else:
            # Python frees an old model by itself; keras.utils.clear_session would take 0.2 s, and memory is watched.
            while len(self._models) >= _PROGRAMS_KEPT:
                del self._models[next(iter(self._models))]
            learner = Learner(
                fresh,
                architecture.training,
                train_images,
                plain_fit=trial.settings["loop"] == "plain",
                jit_compile=not stacks.is_convolutional(architecture.layers),
            )
            kept = self._models[key] = _Models(learner)
        if not trial.is_candidate:
            kept.prepare_scoring(preprocessing)
        return kept


class _Models:
    """The model to train and, once a trial is to be scored, those that export and score it, of the same layers."""

    def __init__(self, learner: Learner):
        self.learner = learner
        self.exported: keras.Sequential | None = None
        self.saved: keras.Sequential | None = None
        self.scoring: keras.Model | None = None
        self._preprocessing = None

    def prepare_scoring(self, preprocessing) -> None:
        """The fixed layers are constants to a compiled `predict`: another seed's need a model of their own."""
        if self.exported is None or preprocessing is not self._preprocessing:
            self.exported = models.exported_model(self.learner.model, preprocessing)
            self.saved = models.as_saved(self.exported)
            self.scoring = models.scoring_model(self.exported)
            self._preprocessing = preprocessing


def _predict(scoring: keras.Model, images) -> Predictions:
    # The same program and batches as `scoring.predict`, without the 0.1 s that it takes to lay out each call.
    batches = range(0, len(images), _PREDICTION_BATCH_SIZE)
    outputs = [scoring.predict_on_batch(images[start : start + _PREDICTION_BATCH_SIZE]) for start in batches]
    logits, probabilities = map(np.concatenate, zip(*outputs, strict=True))
    return Predictions(probabilities.argmax(axis=1), probabilities, logits)


def _size(architecture: Architecture, steps: Sequence[Step], images: Dataset) -> StackSize:
    return count(steps, architecture.layers, images.image_shape, images.num_classes)


def _which_weights(best_epoch: int | None, early_stopping) -> str:
    """Which weights are scored: the last epoch's, or those that early stopping restored."""
    if early_stopping is None or not early_stopping.restore_best_weights:
        return "last epoch"
    return f"best {early_stopping.monitor}" + ("" if best_epoch is None else f": epoch {best_epoch}")

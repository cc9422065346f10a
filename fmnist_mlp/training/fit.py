"""Train one model: optimizer and loss from the settings, then Keras's `fit`, by epochs or by batches.

A `Learner` is a model with Keras's optimizer, loss and metrics as the settings have them, and what was compiled for it.
It runs the epochs as one compiled program each (`compiled_epoch`) or by Keras's own loop; both see the same images in
the same order, call the same callbacks and give the same `Course`. What is trained on which images, and what becomes of
it, is left to others.
"""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from fmnist_mlp.data.split import epoch_order
from fmnist_mlp.training import compiled_epoch
from fmnist_mlp.training.checkpoint import Checkpoint, best_epoch
from fmnist_mlp.training.compiled_epoch import (
    VALIDATION_BATCH_SIZE,
    CompiledEpoch,
    Minibatches,
    ResidentData,
    has_target_rows,
)
from fmnist_mlp.training.trainer import TrainingDiverged

# Steps between two returns to Python where Keras's own loop is the quicker one; the same bits, a third less time for a
# small convolutional stack (docs/speed.md).
_STEPS_PER_EXECUTION = 32


@dataclass(frozen=True)
class Course:
    """How a training went.

    Args:
        history: what Keras's `History` holds, of all epochs: `loss`, `accuracy`, `learning_rate`, with validation
            `val_loss` and `val_accuracy`.
        epoch_seconds: of each epoch, validation included; the first holds the compilation.
        best_epoch: from 1, whose weights early stopping restored; None where the weights are the last epoch's.
        is_whole: whether no epoch is left: all were trained, or early stopping has ended the training.
    """

    history: dict[str, list[float]]
    epoch_seconds: list[float]
    best_epoch: int | None
    is_whole: bool


class Learner:
    """A model ready to be trained, again and again: its programs belong to its variables, not to their values.

    Args:
        model: ends in logits.
        settings: `settings.Training`.
        train_images: images an epoch; schedules count steps.
        plain_fit: whether Keras's own loop trains.
        jit_compile: whether that loop compiles its step with XLA. Yes for dense stacks, so that dropout draws the
            same numbers as in the compiled epoch (without XLA the generator is another one); no for convolutions,
            which oneDNN computes faster. Without it Keras takes several steps before it returns to Python.
    """

    def __init__(
        self, model: keras.Sequential, settings, train_images: int, *, plain_fit: bool = False, jit_compile: bool = True
    ):
        self.model, self.settings = model, settings
        self.plain_fit = plain_fit or not compiled_epoch.fit_takes_programs(model)
        self.programs: CompiledEpoch | None = None
        losses, metrics = keras.losses, keras.metrics
        if has_target_rows(settings):
            # Smoothing and mixup are in the targets (compiled_epoch.Minibatches), of training images only. With mixup
            # the training accuracy asks for the class that has the larger part of a mixed image.
            loss, accuracy = losses.CategoricalCrossentropy, metrics.CategoricalAccuracy
        else:
            loss, accuracy = losses.SparseCategoricalCrossentropy, metrics.SparseCategoricalAccuracy
        model.compile(
            _optimizer(settings, train_images),
            loss=loss(from_logits=True),
            metrics=[accuracy("accuracy")],
            steps_per_execution=1 if jit_compile else _STEPS_PER_EXECUTION,
            jit_compile=jit_compile,
        )
        model.optimizer.build(model.trainable_variables)
        # Each starts at one number everywhere; nadam's are not all zero.
        self._optimizer_start = [variable.numpy().flat[0] for variable in model.optimizer.variables]

    def train(
        self,
        data: ResidentData,
        *,
        seed: int,
        train_indices: np.ndarray,
        validation_indices: np.ndarray,
        until: int | None = None,
        resume: Checkpoint | None = None,
        at_epoch_end: Callable | None = None,
    ) -> Course:
        """Train the model, which changes in place.

        Args:
            data: the images, and whatever is done to each minibatch of them.
            seed: decides the order of the images in each epoch, and their augmentation.
            train_indices: images to train on.
            validation_indices: images to validate on after each epoch; none is no validation.
            until: how many epochs, where not all; schedules go by all of them.
            resume: go on after this checkpoint, to the same bits as without the interruption. One that has so many
                epochs behind it is all there is: none is trained.
            at_epoch_end: called after all callbacks as `at_epoch_end(epochs_done, logs, write_checkpoint)`, where
                `write_checkpoint(folder)` writes the `Checkpoint` of that moment. What it raises ends the training.

        Raises:
            TrainingDiverged: the loss became NaN or infinite.
        """
        model, settings, epochs = self.model, self.settings, _Epochs(train_indices, seed)
        what_to_fit = self._what_to_fit(data, epochs, validation_indices)
        history, clock, stopping = keras.callbacks.History(), _Clock(), _early_stopping(settings)
        callbacks = [epochs, _LogLearningRate(), _StopWhenDiverged(), *stopping, history, clock]
        if resume is not None:
            resume.restore(model, history)
            callbacks.append(_RestoreCallbacks(resume, clock, *stopping))
        if at_epoch_end is not None:
            take = functools.partial(Checkpoint.take, model, history, clock, *stopping)
            callbacks.append(_AtEpochEnd(at_epoch_end, take))
        model.fit(
            **what_to_fit,
            epochs=settings.epochs if until is None else min(settings.epochs, until),
            initial_epoch=0 if resume is None else resume.first_epoch(settings.epochs),
            shuffle=False,  # the order is ours
            verbose=0,
            callbacks=callbacks,
        )
        _check_finite(history)
        is_ended = model.stop_training or (resume is not None and resume.is_stopped)  # by early stopping
        is_whole = is_ended or len(history.history["loss"]) >= settings.epochs
        return Course(history.history, clock.epoch_seconds, best_epoch(*stopping), is_whole)

    def _what_to_fit(self, data: ResidentData, epochs: "_Epochs", validation_indices: np.ndarray) -> dict:
        """What `fit` iterates over: minibatches, or a beat an epoch for the programs."""
        if not self.plain_fit:
            self.programs = self.programs or CompiledEpoch(self.model, data, self.settings)
            return self.programs.drive(self.model, data, epochs, validation_indices)
        what_to_fit = {"x": _batches(epochs, len(epochs.indices), data, self.settings)}
        if len(validation_indices):
            validation = _batches(validation_indices, len(validation_indices), data, self.settings)
            what_to_fit["validation_data"] = validation
        return what_to_fit

    def restart(self, fresh: keras.Sequential, settings) -> None:
        """Back to the start of another trial: weights and seed generators of `fresh`, optimizer at zero.

        This is what makes seeds and learning rates cheap.

        Args:
            settings: as those before in all that the program is compiled for (`trials.program_of`).
        """
        model, optimizer, self.settings = self.model, self.model.optimizer, settings
        for variable, start in zip(model.variables, fresh.variables, strict=True):
            variable.assign(start.value)
        for variable, start in zip(optimizer.variables, self._optimizer_start, strict=True):
            variable.assign(np.full(variable.shape, start))
        if settings.schedule == "constant" and not settings.warmup_epochs:  # a variable, not computed from the step
            optimizer.learning_rate = settings.learning_rate
        model.stop_training = False


class _RestoreCallbacks(keras.callbacks.Callback):
    """EarlyStopping and the clock forget everything when `fit` begins; this comes after them and reminds them."""

    def __init__(self, checkpoint: Checkpoint, clock, stopping=None):
        super().__init__()
        self.checkpoint, self.clock, self.stopping = checkpoint, clock, stopping

    def on_train_begin(self, logs=None):
        self.clock.epoch_seconds = list(self.checkpoint.epoch_seconds)
        if self.stopping is not None:
            self.checkpoint.restore_early_stopping(self.stopping)


# ---- optimizer ----------------------------------------------------------------------------------------------------


def _optimizer(settings, train_images: int) -> keras.optimizers.Optimizer:
    steps_per_epoch = math.ceil(train_images / settings.batch_size)
    # Named, or Keras numbers it, and the same stack is another program to XLA's cache.
    arguments = {"name": settings.optimizer, "global_clipnorm": settings.gradient_clip}
    arguments["learning_rate"] = _learning_rate(settings, steps_per_epoch)
    if settings.weight_decay is not None:
        arguments["weight_decay"] = settings.weight_decay
    if settings.optimizer == "sgd":
        arguments["momentum"] = settings.momentum
    classes = {
        "sgd": keras.optimizers.SGD,
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop,
        "nadam": keras.optimizers.Nadam,
        "lion": keras.optimizers.Lion,
    }
    return classes[settings.optimizer](**arguments)


def _learning_rate(settings, steps_per_epoch: int):
    """A number or one of Keras's own schedules, so that a saved optimizer loads without our code."""
    peak, schedules = settings.learning_rate, keras.optimizers.schedules
    total = settings.epochs * steps_per_epoch
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    if settings.schedule == "constant":
        return schedules.PolynomialDecay(0.0, warmup, end_learning_rate=peak) if warmup else peak
    if settings.schedule == "cosine":
        if not warmup:
            return schedules.CosineDecay(peak, total)
        return schedules.CosineDecay(0.0, total - warmup, warmup_target=peak, warmup_steps=warmup)
    # one_cycle (Smith & Topin 2018, arXiv:1708.07120) with the constants of PyTorch's OneCycleLR: from a 25th of the
    # peak up over 30 % of the steps, then by a cosine down to a 250,000th. The momentum is left alone.
    warmup = max(1, round(0.3 * total))
    return schedules.CosineDecay(
        peak / 25, max(1, total - warmup), alpha=1 / 250_000, warmup_target=peak, warmup_steps=warmup
    )


# ---- callbacks of our own -----------------------------------------------------------------------------------------


def _early_stopping(settings) -> list[keras.callbacks.EarlyStopping]:
    """None or one."""
    if settings.early_stopping is None:
        return []
    return [keras.callbacks.EarlyStopping(**settings.early_stopping.model_dump())]


class _LogLearningRate(keras.callbacks.Callback):
    """Puts the learning rate that an epoch ended with into its logs, so that history and TensorBoard have it."""

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


class _StopWhenDiverged(keras.callbacks.Callback):
    """Keras's TerminateOnNaN prints what is about to become an error anyway."""

    def on_epoch_end(self, epoch, logs=None):
        if not all(math.isfinite(logs[name]) for name in ("loss", "val_loss") if name in logs):
            self.model.stop_training = True


class _Clock(keras.callbacks.Callback):
    """Seconds of each epoch, validation included; the first epoch holds the compilation."""

    def on_train_begin(self, logs=None):
        self.epoch_seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.epoch_seconds.append(time.perf_counter() - self._start)


class _AtEpochEnd(keras.callbacks.Callback):
    """The last callback: hands the finished epoch to whoever trains."""

    def __init__(self, function: Callable, take_checkpoint: Callable[..., Checkpoint]):
        super().__init__()
        self.function, self.take_checkpoint = function, take_checkpoint

    def on_epoch_end(self, epoch, logs=None):
        def write_checkpoint(folder):
            self.take_checkpoint(epochs_done=epoch + 1).write(folder)

        self.function(epoch + 1, logs, write_checkpoint)


def _check_finite(history: keras.callbacks.History) -> None:
    for name in ("loss", "val_loss"):
        for epoch, value in enumerate(history.history.get(name, []), start=1):
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{name} became {value} in epoch {epoch}: "
                    "try a smaller learning_rate, gradient_clip or warmup_epochs"
                )


# ---- the images in order ------------------------------------------------------------------------------------------


class _Epochs(keras.callbacks.Callback):
    """Knows which epoch runs, and so the order of its images and all that is random about them."""

    def __init__(self, indices: np.ndarray, seed: int):
        super().__init__()
        self.indices, self.seed, self.epoch = np.asarray(indices, np.int32), seed, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def order(self) -> np.ndarray:
        return self.indices[epoch_order(len(self.indices), self.seed, self.epoch)]

    def draw(self, minibatches: Minibatches) -> dict[str, np.ndarray]:
        return minibatches.draw(len(self.indices), self.seed, self.epoch)


def _batches(visits, images: int, data: ResidentData, settings) -> tf.data.Dataset:
    """One element a minibatch, for Keras's own loop.

    Args:
        visits: `_Epochs`, which is asked anew in each epoch, or the indices of the validation images.
        images: how many are visited.
    """
    is_training = isinstance(visits, _Epochs)
    minibatches = Minibatches(data, settings, is_training)
    batch_size = settings.batch_size if is_training else VALIDATION_BATCH_SIZE
    draws = minibatches.draw(images, seed=0, epoch=0)  # only their types

    def one_epoch():
        yield (visits.order(), visits.draw(minibatches)) if is_training else (visits, {})

    with tf.device("/CPU:0"):  # the input pipeline runs on the CPU wherever the model is
        tensors = minibatches.tensors(data)
        signature = tf.nest.map_structure(
            lambda choices: tf.TensorSpec(choices.shape, choices.dtype), (np.zeros(images, np.int32), draws)
        )
        return (
            tf.data.Dataset.from_generator(one_epoch, output_signature=signature)
            .flat_map(lambda *choices: tf.data.Dataset.from_tensor_slices(choices).batch(batch_size))
            .map(lambda indices, draws: minibatches.gather(tensors, indices, draws))
            .apply(tf.data.experimental.assert_cardinality(math.ceil(images / batch_size)))
            .prefetch(2)
        )

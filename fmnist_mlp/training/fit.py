"""Train one model: optimizer and loss from the settings, then Keras's `fit`, by epochs or by batches.

`compile_model` turns settings into Keras's optimizer, loss and metrics. `train` runs the epochs, one compiled program
each (`compiled_epoch`) or Keras's own loop; both see the same images in the same order, call the same callbacks and
return the same `History`. What is trained on which images, and what becomes of it, is `trial`'s business.
"""

import math
import time

import keras
import numpy as np
import tensorflow as tf

from fmnist_mlp.data.split import epoch_order
from fmnist_mlp.training import compiled_epoch
from fmnist_mlp.training.checkpoint import Checkpoint, first_epoch
from fmnist_mlp.training.compiled_epoch import (
    VALIDATION_BATCH_SIZE,
    CompiledEpoch,
    Minibatches,
    ResidentData,
    has_target_rows,
)

# Steps between two returns to Python where Keras's own loop is the quicker one; the same bits, a third less time for a
# small convolutional stack (docs/speed.md).
_STEPS_PER_EXECUTION = 32


class TrainingDiverged(ArithmeticError):
    """The loss became infinite or NaN; the message says in which epoch."""


def compile_model(model: keras.Sequential, settings, train_images: int, jit_compile: bool = True) -> None:
    """Give the model the optimizer, loss and accuracy that the settings ask for.

    Args:
        model: ends in logits.
        settings: `settings.Training`.
        train_images: images an epoch; schedules count steps.
        jit_compile: whether the plain fit compiles its step with XLA. Yes for dense stacks, so that dropout draws the
            same numbers as in the compiled epoch (without XLA the generator is another one); no for convolutions,
            which oneDNN computes faster. Without it Keras takes several steps before it returns to Python.
    """
    losses, metrics = keras.losses, keras.metrics
    if has_target_rows(settings):
        # Smoothing and mixup are in the targets (compiled_epoch.Minibatches), of training images only. With mixup the
        # training accuracy asks for the class that has the larger part of a mixed image.
        loss, accuracy = losses.CategoricalCrossentropy(from_logits=True), metrics.CategoricalAccuracy("accuracy")
    else:
        loss, accuracy = (
            losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics.SparseCategoricalAccuracy("accuracy"),
        )
    model.compile(
        _optimizer(settings, train_images),
        loss=loss,
        metrics=[accuracy],
        steps_per_execution=1 if jit_compile else _STEPS_PER_EXECUTION,
        jit_compile=jit_compile,
    )


def train(
    model: keras.Sequential,
    data: ResidentData,
    settings,
    *,
    seed: int,
    train_indices: np.ndarray,
    validation_indices: np.ndarray,
    callbacks=(),
    plain_fit: bool = False,
    resume: "Checkpoint | None" = None,
    at_epoch_end=None,
) -> keras.callbacks.History:
    """Train for `settings.epochs`, visiting the images in the order that is a function of seed and epoch alone.

    Args:
        model: built (`models.build_model`) and compiled (`compile_model`). A model that was trained before may be
            trained again: `restart` first; the compiled program is kept.
        data: all training images; the two index arrays say which are for training and which for validation.
        settings: `settings.Training`.
        seed: decides the order of the images.
        train_indices, validation_indices: integer arrays, disjoint; no validation images, no validation.
        callbacks: Keras callbacks, called by epochs.
        plain_fit: Keras's own loop over minibatches instead of the compiled epoch.
        resume: go on after this checkpoint, to the same bits as without the interruption.
        at_epoch_end: called after all callbacks as `at_epoch_end(epochs_done, logs, take_checkpoint)`, where
            `take_checkpoint()` gives the `Checkpoint` of that moment. What it raises ends the training.

    Returns:
        Keras's `History`: per epoch `loss`, `accuracy`, `learning_rate`, with validation `val_loss`, `val_accuracy`;
        of all epochs,
        those before the checkpoint too. Its `best_epoch` (from 1) says whose weights the model ended with where early
        stopping restored them, None where they are the last epoch's; `epoch_seconds` are measured, validation
        included, and the first holds the compilation.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        SweepError: a callback works by batches and the compiled epoch cannot serve it.
    """
    epochs = _Epochs(train_indices, seed)
    if plain_fit:
        what_to_fit = {"x": _batches(epochs, len(train_indices), data, settings)}
        if len(validation_indices):
            validation = _batches(validation_indices, len(validation_indices), data, settings)
            what_to_fit["validation_data"] = validation
    else:
        compiled_epoch.check_callbacks(callbacks)
        what_to_fit = _programs_of(model, data, settings).drive(model, data, epochs, validation_indices)
    history, clock, stopping = keras.callbacks.History(), _Clock(), _early_stopping(settings)
    callbacks = [epochs, _LogLearningRate(), _StopWhenDiverged(), *stopping, history, *callbacks, clock]

    def take_checkpoint(epochs_done):
        return Checkpoint.take(epochs_done, model, history, clock, *stopping)

    if resume is not None:
        resume.restore(model, history)
        callbacks.append(_RestoreCallbacks(resume, clock, *stopping))
    if at_epoch_end is not None:
        callbacks.append(_AtEpochEnd(at_epoch_end, take_checkpoint))
    model.fit(
        **what_to_fit,
        epochs=settings.epochs,
        initial_epoch=first_epoch(resume, settings),
        shuffle=False,  # the order is ours
        verbose=0,
        callbacks=callbacks,
    )
    _check_finite(history)
    history.best_epoch = stopping[0].best_epoch + 1 if stopping and stopping[0].restore_best_weights else None
    history.epoch_seconds = clock.epoch_seconds
    return history


def restart(model: keras.Sequential, fresh: keras.Sequential) -> None:
    """Set a trained model back to the start of another seed: weights and seed generators of `fresh`, optimizer at zero.

    This is what makes seeds cheap: the compiled program belongs to the model's variables, not to their values.
    """
    for variable, start in zip(model.variables, fresh.variables, strict=True):
        variable.assign(start.value)
    optimizer = model.optimizer
    # A second optimizer of the same configuration holds the values to start from (nadam's are not all zero).
    pristine = type(optimizer).from_config(optimizer.get_config())
    pristine.build(fresh.trainable_variables)
    optimizer.build(model.trainable_variables)
    for variable, start in zip(optimizer.variables, pristine.variables, strict=True):
        variable.assign(start.value)
    model.stop_training = False


class _RestoreCallbacks(keras.callbacks.Callback):
    """EarlyStopping and the clock forget everything when `fit` begins; this comes after them and reminds them."""

    def __init__(self, checkpoint: Checkpoint, clock, stopping=None):
        super().__init__()
        self.checkpoint, self.clock, self.stopping = checkpoint, clock, stopping

    def on_train_begin(self, logs=None):
        self.clock.epoch_seconds = list(self.checkpoint.epoch_seconds)
        if self.stopping is not None:
            vars(self.stopping).update(self.checkpoint.early_stopping)
            weights = [name for name in self.checkpoint.arrays if name.startswith("best-")]
            self.stopping.best_weights = [self.checkpoint.arrays[f"best-{i}"] for i in range(len(weights))] or None


# ---- optimizer ----------------------------------------------------------------------------------------------------


def _optimizer(settings, train_images: int) -> keras.optimizers.Optimizer:
    steps_per_epoch = math.ceil(train_images / settings.batch_size)
    arguments = {"learning_rate": _learning_rate(settings, steps_per_epoch), "global_clipnorm": settings.gradient_clip}
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

    def __init__(self, function, take_checkpoint):
        super().__init__()
        self.function, self.take_checkpoint = function, take_checkpoint

    def on_epoch_end(self, epoch, logs=None):
        self.function(epoch + 1, logs, lambda: self.take_checkpoint(epoch + 1))


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


def _programs_of(model: keras.Sequential, data: ResidentData, settings) -> CompiledEpoch:
    """Those that an earlier seed of this architecture left on the model, or new ones."""
    programs = getattr(model, "compiled_epoch", None)
    if programs is None:
        programs = CompiledEpoch(model, data, settings)
        model.compiled_epoch = programs
    return programs


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

"""Train one model: optimizer and loss from the settings, then Keras's `fit`, by epochs or by batches.

`compile_model` turns settings into Keras's optimizer, loss and metrics. `train` runs the epochs, one compiled program each
(`compiled_epoch`) or Keras's own loop; both see the same images in the same order, call the same callbacks and
return the same `History`. What is trained on which images, and what becomes of it, is `trial`'s business.
"""

import math
import time

import keras
import numpy as np
import tensorflow as tf

from fmnist_mlp import compiled_epoch
from fmnist_mlp.compiled_epoch import VALIDATION_BATCH_SIZE, ResidentData, target_rows
from fmnist_mlp.data import epoch_order


class TrainingDiverged(ArithmeticError):
    """The loss became infinite or NaN; the message says in which epoch."""


def compile_model(model: keras.Sequential, settings, train_images: int, jit_compile: bool = True) -> None:
    """Give the model the optimizer, loss and accuracy that the settings ask for.

    Args:
        model: ends in logits.
        settings: `config.Training`.
        train_images: images an epoch; schedules count steps.
        jit_compile: whether the plain fit compiles its step with XLA. Yes for dense stacks, so that dropout draws the
            same numbers as in the compiled epoch (without XLA the generator is another one); no for convolutions,
            which oneDNN computes faster.
    """
    losses, metrics = keras.losses, keras.metrics
    if settings.label_smoothing:
        # Smoothing is in the targets (compiled_epoch.ResidentData), of training images only.
        loss, accuracy = losses.CategoricalCrossentropy(from_logits=True), metrics.CategoricalAccuracy("accuracy")
    else:
        loss, accuracy = (
            losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics.SparseCategoricalAccuracy("accuracy"),
        )
    model.compile(_optimizer(settings, train_images), loss=loss, metrics=[accuracy], jit_compile=jit_compile)


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
) -> keras.callbacks.History:
    """Train for `settings.epochs`, visiting the images in the order that is a function of seed and epoch alone.

    Args:
        model: built (`models.build_model`) and compiled (`compile_model`). A model that was trained before may be
            trained again: `restart` first; the compiled program is kept.
        data: all training images; the two index arrays say which are for training and which for validation.
        settings: `config.Training`.
        seed: decides the order of the images.
        train_indices, validation_indices: integer arrays, disjoint.
        callbacks: Keras callbacks, called by epochs.
        plain_fit: Keras's own loop over minibatches instead of the compiled epoch.

    Returns:
        Keras's `History`: per epoch `loss`, `accuracy`, `val_loss`, `val_accuracy`, `learning_rate`.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        SweepError: a callback works by batches and the compiled epoch cannot serve it.
    """
    if not plain_fit:
        compiled_epoch.check_callbacks(callbacks)
        if getattr(model, "_resident_data", None) is not data:
            compiled_epoch.install(model, data, settings.batch_size, settings.label_smoothing)
            model._resident_data = data  # so that the next seed of this architecture finds the program compiled

    epochs = _Epochs(train_indices, seed)
    training_set, validation_set = _whole_epochs(epochs), _whole_epochs(_Once(validation_indices))
    if plain_fit:
        training_set = _minibatches(training_set, data, settings, training=True)
        validation_set = _minibatches(validation_set, data, settings, training=False)
    callbacks = [epochs, *_settings_callbacks(settings), *callbacks]
    history = model.fit(
        training_set,
        validation_data=validation_set,
        epochs=settings.epochs,
        shuffle=False,  # the order is ours
        verbose=0,
        callbacks=list(callbacks),
    )
    _check_finite(history)
    history.callbacks = callbacks  # early stopping knows which epoch's weights the model ended with
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


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch, validation included; the first epoch holds the compilation."""

    def on_train_begin(self, logs=None):
        self.epoch_seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.epoch_seconds.append(time.perf_counter() - self._start)


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
    # one_cycle (Smith & Topin 2018, arXiv:1708.07120) with the constants of PyTorch's OneCycleLR: from a 25th of the peak
    # up over 30 % of the steps, then by a cosine down to a 250,000th. The momentum is left alone.
    warmup = warmup or max(1, round(0.3 * total))
    return schedules.CosineDecay(
        peak / 25, max(1, total - warmup), alpha=1 / 250_000, warmup_target=peak, warmup_steps=warmup
    )


# ---- callbacks that the settings ask for --------------------------------------------------------------------------


def _settings_callbacks(settings) -> list[keras.callbacks.Callback]:
    callbacks = [_LogLearningRate(), keras.callbacks.TerminateOnNaN()]
    if settings.early_stopping is not None:
        callbacks.append(keras.callbacks.EarlyStopping(**settings.early_stopping.model_dump()))
    return callbacks


class _LogLearningRate(keras.callbacks.Callback):
    """Puts the learning rate that an epoch ended with into its logs, so that history and TensorBoard have it."""

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


def _check_finite(history: keras.callbacks.History) -> None:
    for name in ("loss", "val_loss"):
        for epoch, value in zip(history.epoch, history.history.get(name, []), strict=False):
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{name} became {value} in epoch {epoch + 1}: try a smaller learning_rate, gradient_clip or warmup_epochs"
                )


# ---- the images in order ------------------------------------------------------------------------------------------


class _Epochs(keras.callbacks.Callback):
    """Iterating gives the order of the running epoch; as a callback it is told which one that is."""

    def __init__(self, indices: np.ndarray, seed: int):
        super().__init__()
        self.indices, self.seed, self.epoch = np.asarray(indices, np.int32), seed, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def __iter__(self):
        yield self.indices[epoch_order(len(self.indices), self.seed, self.epoch)]


class _Once:
    """Iterating gives the indices as they are: validation needs no shuffling."""

    def __init__(self, indices: np.ndarray):
        self.indices = np.asarray(indices, np.int32)

    def __iter__(self):
        yield self.indices


def _whole_epochs(orders) -> tf.data.Dataset:
    """One element an epoch: the order itself, for the compiled program to gather by."""
    signature = tf.TensorSpec((len(orders.indices),), tf.int32)
    one_order = tf.data.Dataset.from_generator(lambda: orders, output_signature=signature)
    return one_order.apply(tf.data.experimental.assert_cardinality(1))


def _minibatches(orders: tf.data.Dataset, data: ResidentData, settings, training: bool) -> tf.data.Dataset:
    """One element a minibatch, for Keras's own loop."""
    batch_size = settings.batch_size if training else VALIDATION_BATCH_SIZE
    targets = target_rows(data.num_classes, settings.label_smoothing, training)
    with tf.device("/CPU:0"):  # the input pipeline runs on the CPU wherever the model is
        batches = orders.flat_map(lambda order: tf.data.Dataset.from_tensor_slices(order).batch(batch_size))
        steps = math.ceil(orders.element_spec.shape[0] / batch_size)
        return (
            batches.map(lambda indices: data.batch(indices, targets))
            .apply(tf.data.experimental.assert_cardinality(steps))
            .prefetch(2)
        )

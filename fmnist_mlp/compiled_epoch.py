"""One compiled program an epoch, behind Keras's own `model.fit`.

Keras's `fit` returns to Python after every minibatch. For a small MLP that costs ten times the arithmetic. Here the
images stay resident on the device and `fit` is handed one thing an epoch: the order in which to visit them. From it,
one XLA program gathers the minibatches and loops over them inside. The body of that loop is Keras's own `train_step`,
so optimizers, metrics, seeds and the weighting of a short last batch are Keras's, and so are callbacks, history and
validation, because `fit` still drives them.

`install` replaces the two functions that `fit` calls, `model.train_function` and `model.test_function`; the model
stays a plain `keras.Sequential` that any callback can save. What a callback sees: one "batch" an epoch. Callbacks
that live by batches are refused by `check_callbacks`.
"""

from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from fmnist_mlp.errors import SweepError

# Images a step of the validation loop. Validation has no gradient and keeps nothing, so the step can be large; fixed,
# because the size decides the order in which the loss is summed, hence its last digit.
VALIDATION_BATCH_SIZE = 1000


@dataclass(frozen=True, eq=False)
class ResidentData:
    """Inputs and labels of all training images, kept where the model computes; one a process serves every model.

    Args:
        x: uint8 `(n, height, width)`.
        y: integer labels `(n,)`.
        num_classes: length of a one-hot row.
    """

    x: np.ndarray
    y: np.ndarray
    num_classes: int

    @cached_property
    def tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.init_scope():  # whoever asks first, perhaps while a program is traced: these outlive any program
            return tf.convert_to_tensor(self.x), tf.convert_to_tensor(self.y.astype(np.int32))

    def batch(self, indices, targets: np.ndarray | None):
        """The images at `indices` and what they are trained towards: labels, or their classes' rows of `targets`."""
        images, labels = self.tensors
        x, y = tf.gather(images, indices), tf.gather(labels, indices)
        return x, y if targets is None else tf.gather(tf.constant(targets), y)


def target_rows(num_classes: int, label_smoothing: float, training: bool) -> np.ndarray | None:
    """Row c is the target of class c, `(num_classes, num_classes)`; None where the label itself will do.

    Only the targets of training images are softened, so that `val_loss` means the same with and without smoothing
    and can be compared between architectures (Keras's `label_smoothing` argument would soften both).
    """
    if not label_smoothing:
        return None
    share = label_smoothing if training else 0.0
    return (np.eye(num_classes) * (1 - share) + share / num_classes).astype(keras.config.floatx())


def install(model: keras.Sequential, data: ResidentData, batch_size: int, label_smoothing: float = 0.0) -> None:
    """Make `model.fit` train a whole epoch as one compiled program; needs doing once a model, however many fits.

    After this, `fit` takes datasets of orders: each element an int32 vector of indices into `data`, one an epoch.

    Args:
        model: built and compiled.
        data: what the orders index.
        batch_size: images a training step.
        label_smoothing: see `target_rows`.
    """
    rows = {training: target_rows(data.num_classes, label_smoothing, training) for training in (True, False)}
    _build_metrics(model, data.batch(tf.constant([0]), rows[True]))
    model.train_function = _epoch_function(
        model, model.train_step, lambda indices: data.batch(indices, rows[True]), batch_size
    )
    model.test_function = _epoch_function(
        model, model.test_step, lambda indices: data.batch(indices, rows[False]), VALIDATION_BATCH_SIZE
    )


def check_callbacks(callbacks) -> None:
    """Refuse callbacks that live by batches: the compiled epoch has no moment at which to call them.

    Keras's own are known: they are safe unless told to work by batches. Any other callback that overrides a batch
    method is refused, unless it says that once an epoch will do, by an attribute `works_by_epoch = True`.

    Raises:
        SweepError: names the callback, the method and the two ways out.
    """
    for callback in callbacks:
        method = _batch_method(callback)
        if method is not None:
            raise SweepError(
                f"callback {type(callback).__name__} works by batches ({method}), but the compiled epoch calls "
                "callbacks once an epoch: train with plain_fit=True (--plain-fit), or set works_by_epoch = True on the "
                "callback if one call an epoch is what it needs"
            )


def _epoch_function(model, step, batch, batch_size: int):
    """A function for `fit` to call: takes its iterator, runs one epoch of training or validation, returns the logs."""

    @tf.function(jit_compile=True, autograph=False)
    def epoch(order):
        images = order.shape[0]
        full_steps = images // batch_size

        def one_step(i):
            indices = tf.reshape(tf.slice(order, [i * batch_size], [batch_size]), [batch_size])
            step(batch(indices))
            return i + 1

        if full_steps:
            tf.while_loop(lambda i: i < full_steps, one_step, [tf.constant(0)], maximum_iterations=full_steps)
        if images % batch_size:
            step(batch(order[full_steps * batch_size :]))
        return model.get_metrics_result()

    # Keras counts on StopIteration where the iterator has ended, and tf.data's iterator raises just that.
    return lambda iterator: epoch(next(iterator))


def _build_metrics(model, batch) -> None:
    """Create the variables of loss, metrics and optimizer now: inside a compiled loop it is too late."""
    x, y = batch
    y_pred = model(x, training=False)
    model.compute_loss(x, y, y_pred)
    model.compute_metrics(x, y, y_pred)
    model.reset_metrics()
    model.optimizer.build(model.trainable_variables)


_BATCH_METHODS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)


def _batch_method(callback) -> str | None:
    """The batch method that makes this callback unsafe, None if it is safe."""
    if getattr(callback, "works_by_epoch", False):
        return None
    for method in _BATCH_METHODS:
        if not _overrides(callback, method):
            continue
        owner = next((c for c in type(callback).__mro__ if method in vars(c)), None)
        if method in vars(callback) or owner not in _SAFE_BY_EPOCH:
            return method
        unsafe = _SAFE_BY_EPOCH[owner](callback)
        if unsafe:
            return unsafe
    return None


def _overrides(callback, method: str) -> bool:
    if method in vars(callback):  # LambdaCallback sets what it was given on the instance
        return True
    return getattr(type(callback), method, None) is not getattr(keras.callbacks.Callback, method)


# Keras's callbacks with batch methods, and how to tell that one was asked to work by batches (Keras 3.15).
_SAFE_BY_EPOCH = {
    keras.callbacks.TerminateOnNaN: lambda callback: None,  # an epoch's mean loss is NaN as soon as one batch's is
    keras.callbacks.ProgbarLogger: lambda callback: None,
    keras.callbacks.TensorBoard: lambda callback: (
        f"update_freq={callback.update_freq!r}"
        if callback.update_freq != "epoch"
        else ("profile_batch" if callback._should_trace else None)
    ),
    keras.callbacks.ModelCheckpoint: lambda callback: _by_batches(callback.save_freq),
    keras.callbacks.BackupAndRestore: lambda callback: _by_batches(callback.save_freq),
}


def _by_batches(save_freq) -> str | None:
    return None if save_freq == "epoch" else f"save_freq={save_freq!r}"

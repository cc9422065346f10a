"""One compiled program an epoch, behind Keras's own `model.fit`.

Keras's `fit` returns to Python after every minibatch. For a small MLP that costs ten times the arithmetic. Here the
images stay resident on the device, and once an epoch one XLA program is given the order in which to visit them: it
gathers the minibatches and loops over them inside. The body of that loop is Keras's own `train_step`, so optimizers,
metrics, seeds and the weighting of a short last batch are Keras's, and so are callbacks, history and validation,
because `fit` still drives them.

`CompiledEpoch.drive` sets the two functions that `fit` calls, `model.train_function` and `model.test_function`; the
model stays a plain `keras.Sequential` that any callback can save. What a callback sees: one "batch" an epoch. Callbacks
that live by batches are refused by `check_callbacks`.
"""

import contextlib
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from fmnist_mlp.errors import SweepError

try:
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops as _gen_xla_ops
    from tensorflow.python.ops import random_ops_util as _random_ops_util
except ImportError:
    _gen_xla_ops = _random_ops_util = None

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


class CompiledEpoch:
    """The programs of one model: an epoch of training and one of validation, compiled when they first run.

    They belong to the model's variables, not to their values, so they serve every seed of an architecture.

    Args:
        model: built and compiled.
        data: what orders index.
        batch_size: images a training step.
        label_smoothing: see `target_rows`.
    """

    def __init__(self, model: keras.Sequential, data: ResidentData, batch_size: int, label_smoothing: float = 0.0):
        rows = {training: target_rows(data.num_classes, label_smoothing, training) for training in (True, False)}
        _build_metrics(model, data.batch(tf.constant([0]), rows[True]))
        self.data = data
        self._train = _program(model, model.train_step, lambda i: data.batch(i, rows[True]), batch_size)
        self._validate = _program(model, model.test_step, lambda i: data.batch(i, rows[False]), VALIDATION_BATCH_SIZE)

    def drive(self, model: keras.Sequential, order, validation_indices) -> dict:
        """Make `model.fit` call the programs.

        Args:
            model: the one of the programs.
            order: called at the start of each epoch, gives the int32 indices of its images in their order.
            validation_indices: int32.

        Returns:
            Arguments for `fit`. What it iterates over is a beat an epoch, without content: making a `tf.data` iterator
            of the orders themselves takes 17 ms an epoch, a twelfth of the whole.
        """
        validation = tf.constant(validation_indices)
        model.train_function = lambda beats: self._train(tf.constant(order()))
        model.test_function = lambda beats: self._validate(validation)
        beats = tf.data.Dataset.from_tensors(0).repeat()
        return {"x": beats, "steps_per_epoch": 1, "validation_data": beats, "validation_steps": 1}


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


def _program(model, step, batch, batch_size: int):
    """Indices in, logs out: `step` over minibatches of `batch(indices)`, as one XLA program."""

    @tf.function(jit_compile=True, autograph=False)
    def epoch(order):
        images = order.shape[0]
        full_steps = images // batch_size

        def one_step(i):
            indices = tf.reshape(tf.slice(order, [i * batch_size], [batch_size]), [batch_size])
            step(batch(indices))
            return i + 1

        with _quick_random_numbers():
            if full_steps:
                tf.while_loop(lambda i: i < full_steps, one_step, [tf.constant(0)], maximum_iterations=full_steps)
            if images % batch_size:
                step(batch(order[full_steps * batch_size :]))
        return model.get_metrics_result()

    return epoch


@contextlib.contextmanager
def _quick_random_numbers():
    """While a program is traced: keep XLA from computing the key of dropout's random numbers anew for each of them.

    XLA on CPUs fuses the scrambling of the seed into the loop that draws the numbers, and repeats it for every one. A
    barrier between the two gives the same numbers six times as fast (benchmarks/loops.py --random). It goes through
    names that TensorFlow 2.21 keeps to itself; where they are gone, the numbers come slowly, and a test says so.
    """
    if _random_ops_util is None:
        yield
        return
    stock = _random_ops_util.get_key_counter_alg

    def with_barrier(seed, alg):
        key, counter, alg = stock(seed, alg)
        key, counter = _gen_xla_ops.xla_optimization_barrier(input=[key, counter])
        return key, counter, alg

    _random_ops_util.get_key_counter_alg = with_barrier
    try:
        yield
    finally:
        _random_ops_util.get_key_counter_alg = stock


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

"""One compiled program an epoch, behind Keras's own `model.fit`.

Keras's `fit` returns to Python after every minibatch. For a small MLP that costs ten times the arithmetic. Here the
images stay resident on the device, and once an epoch one XLA program is given the order in which to visit them, and
how to augment them: it gathers the minibatches and loops over them inside. The body of that loop is Keras's own
`train_step`, so optimizers, metrics, seeds and the weighting of a short last batch are Keras's, and so are callbacks,
history and validation, because `fit` still drives them.

`CompiledEpoch.drive` sets the two functions that `fit` calls, `model.train_function` and `model.test_function`, where
this Keras has them (`fit_takes_programs`); the model stays a plain `keras.Sequential`. What a callback sees is one
"batch" an epoch.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from fmnist_mlp.training.augment import Augmentation
from fmnist_mlp.training.preprocess import Preprocessing
from fmnist_mlp.training.tracing import quick_random_numbers

# Images a step of the validation loop. Validation has no gradient and keeps nothing, so the step can be large; fixed,
# because the size decides the order in which the loss is summed, hence its last digit.
VALIDATION_BATCH_SIZE = 1000


@dataclass(frozen=True, eq=False)
class ResidentData:
    """Inputs and labels of all training images, kept where the model computes; one a process serves every model.

    Args:
        x: uint8 `(n, height, width)`, or what `preprocess` made of it beforehand, floating point `(n, *input_shape)`.
        y: integer labels `(n,)`.
        num_classes: length of a one-hot row.
        preprocessing: what is still to be done to each minibatch of `x`, a `preprocess.Preprocessing`; None where `x`
            is what the model takes. Augmentation needs it: it changes pixels, so it comes before.
    """

    x: np.ndarray
    y: np.ndarray
    num_classes: int
    preprocessing: Preprocessing | None = None

    @cached_property
    def tensors(self) -> tuple[tf.Tensor, ...]:
        """Inputs, labels, and the arrays of `preprocessing`."""
        arrays = () if self.preprocessing is None else self.preprocessing.arrays(keras.config.floatx())
        with tf.init_scope():  # whoever asks first, perhaps while a program is traced: these outlive any program
            return tuple(map(tf.convert_to_tensor, (self.x, self.y.astype(np.int32), *arrays)))

    def augmented_tensors(self, augmentation: Augmentation) -> tuple[tf.Tensor, ...]:
        """`tensors`, the inputs laid out as the augmentation wants them; made once for each width of its border."""
        border = augmentation.settings.shift
        if border not in self._with_border:
            with tf.init_scope():
                self._with_border[border] = tf.convert_to_tensor(augmentation.resident(self.x))
        return (self._with_border[border], *self.tensors[1:])

    @cached_property
    def _with_border(self) -> dict[int, tf.Tensor]:
        return {}


class Minibatches:
    """What a step is given of the images at some indices, the same in both loops.

    Args:
        data: decides shapes and what is preprocessed; the images themselves come with each call, so that one program
            serves all data of the same form.
        settings: `settings.Training`.
        is_training: only then are images augmented and labels softened.
    """

    def __init__(self, data: ResidentData, settings, is_training: bool):
        mixup = 0.0 if settings.augment is None else settings.augment.mixup
        self._rows = target_rows(data.num_classes, settings.label_smoothing, is_training, mixup)
        self._preprocessing = data.preprocessing
        self._augmentation = None
        assert settings.augment is None or data.preprocessing is not None, "augmentation changes pixels"
        if settings.augment is not None and is_training:
            self._augmentation = Augmentation(settings.augment, data.x.shape[1:], settings.batch_size)

    def tensors(self, data: ResidentData) -> tuple[tf.Tensor, ...]:
        """What of the data `gather` wants."""
        return data.tensors if self._augmentation is None else data.augmented_tensors(self._augmentation)

    def draw(self, images: int, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """The random choices of an epoch of so many images; none without augmentation."""
        return {} if self._augmentation is None else self._augmentation.draw(images, seed, epoch)

    def gather(self, tensors, indices, draws: dict):
        """The images at `indices` and what they are trained towards: labels, or their classes' rows of probabilities.

        Args:
            tensors: of `tensors`.
            indices: int32 `(batch,)`.
            draws: of `draw`, those of this minibatch.
        """
        images, labels, *arrays = tensors
        targets = tf.gather(labels, indices)
        if self._rows is not None:
            targets = tf.gather(tf.constant(self._rows), targets)
        if self._preprocessing is None:
            return tf.gather(images, indices), targets
        if self._augmentation is None:
            x = tf.gather(images, indices)
            pixels = tf.cast(tf.reshape(x, [-1, math.prod(x.shape[1:])]), keras.config.floatx())
        else:
            x = self._augmentation.change_images(images, indices, draws)
            pixels, targets = self._augmentation.mix(tf.cast(x, keras.config.floatx()), targets, draws)
        inputs = self._preprocessing.apply(pixels, arrays)
        return tf.reshape(inputs, [-1, *self._preprocessing.input_shape]), targets


def has_target_rows(settings) -> bool:
    """Whether targets are rows of probabilities, so that loss and accuracy are the categorical ones."""
    return bool(settings.label_smoothing or (settings.augment is not None and settings.augment.mixup))


def target_rows(num_classes: int, label_smoothing: float, training: bool, mixup: float = 0.0) -> np.ndarray | None:
    """Row c is the target of class c, `(num_classes, num_classes)`; None where the label itself will do.

    Only the targets of training images are softened, so that `val_loss` means the same with and without smoothing
    and can be compared between architectures (Keras's `label_smoothing` argument would soften both).
    """
    if not label_smoothing and not mixup:
        return None
    share = label_smoothing if training else 0.0
    return (np.eye(num_classes) * (1 - share) + share / num_classes).astype(keras.config.floatx())


class CompiledEpoch:
    """The programs of one model: an epoch of training and one of validation, compiled when they first run.

    They belong to the model's variables, not to their values, so they serve every seed of an architecture.

    Args:
        model: built and compiled.
        data: of the form of those that they will run on.
        settings: `settings.Training`.
    """

    def __init__(self, model: keras.Sequential, data: ResidentData, settings):
        self._training, self._validation = (Minibatches(data, settings, is_training) for is_training in (True, False))
        one_image = self._training.tensors(data), tf.constant([0]), self._training.draw(1, seed=0, epoch=0)
        _build_metrics(model, self._training.gather(*one_image))
        # Each has a name of its own: what `tracing.same_names` makes of it then does not depend on which is first.
        train, test = model.train_step, model.test_step
        self._train = _program("training", model, train, self._training.gather, settings.batch_size)
        self._validate = _program("validation", model, test, self._validation.gather, VALIDATION_BATCH_SIZE)

    @property
    def compilations(self) -> dict[str, int]:
        """How often each program was compiled."""
        programs = {"train": self._train, "validate": self._validate}
        return {name: program.experimental_get_tracing_count() for name, program in programs.items()}

    def drive(self, model: keras.Sequential, data: ResidentData, epochs, validation_indices) -> dict:
        """Make `model.fit` call the programs.

        Args:
            model: the one of the programs.
            data: what the indices mean.
            epochs: knows which epoch runs: `epochs.order()` gives the int32 indices of its images in their order,
                `epochs.draw(minibatches)` the random choices of its augmentation.
            validation_indices: int32; empty for none.

        Returns:
            Arguments for `fit`. What it iterates over is a beat an epoch, without content: making a `tf.data` iterator
            of the orders themselves takes 17 ms an epoch, a twelfth of the whole.
        """
        validation = tf.constant(validation_indices)
        tensors, validation_tensors = self._training.tensors(data), self._validation.tensors(data)

        def train_epoch(beats):
            draws = tf.nest.map_structure(tf.constant, epochs.draw(self._training))
            return self._train(tensors, tf.constant(epochs.order()), draws)

        model.train_function = train_epoch
        model.test_function = lambda beats: self._validate(validation_tensors, validation, {})
        beats = tf.data.Dataset.from_tensors(0).repeat()
        validated = {"validation_data": beats, "validation_steps": 1} if len(validation_indices) else {}
        return {"x": beats, "steps_per_epoch": 1, **validated}


def fit_takes_programs(model: keras.Sequential) -> bool:
    """Whether `fit` calls functions that one may set on the model, as Keras 3.15's does without promising it.

    Where it does not, Keras's own loop trains: slower, and to other last bits. This can go once Keras has a public way
    to give `fit` its step (`make_train_function` is documented, but it is the model's class that has it).
    """
    return all(hasattr(model, name) for name in FUNCTIONS_OF_FIT)


FUNCTIONS_OF_FIT = ("train_function", "test_function")


def _program(name: str, model, step, gather, batch_size: int):
    """Resident tensors, indices and random choices in, logs out: `step` over minibatches, as one XLA program."""

    def epoch(tensors, order, draws):
        images = order.shape[0]
        full_steps = images // batch_size

        def one_step(i):
            def of_this_step(choices):
                return tf.reshape(tf.slice(choices, [i * batch_size], [batch_size]), [batch_size])

            step(gather(tensors, of_this_step(order), tf.nest.map_structure(of_this_step, draws)))
            return i + 1

        with quick_random_numbers():
            if full_steps:
                loop = {"maximum_iterations": full_steps, "name": name}
                tf.while_loop(lambda i: i < full_steps, one_step, [tf.constant(0)], **loop)
            if images % batch_size:
                rest = tf.nest.map_structure(lambda choices: choices[full_steps * batch_size :], (order, draws))
                step(gather(tensors, *rest))
        return model.get_metrics_result()

    epoch.__name__ = name
    return tf.function(epoch, jit_compile=True, autograph=False)


def _build_metrics(model, batch) -> None:
    """Create the variables of loss, metrics and optimizer now: inside a compiled loop it is too late."""
    x, y = batch
    y_pred = model(x, training=False)
    model.compute_loss(x, y, y_pred)
    model.compute_metrics(x, y, y_pred)
    model.reset_metrics()
    model.optimizer.build(model.trainable_variables)

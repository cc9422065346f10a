"""Weights and norms of gradients while a model trains, for TensorBoard's histograms; the training is the same to the
last bit.
"""

import numpy as np
import tensorflow as tf

from fmnist_mlp.training.compiled_epoch import Minibatches, ResidentData

_BATCHES = 32


def histograms_of(model, images: ResidentData, train_indices: np.ndarray, settings):
    """A function that gives what `LiveLog.add` takes: the weights of the moment and the norms of their gradients.

    Args:
        model: in training.
        images: all training images.
        train_indices: of those that the trial trains on.
        settings: `settings.Training`.
    """
    gradient_norms = _gradient_norms(model, images, train_indices, settings)

    def histograms() -> dict[str, np.ndarray]:
        weights = {f"{w.path}/histogram": w.numpy() for layer in model.layers for w in layer.weights}
        return weights | {f"gradient_norm/{name}": norms for name, norms in gradient_norms().items()}

    return histograms


def _gradient_norms(model, images: ResidentData, train_indices: np.ndarray, settings):
    """A function that gives the norm of the gradient of each trainable variable, by name, `(batches,)`.

    One number for each of the trial's first 32 minibatches, with the weights of the moment, in training mode (dropout,
    batch statistics). What that mode changes, seeds and moving averages, is put back: the training must not notice.
    """
    batch_size = min(settings.batch_size, len(train_indices))
    batches = min(_BATCHES, len(train_indices) // batch_size)
    minibatches = Minibatches(images, settings, is_training=True)
    tensors = minibatches.tensors(images)
    choices = {"indices": np.asarray(train_indices[: batches * batch_size], np.int32)}
    choices |= minibatches.draw(batches * batch_size, seed=0, epoch=0)  # each epoch the same, to compare their norms

    @tf.function(autograph=False)
    def norms_of_batch(indices, draws):
        x, y = minibatches.gather(tensors, indices, draws)
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        squares = [tf.reduce_sum(tf.square(gradient)) for gradient in gradients]
        return tf.sqrt(tf.stack([*squares, tf.add_n(squares)]))

    def measure() -> dict[str, np.ndarray]:
        kept = [variable.numpy() for variable in model.non_trainable_variables]
        norms = []
        for start in range(0, batches * batch_size, batch_size):
            draws = {name: tf.constant(those[start : start + batch_size]) for name, those in choices.items()}
            norms.append(norms_of_batch(draws.pop("indices"), draws).numpy())
        for variable, value in zip(model.non_trainable_variables, kept, strict=True):
            variable.assign(value)
        names = [*(variable.path for variable in model.trainable_variables), "all"]
        return dict(zip(names, np.transpose(norms), strict=True))

    return measure

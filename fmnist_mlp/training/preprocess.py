"""Fit the fixed steps in front of a stack, and apply them.

`fit` learns what there is to learn of the steps, with scikit-learn's own StandardScaler and PCA, from the training
images of one trial and from no others. What it returns, a `Preprocessing`, is a handful of arrays and one function that
applies them; `models` turns the same arrays into stock Keras layers of the exported model, `compiled_epoch` applies
them to minibatches. Pixels are scaled to 0-1 before the first step.

scikit-learn is imported when something is fitted: the parent process, which plans, never needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from fmnist_mlp.sweepfile.layers import Shape
from fmnist_mlp.sweepfile.steps import Pca, Rescale, Standardize, Step

_CHUNK = 5_000  # images that are transformed at a time: 31 MB in float64


@dataclass(frozen=True, eq=False)
class FixedMap:
    """One fitted step, in float64: what it does to vectors of values.

    Args:
        name: of its Keras layer: its word and its position, as `standardize_1`, `pca_2`.
        layer: the Keras class that it becomes; decides what the arrays are and how they are applied.
        arrays: Normalization: means and divisors, `(values,)`; Rescaling: factor and offset, `()`; Dense: kernel
            `(values, components)` and bias `(components,)`.
    """

    name: str
    layer: str
    arrays: tuple[np.ndarray, np.ndarray]

    def apply(self, x, first, second):
        """Written with operators alone, so that it takes numpy's arrays and TensorFlow's; `x` is `(n, values)`."""
        if self.layer == "Normalization":
            return (x - first) / second
        if self.layer == "Rescaling":
            return x * first + second
        return x @ first + second


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """Fitted steps: pixels to what a stack takes. Without steps it scales pixels to 0-1 and leaves it at that.

    Args:
        image_shape: `(height, width)` of the uint8 images.
        maps: one a step.
    """

    image_shape: Shape
    maps: tuple[FixedMap, ...]

    @cached_property
    def input_shape(self) -> Shape:
        """Of one image as the stack takes it; the true number of components."""
        kernels = [fixed.arrays[0] for fixed in self.maps if fixed.layer == "Dense"]
        return kernels[-1].shape[1:] if kernels else tuple(self.image_shape)

    def with_true_components(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """The steps that were fitted, with the number of components that a share of variance came to."""
        return tuple(
            replace(step, components=fixed.arrays[0].shape[1]) if isinstance(step, Pca) else step
            for step, fixed in zip(steps, self.maps, strict=True)
        )

    def arrays(self, dtype) -> tuple[np.ndarray, ...]:
        """The arrays of all maps, two each, in the order in which `apply` wants them."""
        return tuple(np.asarray(array, dtype) for fixed in self.maps for array in fixed.arrays)

    def apply(self, pixels, arrays):
        """What the stack takes, still flat.

        Args:
            pixels: `(n, height * width)`, 0 to 255 as floating point numbers, numpy's or TensorFlow's.
            arrays: those of `arrays`, of the same kind and dtype.

        Returns:
            `(n, values)`, the values of `input_shape`.
        """
        x = pixels * (1 / 255)
        for fixed, first, second in zip(self.maps, arrays[::2], arrays[1::2], strict=True):
            x = fixed.apply(x, first, second)
        return x

    def transform(self, images: np.ndarray, dtype=np.float32) -> np.ndarray:
        """Images as the stack takes them, computed on one core, so that their last bits are the same everywhere.

        Args:
            images: uint8, `(n, height, width)`.
            dtype: in which everything is computed.

        Returns:
            `(n, *input_shape)` of `dtype`.
        """
        arrays = self.arrays(dtype)
        inputs = np.empty((len(images), prod(self.input_shape)), dtype)
        with one_core():
            for start in range(0, len(images), _CHUNK):
                chunk = images[start : start + _CHUNK]
                inputs[start : start + _CHUNK] = self.apply(chunk.reshape(len(chunk), -1).astype(dtype), arrays)
        return inputs.reshape(len(images), *self.input_shape)


def fit(steps: Sequence[Step], images: np.ndarray) -> Preprocessing:
    """Learn what the steps need, each from what those before it make of the images.

    scikit-learn's StandardScaler (a value that never changes is only centred) and PCA: in float64, by the covariance
    matrix, the sign of a component such that its entry of largest magnitude is positive. It takes about a second for
    the 48,000 images of Fashion-MNIST and 8 bytes a pixel.

    Args:
        steps: in their order.
        images: the training images of a trial, uint8 `(n, height, width)`.

    Raises:
        ValueError: the images do not have that many components, or, with whitening, that many that vary.
    """
    if not any(isinstance(step, Standardize | Pca) for step in steps):
        maps = [_rescaling(step, number) for number, step in enumerate(steps, start=1)]
        return Preprocessing(images.shape[1:], tuple(maps))
    maps = []
    x = images.reshape(len(images), -1) / 255.0
    with one_core():
        for number, step in enumerate(steps, start=1):
            maps.append(_fitted(step, number, x))
            if number < len(steps):
                x = _applied(maps[-1], x)
    return Preprocessing(images.shape[1:], tuple(maps))


def unfitted(steps: Sequence[Step], image_shape: Shape) -> Preprocessing:
    """Steps of the right sizes that learned nothing, for whoever measures how long a model takes.

    Of a share of variance it has the most components that it can be.
    """
    shape, maps = tuple(image_shape), []
    for number, step in enumerate(steps, start=1):
        values, output_shape = prod(shape), step.output_shape(shape)
        if isinstance(step, Standardize):
            maps.append(FixedMap(f"standardize_{number}", "Normalization", (np.zeros(values), np.ones(values))))
        elif isinstance(step, Rescale):
            maps.append(_rescaling(step, number))
        else:
            kernel = np.zeros((values, *output_shape))
            maps.append(FixedMap(f"pca_{number}", "Dense", (kernel, np.zeros(output_shape))))
        shape = output_shape
    return Preprocessing(tuple(image_shape), tuple(maps))


def _fitted(step: Step, number: int, x: np.ndarray) -> FixedMap:
    if isinstance(step, Rescale):
        return _rescaling(step, number)
    if isinstance(step, Standardize):
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        for start in range(0, len(x), _CHUNK):  # all at once it makes two copies of x
            scaler.partial_fit(x[start : start + _CHUNK])
        return FixedMap(f"standardize_{number}", "Normalization", (scaler.mean_, scaler.scale_))
    return _principal_components(step, number, x)


def _applied(fixed: FixedMap, x: np.ndarray) -> np.ndarray:
    """What the next step is fitted on: in the place of `x` where the shape stays, for `x` is large."""
    if fixed.layer == "Dense":
        return fixed.apply(x, *fixed.arrays)
    for start in range(0, len(x), _CHUNK):
        x[start : start + _CHUNK] = fixed.apply(x[start : start + _CHUNK], *fixed.arrays)
    return x


def _rescaling(step: Rescale, number: int) -> FixedMap:
    factor, offset = np.array(1 / step.scale), np.array(-step.center / step.scale)
    return FixedMap(f"rescale_{number}", "Rescaling", (factor, offset))


def _principal_components(step: Pca, number: int, x: np.ndarray) -> FixedMap:
    from sklearn.decomposition import PCA

    step.output_shape(x.shape[1:], images=len(x))  # says it in words where they are too many
    if (x == x[0]).all():
        raise ValueError("pca finds no variance: all training images of this trial are the same")
    pca = PCA(step.components, whiten=step.whiten, svd_solver="covariance_eigh").fit(x)
    kernel = pca.components_.T
    if step.whiten:
        # Below this an eigenvalue is rounding of the largest, as numpy.linalg.matrix_rank has it.
        varies = pca.explained_variance_ > pca.explained_variance_[0] * x.shape[1] * np.finfo(x.dtype).eps
        if not varies.all():
            raise ValueError(
                f"pca cannot whiten {len(varies):,} components: only {varies.sum():,} of them vary over the training "
                "images of this trial; use no more than that"
            )
        kernel = kernel / np.sqrt(pca.explained_variance_)
    return FixedMap(f"pca_{number}", "Dense", (kernel, -pca.mean_ @ kernel))


def one_core():
    """OpenMP and BLAS on one thread. BLAS sums in another order on more, and workers have one or several, depending on
    how they are started; in a debugger they have them all."""
    # Imported here: it comes with scikit-learn, which only workers import.
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)

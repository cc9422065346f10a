"""From a layer stack to Keras models: the one that is trained and the one that is exported.

The model that is trained takes what the data module hands out (uint8 images), or what `preprocess` makes of it, and
ends in logits. The exported model is made of the same layer objects, so it shares their weights; it takes raw images,
has the fixed steps of `preprocess` as layers of its own, and ends in class probabilities. In its file it also takes
images divided by 255. Which layers there are, where Flatten goes and what a stack costs is decided in `stacks`, without
Keras.
"""

import json
import re
import zipfile
from pathlib import Path

import keras
import numpy as np

from fmnist_mlp.sweepfile import stacks

# A .keras file is a zip archive; a fixed time in it makes two exports of the same weights the same bytes.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def build_model(
    layers, image_shape: tuple[int, ...], num_classes: int, seed: int, preprocessing=None
) -> keras.Sequential:
    """Build a stack for images of `image_shape`, ending in logits, with initial weights drawn from `seed`.

    The weights are those of `keras.utils.set_random_seed(seed)` followed by building the layers in order, whatever
    this process did before. Layers are named by position (`dense_2`), not by Keras's process-wide counter, so that
    the same stack is the same file.

    Args:
        layers: layers as the sweep file gives them (`layers` of the sweep file), without the output layer.
        image_shape: `(height, width)`.
        num_classes: units of the output layer.
        seed: the trial's seed.
        preprocessing: a `preprocess.Preprocessing` whose output it takes, floating point numbers; without it, it takes
            uint8 pixels, which it scales to 0-1 itself.

    Returns:
        A built `keras.Sequential`: images or what was made of them to logits `(batch, num_classes)`.

    Raises:
        ValueError: the stack does not fit the images (`stacks.complete` says why).
    """
    keras.utils.set_random_seed(seed)
    input_shape = image_shape if preprocessing is None else preprocessing.input_shape
    if preprocessing is None:
        image = keras.Input(input_shape, dtype="uint8", name="image")
        built = [image, keras.layers.Rescaling(1 / 255, name="rescaling")]
    else:
        built = [keras.Input(input_shape, name="preprocessed")]
    complete = stacks.complete(layers, input_shape, num_classes)
    for position, layer in enumerate(complete, start=1):
        name = "logits" if position == len(complete) else f"{snake_case(type(layer).__name__)}_{position}"
        built.append(getattr(keras.layers, type(layer).__name__)(**layer.keras_arguments(), name=name))
    return keras.Sequential(built, name="mlp")  # at once: `Sequential.add` builds all that is there so far, each time


def exported_model(model: keras.Sequential, preprocessing=None) -> keras.Sequential:
    """The model to give away: the trained layers and a softmax; uint8 images in, probabilities out, no optimizer.

    Args:
        model: from `build_model`.
        preprocessing: a `preprocess.Preprocessing`, for a model that does not take pixels; its maps come first, as
            layers that are not trained, named as they are (`standardize_1`, `pca_2`).
    """
    softmax = keras.layers.Softmax(name="probabilities")
    if preprocessing is None:
        return keras.Sequential([_image_input(model), *model.layers, softmax], name="mlp")
    image = keras.Input(preprocessing.image_shape, dtype="uint8", name="image")
    fixed = _fixed_layers(preprocessing)
    exported = keras.Sequential([image, *fixed, *model.layers, softmax], name="mlp")
    kernels = [step.arrays for step in preprocessing.maps if step.layer == "Dense"]
    projections = [layer for layer in fixed if isinstance(layer, keras.layers.Dense)]
    for layer, arrays in zip(projections, kernels, strict=True):
        layer.set_weights(arrays)
    return exported


def scoring_model(exported: keras.Sequential) -> keras.Model:
    """The exported model with its logits beside its probabilities: losses need the digits that softmax rounds away."""
    *layers, softmax = exported.layers
    image = _image_input(exported)
    logits = image
    for layer in layers:
        logits = layer(logits)
    return keras.Model(image, [logits, softmax(logits)])


def as_saved(exported: keras.Sequential) -> keras.Sequential:
    """The exported model as its file has it: images that somebody divided by 255 are multiplied by 255 again.

    Whoever serves a network divides by 255 from habit. Keras casts such images to the uint8 of the input, which leaves
    0 and 1, and accuracy falls to that of guessing without a word. So the file takes numbers of any type, and its first
    layer, `raw_pixels`, brings them to 0-255, image by image (`_raw_pixels` has the rule). Raw images pass it as they
    are, so predictions are the same to the last bit. It has no weights and no code of ours.

    Args:
        exported: from `exported_model`.
    """
    image = exported.inputs[0]
    guard = _raw_pixels(image.shape[1:])
    return keras.Sequential([keras.Input(image.shape[1:], name="image"), guard, *exported.layers], name="mlp")


def without_guard(saved: keras.Model) -> keras.Model:
    """The model of a file with uint8 at its input, for other formats: their runtimes refuse all other numbers aloud."""
    first = saved.layers[0]
    if first.name != _GUARD:
        return saved
    image = keras.Input(saved.input_shape[1:], dtype="uint8", name="image")
    return keras.Sequential([image, *saved.layers[1:]], name=saved.name)


def save(saved: keras.Sequential, path: Path) -> None:
    """Save a model as a `.keras` file that plain `keras.models.load_model` opens.

    The archive is written again without clock times and memory addresses, so that equal weights give equal files.

    Args:
        saved: from `as_saved`.
        path: where to; must end in `.keras`.
    """
    draft = path.with_suffix(".draft.keras")
    saved.save(draft)
    with zipfile.ZipFile(draft) as source, zipfile.ZipFile(path, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                metadata = json.loads(content)
                del metadata["date_saved"]
                content = json.dumps(metadata).encode()
            elif name == "config.json":
                content = _renumbered(content)
            target.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content)
    draft.unlink()


_GUARD = "raw_pixels"


def _raw_pixels(image_shape: tuple[int, ...]) -> keras.Model:
    """Images in the range that networks here want, 0-255, from stock layers; a model in one layer.

    An image is multiplied by 255 exactly where some of its pixels lie between 0 and 1 and none above 1, which no image
    of whole numbers does. (Between 1 and 2, where a resampled picture overshoots, the factor falls from 255 to 1.) What
    is black and white alone looks the same in both ranges, and is taken for raw.
    """
    layers = keras.layers
    image = keras.Input(image_shape, name="any_range")
    pixels = layers.Reshape((-1, 1), name="pixels")(image)  # (batch, n, 1)
    # x (1 - x) is above 0 between 0 and 1 alone; of whole numbers it is 0 or below, so `is_fraction` is exactly 0.
    complement = layers.Rescaling(-1.0, offset=1.0, name="complement")(pixels)
    product = layers.Multiply(name="product")([pixels, complement])
    most = layers.GlobalMaxPooling1D(keepdims=True, name="most")(product)  # (batch, 1, 1)
    is_fraction = layers.ReLU(max_value=1.0, name="is_fraction")(layers.Rescaling(1e6, name="magnified")(most))
    brightest = layers.GlobalMaxPooling1D(keepdims=True, name="brightest")(pixels)
    below_two = layers.Rescaling(-1.0, offset=2.0, name="below_two")(brightest)
    is_dark = layers.ReLU(max_value=1.0, name="is_dark")(below_two)  # 1 up to a brightness of 1, 0 from 2 on
    was_divided = layers.Multiply(name="was_divided")([is_fraction, is_dark])
    factor = layers.Rescaling(254.0, offset=1.0, name="factor")(was_divided)  # 255 or 1
    raw = layers.Multiply(name="raw")([pixels, factor])
    return keras.Model(image, layers.Reshape(image_shape, name="image")(raw), name=_GUARD)


def _image_input(model: keras.Sequential):
    image = model.inputs[0]
    return keras.Input(image.shape[1:], dtype=image.dtype, name="image")


def _fixed_layers(preprocessing) -> list[keras.Layer]:
    """Stock layers that do what the maps do, the weights of PCA still to be set; pixels are scaled to 0-1 first."""
    layers, shape = [keras.layers.Rescaling(1 / 255, name="rescaling")], tuple(preprocessing.image_shape)
    for step in preprocessing.maps:
        first, second = step.arrays
        if step.layer == "Normalization":
            axes = tuple(range(1, len(shape) + 1))  # every pixel has its own mean
            mean, variance = (array.reshape(shape).tolist() for array in (first, np.square(second)))
            layers.append(keras.layers.Normalization(axes, mean=mean, variance=variance, name=step.name))
        elif step.layer == "Rescaling":
            layers.append(keras.layers.Rescaling(float(first), offset=float(second), name=step.name))
        else:
            if len(shape) > 1:
                layers.append(keras.layers.Flatten(name=f"{step.name}_flatten"))
            shape = first.shape[1:]
            layers.append(keras.layers.Dense(*shape, kernel_initializer="zeros", trainable=False, name=step.name))
    return layers


def snake_case(name: str) -> str:
    """As Keras names its layers: BatchNormalization -> batch_normalization, PReLU -> p_re_lu."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def _renumbered(config: bytes) -> bytes:
    """Keras 3.15 names objects that layers share by their address; here they are 1, 2, ... as they appear."""
    numbers: dict[bytes, int] = {}

    def renumber(match: re.Match) -> bytes:
        return b'"shared_object_id": %d' % numbers.setdefault(match[1], len(numbers) + 1)

    return re.sub(rb'"shared_object_id": (\d+)', renumber, config)

"""What can be said of a sweep only with the data: do the layers fit the images, does the stack fit into memory.

And what is allowed and hardly meant, each with its line.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from fmnist_mlp.data.source import CLASS_NAMES
from fmnist_mlp.data.split import count_parts
from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile import misreadings
from fmnist_mlp.sweepfile import steps as steps_module
from fmnist_mlp.sweepfile.layers import (
    ELU,
    Activation,
    AlphaDropout,
    BatchNormalization,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    Layer,
    LayerNormalization,
    LeakyReLU,
    PReLU,
    StackError,
)
from fmnist_mlp.sweepfile.nodes import Problems
from fmnist_mlp.sweepfile.settings import Training
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.steps import Pca, Rescale, input_shape_of
from fmnist_mlp.sweepfile.sweep import UNKNOWN_SIZE, Architecture, Baseline, Sweep, is_over_budget
from fmnist_mlp.words import counted

# Variables of the size of the weights that an optimizer keeps (sgd: one more with momentum).
_OPTIMIZER_SLOTS = {"sgd": 0, "adam": 2, "adamw": 2, "rmsprop": 1, "nadam": 2, "lion": 1}


def check_shapes(
    sweep: Sweep,
    image_shape: tuple[int, ...],
    num_classes: int,
    memory_limit_bytes: int | None = None,
    class_counts: Sequence[int] = (),
) -> dict[str, StackSize]:
    """Exact sizes of every architecture, by name, once the data set is known; a baseline's are known when it is fitted.

    Args:
        sweep: from `load_sweep`.
        image_shape: of one image, `(28, 28)`.
        num_classes: units of the output layer.
        memory_limit_bytes: refuse stacks whose weights, gradient and optimizer variables need more (float32), unless
            they are over their `max_params` and so never built.
        class_counts: training images of each class. Where they are known, what needs more of them is refused: images to
            validate with, PCA, a baseline.

    Returns:
        Parameters of the stack alone, FLOPs with the steps of `preprocess`. Behind `{pca: 0.95}` both are the most
        that they can be (`preprocess.has_open_size`): the records have the true ones.

    Raises:
        SweepError: with every stack that does not fit its images, their number or the memory.
    """
    problems = Problems(str(sweep.path), sweep.text)
    if sweep.class_names is not None and len(sweep.class_names) != num_classes:
        problems.add(
            sweep.key_lines.get("class_names"),
            f"class_names must name each of the {num_classes} classes (labels 0 to {num_classes - 1}), got "
            f"{len(sweep.class_names)} names",
        )
    sizes, reported, parts = {}, set(), {}
    for architecture in sweep.architectures:
        steps, split = architecture.training.preprocess, architecture.training.validation_split
        if class_counts and split not in parts:
            parts[split] = _parts_of_images(sweep, split, class_counts)
        train, validation = parts.get(split, (None, None))
        images = None if train is None else sum(train)
        misfits = _misfits_of_images(architecture, image_shape, train, validation)
        for key, message in misfits:
            line = architecture.key_lines.get(key, architecture.line)
            if (line, message) not in reported:  # else the whole file's key would be judged for each architecture
                problems.add(line, message)
            reported.add((line, message))
        if misfits:
            continue
        if isinstance(architecture, Baseline):
            sizes[architecture.name] = UNKNOWN_SIZE
            continue
        try:
            size = steps_module.count(steps, architecture.layers, image_shape, num_classes, images)
        except StackError as error:
            lines = architecture.layer_lines
            line = lines[error.index] if error.index is not None and lines else architecture.line
            has_pca = any(isinstance(step, Pca) for step in steps)
            why = "; pca leaves no image, only its components" if has_pca else ""
            problems.add(line, f"{error}{why} (architecture '{architecture.name}')")
            continue
        sizes[architecture.name] = size
        report_pasted_ends([architecture], image_shape, num_classes, problems)
        training = architecture.training
        needed = training_bytes(architecture, size)
        if memory_limit_bytes is not None and needed > memory_limit_bytes and not is_over_budget(architecture, size):
            problems.add(
                architecture.line,
                f"{size.params:,} parameters need about {_in_words(needed)} to train with {training.optimizer}, "
                f"more than the {_in_words(memory_limit_bytes)} there are; use fewer units "
                f"(architecture '{architecture.name}')",
            )
    problems.raise_if_any()
    return sizes


def _parts_of_images(sweep: Sweep, validation_split: float, class_counts: Sequence[int]) -> tuple[list, list]:
    """Training and validation images of each class in the trial that trains on the fewest.

    Raises:
        SweepError: there are more folds than images.
    """
    images = min(sweep.limit or math.inf, sum(class_counts))
    if sweep.folds is not None and sweep.folds > images:
        raise SweepError(f"{sweep.path}: folds must be at most the {images:,} training images, got {sweep.folds}")
    parts = count_parts(class_counts, sweep.limit, validation_split, sweep.folds)
    return parts[0].tolist(), parts[1].tolist()


def find_doubts(sweep: Sweep, image_shape: tuple[int, ...], num_classes: int) -> list[str]:
    """What is allowed and yet hardly meant, for a warning: each with its line, as the messages of `SweepError` have it.

    Writing the activation out says that a layer is meant as it stands, and silences the warning on it.
    """
    doubts = Problems(str(sweep.path), sweep.text)
    for line, message in sweep.doubts:
        doubts.add(line, message)
    for architecture in sweep.architectures:
        if isinstance(architecture, Architecture) and architecture.as_listed:
            for line, message in _doubts_of_layers(architecture, image_shape, num_classes):
                doubts.add(line, f"{message} (architecture '{architecture.name}')")
    for architecture in (*sweep.architectures, *(sweep.search.each_setting() if sweep.search else ())):
        for key, message in _doubts_of_training(architecture.training):
            doubts.add(architecture.key_lines.get(key, architecture.line), message)
    if sweep.class_names is not None and isinstance(sweep.dataset, str):
        known = CLASS_NAMES
        for label, name in enumerate(sweep.class_names):
            if name in known and known.index(name) != label:
                message = (
                    f"class_names calls class {label} '{name}', which is class {known.index(name)} of Fashion-MNIST; "
                    "its names are known: remove the key"
                )
                doubts.add(sweep.key_lines.get("class_names"), message)
                break
    return doubts.lines("doubts")


def _doubts_of_training(training: Training) -> Iterator[tuple[str, str]]:
    """Keys, and what is hardly meant by their values."""
    step = next(iter(training.preprocess), None)
    if isinstance(step, Rescale) and (abs(step.center) > 1 or not 0.01 < step.scale <= 2):
        yield (
            "preprocess",
            "preprocess gets pixels between 0 and 1, not 0 to 255: to bring them to [-1, 1] write "
            "preprocess: {center: 0.5, scale: 0.5}",
        )
    split = training.validation_split
    if split > 0.5:
        yield (
            "validation_split",
            f"validation_split is the share of the images that validates: {split:g} leaves {1 - split:g} to train on; "
            f"for the other way round write validation_split: {1 - split:g}",
        )
    if training.learning_rate >= 1 and training.optimizer != "sgd":
        yield (
            "learning_rate",
            f"learning_rate: {training.learning_rate:g} moves every weight by about so much in a step of "
            f"{training.optimizer}; usual are 1e-4 to 1e-2",
        )


FASHION_MNIST = (28, 28), 10  # shape of an image, number of classes


def report_pasted_ends(
    architectures: Iterable[Architecture], image_shape: tuple[int, ...], num_classes: int, problems: Problems
) -> None:
    for architecture in architectures:
        for line, message in _pasted_ends(architecture, image_shape, num_classes):
            problems.add(line, f"{message} (architecture '{architecture.name}')")


def _pasted_ends(
    architecture: Architecture, image_shape: tuple[int, ...], num_classes: int
) -> Iterator[tuple[int, str]]:
    """Lines and messages on input and output layers that were pasted along, as only the data can tell."""
    layers, lines = architecture.as_listed, architecture.layer_lines
    if not layers:
        return
    *others, last = layers
    before = others[-1] if others else None
    ends = isinstance(last, Activation | Dense) and last.activation in ("linear", "sigmoid")
    if _units(layers[end := _end(layers)]) == num_classes and layers[end].activation in ("softmax", "log_softmax"):
        yield lines[end], f"{misreadings.PASTED_OUTPUT}; it has {num_classes} units, one for each class"
    elif ends and isinstance(last, Activation) and _units(before) in (1, num_classes):
        if before.activation in (None, "linear"):
            yield (
                lines[-1],
                f"{misreadings.PASTED_OUTPUT}, and the Dense of as many units as there are classes before it",
            )
    elif ends and _units(last) == num_classes:
        yield lines[-1], f"{misreadings.PASTED_OUTPUT}; it has {num_classes} units, one for each class"
    elif _is_open(last, num_classes) and len(layers) > 1 and _is_open(_first_dense(layers), math.prod(image_shape)):
        yield (
            lines[0],
            f"the input ({math.prod(image_shape)}) and the output layer ({num_classes}) are added for you: remove both",
        )


def _doubts_of_layers(
    architecture: Architecture, image_shape: tuple[int, ...], num_classes: int
) -> Iterator[tuple[int, str]]:
    layers, lines = architecture.as_listed, architecture.layer_lines
    pixels, keep = math.prod(image_shape), "to keep it, write {Dense: {units: %d, activation: %s}}"
    activation = architecture.training.activation
    if layers and _is_open(layers[end := _end(layers)], num_classes, 1):
        units = layers[end].units
        which = "one for each class" if units == num_classes else "of which all classes would have to be told"
        yield (
            lines[end],
            f"the last hidden layer has {counted(units, 'unit')}, {which}. If it is the output layer: that is "
            f"added for you, remove it; {keep % (units, activation)}",
        )
    if layers and _is_open(_first_dense(layers), pixels):
        yield (
            lines[0],
            f"the first hidden layer has {pixels:,} units, as many as an image has pixels. If it is the input: that is "
            f"known from the images, remove it; {keep % (pixels, activation)}",
        )
    for position, layer in enumerate(layers):
        if isinstance(layer, BatchNormalization) and layer.momentum <= 0.3:
            yield (
                lines[position],
                f"BatchNormalization keeps {layer.momentum:g} of its averages at each step, as Keras counts; "
                f"PyTorch's momentum {layer.momentum:g} is written momentum: {1 - layer.momentum:g} here",
            )
        is_activation = isinstance(layer, Activation | LeakyReLU | PReLU | ELU)
        if not is_activation or activation == "linear":
            continue
        between = list(itertools.takewhile(_passes_on, reversed(layers[:position])))
        weighted = next(iter(layers[: position - len(between)][::-1]), None)
        is_twice = not between and getattr(layer, "activation", None) == activation == "relu"  # relu of relu is relu
        if hasattr(weighted, "use_bias") and weighted.activation is None and not is_twice:
            name, own = type(weighted).__name__, getattr(layer, "activation", type(layer).__name__)
            yield (
                lines[position - len(between) - 1],
                f"this {name} has {activation} of its own, as {name} without a word has here, and {own} follows; "
                "for the second alone give it activation: linear",
            )


def _end(layers: Sequence[Layer]) -> int:
    """Where the last layer stands that computes something; the first where none does."""
    position = len(layers) - 1
    while position > 0 and (_passes_on(layers[position]) or layers[position] == Activation(activation="linear")):
        position -= 1
    return position


def _first_dense(layers: Sequence[Layer]) -> Layer | None:
    return next((layer for layer in layers if not isinstance(layer, Flatten)), None)


def _units(layer: Layer | None) -> int | None:
    return layer.units if isinstance(layer, Dense) else None


def _is_open(layer: Layer | None, *units: int) -> bool:
    """Whether it is a Dense of so many units that the file gives no activation, as `10` and `{Dense: 10}` do."""
    return _units(layer) in units and layer.activation is None


def _passes_on(layer: Layer) -> bool:
    """Whether it hands on what comes, but for normalising it or leaving out some."""
    kinds = (BatchNormalization, LayerNormalization, Dropout, AlphaDropout)
    return isinstance(layer, (*kinds, GaussianNoise))


def _misfits_of_images(
    architecture: Architecture | Baseline,
    image_shape: tuple[int, ...],
    train: list[int] | None,
    validation: list[int] | None,
) -> list[tuple[str, str]]:
    """Settings that do not fit the images: the key, and what is wrong. `train` and `validation` count each class."""
    found, training = [], architecture.training
    if validation is not None and not sum(validation):
        enough = max(2 * sum(count > 0 for count in train), math.ceil(1 / training.validation_split))
        problem = (
            f"validation_split {training.validation_split:g} of {sum(train):,} training images leaves none to validate "
            f"with, for each class keeps one to train on; use {enough:,} images or more (limit), or a larger share"
        )
        return [("validation_split", problem)]
    try:
        input_shape_of(training.preprocess, image_shape, None if train is None else sum(train))
    except StackError as error:
        found.append(("preprocess", f"preprocess {error}"))
    side = min(image_shape)
    if training.augment is not None and training.augment.shift >= side:
        found.append(
            ("augment", f"augment shift must be below the images' {side} pixels, got {training.augment.shift}")
        )
    if train is not None and isinstance(architecture, Baseline):
        problem = architecture.classifier.misfit([count for count in train if count])
        found += [("", f"{problem} (baseline '{architecture.name}')")] if problem else []
    return found


def training_bytes(architecture: Architecture, size: StackSize) -> int:
    """Memory that the weights of a stack take in training, in float32: their gradient and optimizer variables too."""
    training = architecture.training
    slots = _OPTIMIZER_SLOTS[training.optimizer] + (training.optimizer == "sgd" and training.momentum > 0)
    return 4 * size.params * (1 + slots + 1)


def _in_words(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:,.1f} MiB"

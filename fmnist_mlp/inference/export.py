"""An exported model in other formats, with a card that says what it is, what it is good for and how to load it.

`export_model` is all there is. Each file is run on every test image of the sweep before it is handed over, and what it
says must be what the record has: a format that changes the model is refused, and nothing of it stays. Keras converts
(`model.export`), with TensorFlow alone for a SavedModel and with the packages of the extra `export` for ONNX and
LiteRT. All of them take raw uint8 images and give probabilities. Images divided by 255 are understood by the `.keras`
file and the SavedModel; ONNX and LiteRT take uint8 alone, and whoever feeds them anything else gets an error.

Leaves to others: finding the model and its record (`finished`), arguments and printing (`cli`).
"""

import contextlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_mlp.data.class_names import ENTRY, LABELS_FILE, in_json, with_class_names
from fmnist_mlp.errors import SweepError, cannot_write
from fmnist_mlp.inference.finished import CLASSES_FILE, FinishedSweep
from fmnist_mlp.inference.predictor import load_model
from fmnist_mlp.results.cautions import chosen_by_its_trials, of_the_choice
from fmnist_mlp.results.columns import NO_VALUES, TableRow, interval_in_words, verdict_in_words, with_spread
from fmnist_mlp.results.record import DamagedRecord, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.in_words import layers_in_words, steps_in_words
from fmnist_mlp.sweepfile.seeds import seed_number
from fmnist_mlp.sweepfile.sweep import read_folder_name
from fmnist_mlp.training import worker
from fmnist_mlp.words import harmless, in_markdown

CARD_FILE = "README.md"

# The record keeps probabilities in 16 bits, which rounds them by up to 0.00024; other orders of the same sums change
# float32 by some 0.000002 (measured on dense stacks). A GPU multiplies with 10 bits of mantissa (TF32) where it may.
TOLERANCE, TOLERANCE_OF_GPU_RECORDS = 0.001, 0.01
_BATCH_SIZE = 1000


@dataclass(frozen=True)
class Check:
    """How a format's predictions on the test images compare with the record's.

    Args:
        file: name of the file or folder.
        images: test images that were compared.
        largest_difference: of any probability from the record's.
        changed: images that get another class than in the record; only near ties can.
        tolerance: what `largest_difference` may be.
    """

    file: str
    images: int
    largest_difference: float
    changed: int
    tolerance: float

    def in_words(self) -> str:
        classes = "none gets another class" if not self.changed else f"{self.changed} near ties get another class"
        return (
            f"checked on {self.images:,} test images: probabilities within {self.largest_difference:.5f} of the "
            f"record's (allowed: {self.tolerance:g}), {classes}"
        )


@dataclass(frozen=True)
class Exported:
    """What was written: a folder and, for each format, its check; and what nobody who uses the model may overlook."""

    folder: Path
    checks: tuple[Check, ...]
    caveats: tuple[str, ...] = ()


def export_model(
    results_dir: Path,
    sweep: str,
    name: str,
    folder: Path,
    formats: Sequence[str] = ("keras",),
    *,
    data_dir: Path | None = None,
) -> Exported:
    """Write the exported model of an architecture in these formats, checked, with its card, into a folder.

    Args:
        results_dir: the results folder.
        sweep: name of the sweep.
        name: of the architecture.
        folder: new or empty; it appears with all that belongs in it, or not at all.
        formats: of `FORMATS`.
        data_dir: where Fashion-MNIST lies, if not in Keras's cache.

    Raises:
        SweepError: there is no such model, no record or no images to check it with; an extra is missing; a format
            cannot hold the model or predicts something else; the folder cannot be written.
    """
    for name_of_format in formats:
        FORMATS[name_of_format].check_installed()
    _check_is_free(folder)
    finished = FinishedSweep(results_dir, sweep)
    model_path, record = finished.model_path(name), finished.record(name)
    if record is None:
        raise SweepError(f"{model_path}: no record has this model, so it cannot be checked: run python sweep.py again")
    recorded = _load_predictions(finished.results, record)
    x_test = finished.load_images(record, data_dir).x_test
    if len(x_test) != len(recorded.predicted):
        raise SweepError(f"{model_path}: its record has predictions of other test images: run python sweep.py again")

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            checks = [
                _write_checked(FORMATS[each], name, model_path, draft, record, x_test, recorded) for each in formats
            ]
            card = _card(name, finished, record, x_test, formats, checks)
            (draft / CARD_FILE).write_text(card, encoding="utf-8")
            (draft / CLASSES_FILE).write_text(json.dumps(record.class_names) + "\n", encoding="utf-8")
            draft.chmod(0o755)  # mkdtemp shuts everybody else out
            if folder.is_dir():
                folder.rmdir()  # empty, or this fails; Windows renames to no folder that exists
            os.replace(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return Exported(folder, tuple(checks), tuple(finished.caveats(name)))


def _check_is_free(folder: Path) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise SweepError(f"{folder}: is a file; give a new or empty folder")
        if folder.is_dir() and any(folder.iterdir()):
            raise SweepError(f"{folder}: is not empty; give a new or empty folder, and all formats at once")
    except OSError as error:
        raise cannot_write(folder, error) from error


@dataclass(frozen=True, eq=False)
class _Predictions:
    """What the record's model said of the test images: float32 `(n, classes)`, and the classes `(n,)` it gave them."""

    probabilities: np.ndarray
    predicted: np.ndarray


def _load_predictions(results: Results, record: Record) -> _Predictions:
    try:
        probabilities, predicted = results.load_predictions(record.fingerprint, "probabilities", "predicted")
    except DamagedRecord as error:
        raise SweepError(f"{harmless(str(error))[:400]}: run python sweep.py again") from error
    return _Predictions(probabilities.astype(np.float32), predicted)


def _write_checked(
    one: "Format",
    name: str,
    model_path: Path,
    draft: Path,
    record: Record,
    x_test: np.ndarray,
    recorded: _Predictions,
) -> Check:
    path = draft / f"{name}{one.suffix}"
    try:
        with _silence():
            one.write(model_path, path, record.class_names)
            run = one.load(path)
            batches = range(0, len(x_test), _BATCH_SIZE)
            probabilities = np.concatenate([run(x_test[start : start + _BATCH_SIZE]) for start in batches])
    except (SweepError, OSError):
        raise
    except Exception as error:  # each converter has its own; a layer that it does not know, as a rule
        reason = harmless(" ".join(str(error).split()))[:300] or type(error).__name__
        raise SweepError(f"{name} cannot be had as {one.name}, choose another format: {reason}") from error
    is_of_gpu = record.environment.get("device", "cpu") != "cpu"
    tolerance = TOLERANCE_OF_GPU_RECORDS if is_of_gpu else TOLERANCE
    if probabilities.shape != recorded.probabilities.shape:
        given, wanted = probabilities.shape, recorded.probabilities.shape
        raise SweepError(f"{name} as {one.name} gives {given} instead of {wanted}: nothing was written")
    difference = float(np.abs(probabilities - recorded.probabilities).max())
    if not difference <= tolerance:  # so that NaN is refused too
        raise SweepError(
            f"{name} as {one.name} predicts something else than its record: probabilities differ by up to "
            f"{difference:.4f}, {tolerance:g} is allowed: nothing was written"
        )
    changed = int((probabilities.argmax(axis=1) != recorded.predicted).sum())
    return Check(path.name, len(x_test), difference, changed, tolerance)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep converters from printing: their progress is not about anything that a user could do."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "absl")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), worker.quiet_start(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")  # tf2onnx 1.17 and Keras's patch of it use what numpy 2 deprecates
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)  # what fails is raised too
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


# ---- formats ------------------------------------------------------------------------------------------------------

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Format:
    """A format that a model can be had in.

    Args:
        name: as people call it.
        suffix: of the file or folder.
        write: converts a `.keras` file into a new file or folder that carries these names of classes.
        names: Python that reads those names back, `{file}` to be filled in.
        load: what turns uint8 images `(n, height, width)` into probabilities, from that file, without this package.
        snippet: the same for the card: Python that ends with `probabilities`; `{file}` and `{shape}` are filled in.
        modules: what has to be installed, beyond TensorFlow.
    """

    name: str
    suffix: str
    write: Callable[[Path, Path, Sequence[str]], Any]
    load: Callable[[Path], Run]
    snippet: str
    names: str
    modules: tuple[str, ...] = ()

    def check_installed(self) -> None:
        """Raises: SweepError: a package is missing."""
        missing = [module for module in self.modules if importlib.util.find_spec(module) is None]
        if missing:
            raise SweepError(f"{self.name} needs {', '.join(missing)}: pip install '.[export]' in the project's folder")


def _write_keras(model_path: Path, path: Path, names: Sequence[str]) -> None:
    path.write_bytes(with_class_names(model_path, names))


def _load_keras(path: Path) -> Run:
    model = load_model(path)
    return lambda images: model(images, training=False).numpy()


def _write_saved_model(model_path: Path, path: Path, names: Sequence[str]) -> None:
    # With the guard: a SavedModel casts numpy arrays to the type of its input without a word.
    load_model(model_path).export(path, format="tf_saved_model", verbose=False)
    (path / "assets.extra").mkdir()  # where TensorFlow has files of users; it never reads them
    (path / "assets.extra" / ENTRY).write_text(in_json(names), encoding="utf-8")


def _load_saved_model(path: Path) -> Run:
    import tensorflow as tf

    model = tf.saved_model.load(path)
    return lambda images: model.serve(images).numpy()


def _load_for_conversion(model_path: Path):
    model = load_model(model_path)
    from fmnist_mlp.training import models  # after Keras, which `load_model` imports as it should be

    return models.without_guard(model)


def _write_onnx(model_path: Path, path: Path, names: Sequence[str]) -> None:
    import onnx  # of the extra `export`

    model = _load_for_conversion(model_path)
    model(np.zeros((1, *model.input_shape[1:]), np.uint8))  # Keras 3.15 converts no model that was never called
    for layer in model.layers:
        if type(layer).__name__ == "Normalization":
            # tf2onnx 1.17 writes variables as constants, but takes tensors that a layer holds for further inputs.
            layer.mean, layer.variance = _as_variable(layer.mean), _as_variable(layer.variance)
    model.export(path, format="onnx", verbose=False)
    converted = onnx.load(path)
    onnx.helper.set_model_props(converted, {"class_names": in_json(names).strip()})
    onnx.save(converted, path)


def _as_variable(tensor):
    import tensorflow as tf

    return tf.Variable(tensor, trainable=False)


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"image": images})[0]


def _write_litert(model_path: Path, path: Path, names: Sequence[str]) -> None:
    _load_for_conversion(model_path).export(path, format="litert", verbose=False)
    # As TensorFlow Lite's own metadata library packs associated files: a zip archive behind the model, which readers of
    # the model never reach.
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), "".join(f"{name}\n" for name in names))


def _load_litert(path: Path) -> Run:
    # Not tf.lite.Interpreter, which TensorFlow is about to drop.
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path)).get_signature_runner("serving_default")
    return lambda images: run(image=images)["output_0"]


_IMAGES_LINE = 'images = np.zeros((1, {shape}), "uint8")  # yours: a light garment on black, as in the data'

FORMATS: Mapping[str, Format] = {
    "keras": Format(
        "Keras",
        ".keras",
        _write_keras,
        _load_keras,
        f"""import keras
import numpy as np

model = keras.models.load_model({{file}})
{_IMAGES_LINE}
probabilities = model.predict(images, verbose=0)""",
        'json.loads(zipfile.ZipFile({file}).read("class_names.json"))',
    ),
    "savedmodel": Format(
        "SavedModel",
        ".savedmodel",
        _write_saved_model,
        _load_saved_model,
        f"""import numpy as np
import tensorflow as tf

model = tf.saved_model.load({{file}})
{_IMAGES_LINE}
probabilities = model.serve(images).numpy()""",
        'json.loads(pathlib.Path({file}, "assets.extra", "class_names.json").read_text("utf-8"))',
    ),
    "onnx": Format(
        "ONNX",
        ".onnx",
        _write_onnx,
        _load_onnx,
        f"""import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({{file}})
{_IMAGES_LINE}
probabilities = session.run(None, {{{{"image": images}}}})[0]""",
        'json.loads(session.get_modelmeta().custom_metadata_map["class_names"])',
        modules=("tf2onnx", "onnx", "onnxruntime"),
    ),
    "litert": Format(
        "LiteRT",
        ".tflite",
        _write_litert,
        _load_litert,
        f"""import numpy as np
from ai_edge_litert.interpreter import Interpreter

run = Interpreter({{file}}).get_signature_runner("serving_default")
{_IMAGES_LINE}
probabilities = run(image=images)["output_0"]""",
        'zipfile.ZipFile({file}).read("labels.txt").decode().splitlines()',
        modules=("ai_edge_litert",),
    ),
}


# ---- the card -----------------------------------------------------------------------------------------------------


def _card(
    name: str,
    finished: FinishedSweep,
    record: Record,
    x_test: np.ndarray,
    formats: Sequence[str],
    checks: Sequence[Check],
) -> str:
    """The model card, in Markdown."""
    row = finished.row(name)
    height, width = x_test.shape[1:]
    shape = f"{height}, {width}"
    quick_look = read_folder_name(finished.name)[1].options
    parts = [
        f"# {name}",
        *([f"**A quick look** (`{quick_look}`), not what the full sweep trains."] if quick_look else []),
        f"A neural network that tells {len(record.class_names)} kinds of {height}x{width} gray images apart: "
        f"{', '.join(map(in_markdown, record.class_names))}.",
        "## Data",
        _about_data(record, len(x_test)),
        "## Use and limits",
        "To learn and to compare with. It takes images such as it was trained on, "
        f"`uint8` of shape `(n, {shape})`, raw, and gives probabilities `(n, {len(record.class_names)})`. "
        "It always names one of its classes, for pictures of anything else too, and its probabilities are measured on "
        "images of the same source: photographs of another kind get worse answers. Nothing that matters to a person "
        "should hang on it.",
        "## Layers",
        _layers(record),
        f"{record.params:,} parameters, {record.flops:,} floating point operations an image.",
        "## Training",
        _two_columns("setting", _training(record)),
        "## Metrics",
        _metrics(row, record, finished.name),
        *(of_the_choice(finished.rows()) if chosen_by_its_trials(finished.rows()) == row else ()),
        _classes(record),
        "## Made with",
        _two_columns("what", {key: value for key, value in record.environment.items() if key != "host" and value}),
        "## Files",
        "\n".join(f"- `{check.file}`: {check.in_words()}." for check in checks)
        + f"\n- `{CLASSES_FILE}`: the names of the classes, in the order of the probabilities.",
        "## How to load it",
    ]
    for each, check in zip(formats, checks, strict=True):
        snippet = FORMATS[each].snippet.format(file=json.dumps(check.file), shape=shape)
        names = FORMATS[each].names.format(file=json.dumps(check.file))
        modules = [module for module in ("json", "pathlib", "zipfile") if f"{module}." in names]
        snippet += "".join(f"\nimport {module}" for module in modules)
        snippet += f"\nclass_names = {names}\nprint(class_names[probabilities[0].argmax()])"
        needs = ", ".join(FORMATS[each].modules[-1:]) or "tensorflow"
        parts.append(f"{FORMATS[each].name}, with `{needs}` installed:\n\n```python\n{snippet}\n```")
    return "\n\n".join(parts) + "\n"


def _about_data(record: Record, test_images: int) -> str:
    what = {
        "fashion_mnist": "Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747; MIT licence): articles of "
        "Zalando's shop, each photographed alone, light on black.",
        "synthetic": "**Not Fashion-MNIST**: the generated stand-in of this project, garments drawn by a program. "
        "What the figures below say holds for such drawings only.",
    }.get(record.dataset, f"A data set of the user's own, {in_markdown(record.dataset)}.")
    validation = f"{record.val_images:,} validation images set aside from them"
    if record.is_refit:
        validation = "none set aside for validation (refit, once others had shown which architecture to take)"
    return (
        f"{what} {record.train_images:,} training images, {validation}, "
        f"{test_images:,} test images that decided nothing. SHA-256 of the data: `{record.settings['data']}`."
    )


def _layers(record: Record) -> str:
    lines = ["pixels divided by 255"]
    lines += [f"{in_markdown(step)}, fitted on the training images" for step in steps_in_words(record.settings)]
    lines += map(in_markdown, layers_in_words(record.settings))
    lines.append(f"Dense units={len(record.class_names)}, softmax")
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def _training(record: Record) -> dict[str, Any]:
    settings = record.settings
    about = {"loss": "cross-entropy"} | {k: v for k, v in settings["training"].items() if k != "preprocess"}
    about |= {"epochs trained": len(record.history["loss"]), "weights of": record.weights}
    about |= {"refit" if record.is_refit else "seed": seed_number(settings["seed"])}
    return about | {key: settings[key] for key in ("fold", "limit") if settings.get(key) is not None}


def _metrics(row: TableRow, record: Record, sweep: str) -> str:
    """This model beside the mean of its architecture's trials, whose interval tells what another seed would give."""
    lines = ["| measure | this model | mean of trials ± standard deviation | 95 % interval of the mean |"]
    lines += ["|---|--:|--:|--:|"]
    for metric in ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "test_macro_f1", "test_ece"):
        if metric not in record.metrics:  # a refit has no validation
            continue
        # The like of a refit are refits; the table has two measures of theirs.
        figure = getattr(row, f"refit_{metric}" if record.is_refit else metric, NO_VALUES)
        spread = [with_spread(figure), interval_in_words(figure)]
        lines.append(f"| {metric} | {' | '.join([f'{record.metrics[metric]:.4f}', *spread])} |")
    trials = (row.refit_trials if record.is_refit else row.trials) or 1
    how = "the first of {} refits" if record.is_refit else "the best of {} trials by validation"
    only = "the only refit" if record.is_refit else "the only trial"
    chosen = only if trials == 1 else how.format(trials)
    verdict = verdict_in_words(row) or "none yet"
    return "\n".join(lines) + (
        f"\n\nThis model is {chosen} of its architecture. Verdict on the architecture in the sweep {sweep}: {verdict}. "
        f"Its trial: `{record.fingerprint}`."
    )


def _classes(record: Record) -> str:
    scores = record.classes["test"]
    lines = ["| class | precision | recall | F1 |", "|---|--:|--:|--:|"]
    for name, *values in zip(record.class_names, scores.precision, scores.recall, scores.f1, strict=True):
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        lines.append(f"| {in_markdown(name)} | {' | '.join(cells)} |")
    return "\n".join(["On the test images:", "", *lines])


def _two_columns(head: str, content: Mapping[str, Any]) -> str:
    lines = [f"| {head} | |", "|---|---|"]
    return "\n".join(
        [*lines, *(f"| {in_markdown(str(key))} | {in_markdown(str(value))} |" for key, value in content.items())]
    )

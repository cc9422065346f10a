"""Everything written under `logs/`: what TensorBoard reads.

Each figure is made where what it needs is at hand, and shown where its name is known:

- While a trial trains, Keras's own callback writes its curves into a folder of the trial beside the records
  (`start_live`), with histograms where they are asked for. The parent copies what is new of them to
  `logs/<sweep>/<architecture>/seed-<n>/{train,validation}/` (`SweepLogs.mirror`), so that they grow while one watches.
- When it is done, its worker has the model and the images: confusion matrix, mistakes, precision-recall curves and the
  last hidden layer of some test images go into its record (`write_scores`), beside the curves (`keep_events`).
- The parent makes the folder a view of that record: copied event files, one HParams session and the final figures
  under the architecture's present name (`SweepLogs.sync`, `show`). So after a rename or a rerun the logs
  hold the curves of the latest plan and no others.
- At the end of a run the parent adds what belongs to no single trial (`SweepLogs.show_sweep`): a page and the graph of
  each architecture in `<architecture>/`, and in `_sweep/` the table, the Pareto picture, the chart of each
  architecture's training and validation, and the embedding projector. What is in step is not written again.

Under `logs/` is nothing that is not elsewhere: `views` tells what we wrote there from what a person did.

TensorBoard's protocol buffers are used without TensorFlow (0.1 s to import), so a rerun with nothing to do stays quick;
Keras is imported only by the callback, in workers, and pictures are drawn with Pillow, which a worker loads in 20 ms.
"""

import contextlib
import functools
import hashlib
import io
import json
import math
import shlex
import shutil
import socket
import statistics
import time
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_mlp.data import source as data
from fmnist_mlp.data.class_names import present
from fmnist_mlp.data.source import DataInfo, Dataset, DataSource
from fmnist_mlp.errors import SweepError, cannot_write
from fmnist_mlp.files import write_whole
from fmnist_mlp.report import plots
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.store import DamagedRecord, Record, Results
from fmnist_mlp.results.views import Views
from fmnist_mlp.sweepfile import layers as stacks
from fmnist_mlp.sweepfile.read import OF_A_BASELINE, Architecture, Baseline, Sweep, Trial
from fmnist_mlp.training import preprocess
from fmnist_mlp.words import code_in_markdown, in_markdown

_FORMAT = 1  # of what the parent writes: raise it when the same records give other views

# Says which trial a folder shows, and whether it is in training, done or failed.
_MARKER = ".trial"
_LIVE = "training"
_SECONDS_BETWEEN_MIRRORS = 1.0

_EVENTS = "events.out.tfevents.*"
_SWEEP_RUN = "_sweep"  # no architecture is named so: names that begin with _ are ours

# Two of the Okabe-Ito colours: they differ for every kind of colour blindness.
_BLUE, _ORANGE = (0, 114, 178), (213, 94, 0)


class SweepLogs:
    """The folder `logs/<sweep>/`.

    Args:
        root: the logs folder.
        sweep: named by the folder below it.
    """

    def __init__(self, root: Path, sweep: Sweep):
        self.folder = Path(root) / sweep.folder_name
        self._views = Views(self.folder)
        self._mirrored: dict[str, float] = {}  # when, by the trial's fingerprint

    def trial_folder(self, trial: Trial) -> Path:
        """`logs/<sweep>/<architecture>/[refit-]seed-0[/fold-0]`: TensorBoard's name of the run."""
        return self.folder / _run_of(trial)

    def sync(self, results: Results, plan: Iterable[Trial], records: Mapping[str, Record]) -> None:
        """Make every trial's folder show its record and remove what the plan does not ask for.

        A folder in step is left alone, and so is whatever we did not write.

        Raises:
            SweepError: the logs cannot be written.
        """
        wanted, parts = {_run_of(trial): trial for trial in plan}, self._views.parts()
        with _writing(self.folder):
            for run in wanted:
                folder = self.folder / run
                is_ours = not folder.is_dir() or (folder / _MARKER).exists() or self._views.names(run)
                if not is_ours and next(folder.rglob(_EVENTS), None):
                    raise SweepError(f"{folder} holds files of somebody else: move them, or use another --logs-dir")
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._views.is_unknown:
                self._take_over(results)
        architectures = {trial.architecture.name for trial in wanted.values()}
        for part in parts:
            is_wanted = part in wanted if "/" in part else part in architectures or (part == _SWEEP_RUN and wanted)
            if not is_wanted:
                self._views.remove(self._views.names(part))
        for trial in wanted.values():
            self.show(results, trial, records.get(trial.fingerprint))

    def show(self, results: Results, trial: Trial, record: Record | None) -> None:
        """Make one trial's folder a view of its record: its curves, one HParams row, nothing of earlier trials."""
        run, state = _run_of(trial), f"{trial.fingerprint} {record.status if record else _LIVE}\n"
        if record is None:
            if self._marker(run) != state:  # else in training, perhaps by another sweep, or about to go on
                self._views.remove(self._views.names(run))
            return
        key = _hash([_FORMAT, state, results.content_key(trial.fingerprint), self.folder.name, _shown_name(trial)])
        if not self._views.is_in_step(run, key):
            with _writing(self.folder / run):
                group = f"{self.folder.name}/{_shown_name(trial)}"
                session, content = _event_file("session", _session(group, trial, record))
                events, shown = results.events(trial.fingerprint), {*self._views.names(run)}
                for name in events:
                    if f"{run}/{name}" in shown:  # a TensorBoard that has it open reads on
                        path = results.record_folder(trial.fingerprint) / "events" / name
                        self._views.grow(f"{run}/{name}", path, run, _LIVE)
            contents = events | {session: content, _MARKER: state}
            self._views.show(run, key, {f"{run}/{name}": content for name, content in contents.items()})

    def mirror(self, trial: Trial, live: Path, at_once: bool = False) -> None:
        """Show the curves of a trial in training as they are by now; at most once a second, unless `at_once`.

        A folder that shows another trial by now, since another run has the logs, is left to it. What cannot be written
        waits for the record: only its curves are late.

        Args:
            live: the folder that `start_live` was given; nothing is shown where there is none, as on a cluster.
        """
        now, run, state = time.monotonic(), _run_of(trial), f"{trial.fingerprint} {_LIVE}\n"
        if not at_once and now - self._mirrored.get(trial.fingerprint, -math.inf) < _SECONDS_BETWEEN_MIRRORS:
            return
        with contextlib.suppress(OSError, SweepError):
            names = {path.relative_to(live).as_posix(): path for path in live.rglob(_EVENTS)}
            marker = self._marker(run)
            if not names or (marker or state).split()[:1] not in ([], [trial.fingerprint]):
                return
            self._mirrored[trial.fingerprint] = now
            if marker != state:
                self._views.show(run, _LIVE, {f"{run}/{_MARKER}": state})
            kept = {f"{run}/{name}" for name in (*names, _MARKER)}
            self._views.remove(name for name in self._views.names(run) if name not in kept)
            for name, path in names.items():
                self._views.grow(f"{run}/{name}", path, run, _LIVE)

    def show_sweep(
        self, results: Results, state: ranking.SweepState, rows: Sequence[dict], info: DataInfo, source: DataSource
    ) -> None:
        """Bring what belongs to no single trial in step: each architecture's own run, and the run `_sweep`.

        Needs no TensorFlow; a second when something has changed, a hash of the rows when nothing has.

        Args:
            results: where the records lie.
            state: what the table is made of.
            rows: of the table, from `table.write_tables`.
            info: of the images.
            source: of the images; read only where the embedding projector changes.

        Raises:
            SweepError: the logs cannot be written.
        """
        best = ranking.rank(state).best_trials
        if not best:
            self._views.remove(self._views.names(_SWEEP_RUN))
            return
        trials = [[trial.architecture.name, trial.fingerprint] for trial in (*state.trials, *state.refits)]
        key = _hash([_FORMAT, state.sweep.title, str(state.sweep.path), trials, rows, list(state.class_names)])
        for architecture in {trial.architecture.name: trial.architecture for trial in state.trials}.values():
            self._show_architecture(results, state, architecture, info, best.get(architecture.name))
        if self._views.is_in_step(_SWEEP_RUN, key):
            return
        networks = _rank_networks(state)
        contents = _projector(results, best[networks[0]] if networks else None, source, info)
        for run_name, prefix in _CURVE_RUNS.items():
            name, content = _event_file("curves", _mean_curves(state, networks[:_MOST_CHARTS], prefix))
            contents[f"{run_name}/{name}"] = content
        contents |= [_event_file(f"{key}.sweep", _sweep_events(state, rows, networks[:_MOST_CHARTS]))]
        self._views.show(_SWEEP_RUN, key, {f"{_SWEEP_RUN}/{name}": content for name, content in contents.items()})

    def take_notices(self) -> list[str]:
        """What is to be said of files that people changed, a line each; every line once."""
        notices = self._views.notices[:]
        self._views.notices.clear()
        return notices

    def _show_architecture(
        self,
        results: Results,
        state: ranking.SweepState,
        architecture: Architecture | Baseline,
        info: DataInfo,
        best: Trial | None,
    ) -> None:
        page = _architecture_page(state, architecture, info)
        key = _hash([_FORMAT, page, best is not None])
        if not self._views.is_in_step(architecture.name, key):
            graph = None
            if best is not None:
                with contextlib.suppress(DamagedRecord):
                    graph = _graph(results.read_file(best.fingerprint, "model.keras"))
            name, content = _event_file(f"{key}.architecture", _architecture_events(page, graph))
            self._views.show(architecture.name, key, {f"{architecture.name}/{name}": content})

    def _marker(self, run: str) -> str | None:
        """What the folder of a run says that it shows."""
        text = _read(self.folder / run / _MARKER)
        return None if text is None else " ".join(text.split()[:2]) + "\n"

    def _take_over(self, results: Results) -> None:
        """Make room in a folder of an earlier version, which had no journal: what is surely ours is removed.

        That is what is linked to a record, and by its name and form what only the parent writes. What the training of
        an interrupted trial left is not: it gets another name.
        """
        results.drop_links(self.folder)
        for path in self.folder.rglob(_EVENTS):
            if path.suffix in _KINDS and _is_whole(path):
                path.unlink()
        for marker in self.folder.rglob(_MARKER):
            words = (_read(marker) or "").split()
            if len(words) in (2, 3) and len(words[0]) == 64:
                live = [path for part in ("train", "validation") for path in (marker.parent / part).glob(_EVENTS)]
                for path in live if words[1] == _LIVE else ():
                    self._views.set_aside(path.relative_to(self.folder).as_posix())
                marker.unlink()


@dataclass(frozen=True, eq=False)
class Histograms:
    """Asks `start_live` for histograms, and says what gradients are taken of.

    Args:
        images: `compiled_epoch.ResidentData`, all training images.
        indices: of those that the trial trains on.
        training: `config.Training`.
    """

    images: Any
    indices: np.ndarray
    training: Any


def start_live(folder: Path, checkpoint: Path | None = None, histograms: Histograms | None = None):
    """Give Keras's TensorBoard callback that writes into an empty folder while a trial trains.

    Args:
        folder: `Results.live_folder`.
        checkpoint: a folder that `keep_events` wrote into; its curves end where the checkpoint does and are put back.
        histograms: log histograms of weights and gradient norms too; the training is the same to the last bit.

    Returns:
        `keras.callbacks.TensorBoard`, which also flushes at the end of an epoch, at most once a second, so that curves
        grow while one watches.
    """
    # Imported here: Keras belongs to workers only.
    import keras

    class LiveTensorBoard(keras.callbacks.TensorBoard):
        _flushed = 0.0

        def set_model(self, model):
            super().set_model(model)
            self._gradient_norms = _gradient_norms(model, histograms) if histograms else None

        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            if self._gradient_norms:
                with self._train_writer.as_default():
                    for name, norms in self._gradient_norms().items():
                        self.summary.histogram(f"gradient_norm/{name}", norms, step=epoch)
            if time.monotonic() - self._flushed >= 1:
                self.flush()

        def on_test_end(self, logs=None):
            """Without Keras's `evaluation_*_vs_iterations`: validation by epochs is there already."""
            self._pop_writer()

        def flush(self):
            self._flushed = time.monotonic()
            for writer in self._writers.values():
                writer.flush()

    with _writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        if checkpoint is not None and (checkpoint / "events").is_dir():
            shutil.copytree(checkpoint / "events", folder, dirs_exist_ok=True)
    return LiveTensorBoard(folder, write_graph=False, histogram_freq=1 if histograms else 0)


def keep_events(folder: Path, draft: Path, must_be_whole: bool = True) -> None:
    """Copy a trial's event files into the draft of its record or of a checkpoint.

    Raises:
        SweepError: a file is cut off. TensorFlow's writer says nothing when the disk is full.
    """
    for source in folder.rglob(_EVENTS):
        if must_be_whole and not _is_whole(source):
            raise SweepError(f"{source} is cut off (is the disk full?): free space there and run again")
        target = draft / "events" / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def restore_curves(draft: Path, history: Mapping[str, Sequence[float]]) -> bool:
    """Write the curves of a trial anew where somebody deleted them while it trained.

    Args:
        draft: of the record, after `keep_events`.
        history: what Keras's `History` holds; it has all but histograms.

    Returns:
        Whether that was necessary.
    """
    was_necessary = False
    for run, prefix in _CURVE_RUNS.items():
        curves = {m: history[prefix + m] for m in (*_CURVES, "learning_rate") if prefix + m in history}
        epochs = max(map(len, curves.values()), default=0)
        folder = draft / "events" / run
        if _epochs_in(folder) >= {*range(epochs)}:
            continue
        was_necessary = True
        shutil.rmtree(folder, ignore_errors=True)
        steps = ((i, [_scalar_value(f"epoch_{m}", float(c[i])) for m, c in curves.items()]) for i in range(epochs))
        _write_run(folder, "v2", steps)
    return was_necessary


def write_scores(
    draft: Path, exported, images: Dataset, predicted: np.ndarray, probabilities: np.ndarray | None
) -> None:
    """Put what the test images show of a trained model into the draft of its record.

    One event file with the confusion matrix and the most confident mistakes as pictures and the precision-recall curve
    of each class; and what the last hidden layer makes of a sample of the images, for the embedding projector. Some
    0.1 MiB in all (0.25 where that layer is wide), whatever the number of test images.

    Args:
        draft: of the record.
        exported: `models.exported_model`; it takes images as they are stored. None for a baseline, which has no layers.
        images: the data set.
        predicted: the class that the model gives each test image: integers, `(n,)`.
        probabilities: of each class, `(n, num_classes)`; None where there are none, and so neither curves nor
            confidence.
    """
    matrix = _confusion_matrix(images.y_test, predicted, images.num_classes)
    about = f"How many of {len(predicted):,} test images of each class (row) were given which class (column)."
    values = [_image_value("confusion_matrix", _draw_confusion_matrix(matrix, images.class_names), about)]
    if probabilities is not None:
        mistakes = _most_confident_mistakes(images.y_test, predicted, probabilities)
        if len(mistakes):
            about = f"The {len(mistakes)} most confident of {len(predicted) - matrix.trace():,} mistakes, surest first."
            values.append(_image_value("mistakes", _draw_mistakes(images, mistakes, predicted, probabilities), about))
        values += _precision_recall_values(images.y_test, probabilities, images.class_names)
    _write_run(draft / "events", "scores", [(0, values)])
    if exported is not None:
        sample = images.x_test[projector_sample(images.y_test)]
        _keep_last_hidden_layer(draft / "events" / _HIDDEN, exported, sample)


# ---- one HParams session a trial ----------------------------------------------------------------------------------


def _session(group: str, trial: Trial, record: Record) -> list:
    """Events of the trial's own run: its HParams session and its final figures.

    The session's name is the run's, so it links to its curves; those of one group, the repeats of an architecture,
    make one row, with their means. So no hyperparameter may differ between them. No value is ever None: TensorBoard
    drops such rows (tensorboard issue 4770).
    """
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    started = float(record.measured.get("started_at_seconds", 0.0))
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=started, group_name=group)
    for name, value in _hyperparameters(trial, record).items():
        if isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    end = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.STATUS_SUCCESS if record.is_done else api_pb2.STATUS_FAILURE,
        end_time_secs=started + float(record.measured.get("train_seconds") or 0.0),
    )
    experiment = _experiment(_hyperparameters(trial, record))
    figures = {"params": record.params, **record.metrics}
    values = [
        _hparams_value(metadata, metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment)),
        _hparams_value(
            metadata, metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start)
        ),
        *(
            _scalar_value(name, value)
            for name, value in figures.items()
            if name in ("params", *_METRICS) and value is not None
        ),
        _hparams_value(
            metadata, metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end)
        ),
    ]
    return [(0, values)]


# TensorBoard's table shows the hyperparameters that differ first, then the metrics in this order.
_DIFFER = ("architecture", "learning_rate", "optimizer", "params", "widths")
_METRICS = ("test_accuracy", "test_loss", "val_accuracy", "val_loss")


def _experiment(hyperparameters: dict[str, str | int | float]):
    """The columns of the HParams table; in every session the same, since TensorBoard takes the first it finds."""
    from tensorboard.plugins.hparams import api_pb2

    def column(name, value):
        kind = api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64
        return api_pb2.HParamInfo(name=name, type=kind, differs=name in _DIFFER)

    return api_pb2.Experiment(
        hparam_infos=[column(name, value) for name, value in hyperparameters.items()],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(group="", tag=tag)) for tag in _METRICS],
    )


def _shown_name(trial: Trial) -> str:
    """Refits make a row of their own: they have no validation, and were trained on more images."""
    return f"{trial.architecture.name}{' (refit)' if trial.is_refit else ''}"


def _hyperparameters(trial: Trial, record: Record) -> dict[str, str | int | float]:
    """The same for every trial: a baseline has none or 0 in place of what it lacks."""
    architecture, training, is_network = trial.architecture, trial.architecture.training, not record.is_baseline
    layers = architecture.layers if is_network else ()
    widths = [layer.units for layer in layers if isinstance(layer, stacks.Dense)]
    return {
        "architecture": _shown_name(trial),
        "depth": len(widths),
        "widths": "-".join(map(str, widths)) or "none",
        "params": record.params or 0,
        "optimizer": training.optimizer if is_network else "none",
        "learning_rate": training.learning_rate if is_network else 0,
        "batch_size": training.batch_size if is_network else 0,
        "epochs": training.epochs if is_network else 0,
        "dataset": record.dataset,
    }


# ---- what the test images show of a model -------------------------------------------------------------------------

_MISTAKES, _MISTAKES_A_ROW = 25, 5
# Precision-recall curves of ten classes with so many points take 24 KB; with more classes they get fewer.
_MOST_THRESHOLDS, _MOST_POINTS = 101, 5_000


def _confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """How many images of each class (row) were given which class (column)."""
    pairs = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _most_confident_mistakes(labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Indices of the images that were given a wrong class with most confidence, at most `_MISTAKES`, surest first."""
    wrong = np.flatnonzero(labels != predicted)
    confidence = probabilities[wrong, predicted[wrong]].astype(np.float32)
    return wrong[np.argsort(-confidence, kind="stable")[:_MISTAKES]]


def _precision_recall_values(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> list:
    """A summary value a class, as TensorBoard's pr_curves plugin lays it out.

    Its tensor is (6, thresholds): true and false positives, true and false negatives, precision, recall, where an image
    counts as positive whose probability is at least the threshold; the thresholds divide 0 to 1 evenly.
    """
    from tensorboard.plugins.pr_curve import metadata

    num_classes = len(class_names)
    thresholds = max(11, min(_MOST_THRESHOLDS, _MOST_POINTS // num_classes))
    # Which thresholds a probability reaches: those up to this one.
    reached = np.floor(probabilities.astype(np.float64) * (thresholds - 1)).astype(np.int64)  # (images, classes)
    is_class = labels[:, None] == np.arange(num_classes)
    values = []
    for c, name in enumerate(class_names):
        counts = [
            np.bincount(reached[chosen, c], minlength=thresholds)[::-1].cumsum()[::-1].astype(np.float32)
            for chosen in (is_class[:, c], ~is_class[:, c])
        ]
        true_positives, false_positives = counts
        positives, negatives = np.count_nonzero(is_class[:, c]), np.count_nonzero(~is_class[:, c])
        curve = np.stack(
            [
                true_positives,
                false_positives,
                negatives - false_positives,
                positives - true_positives,
                true_positives / np.maximum(true_positives + false_positives, 1),
                true_positives / max(positives, 1),
            ]
        )
        about = f"Precision against recall of {name}, by the least probability that counts; test images."
        kind = metadata.create_summary_metadata(name, about, thresholds)
        values.append(_tensor_value(f"precision_recall/{name}", curve, kind))
    return values


def _draw_confusion_matrix(matrix: np.ndarray, class_names: Sequence[str]):
    """A Pillow image: what is right in blue, mistakes in orange, each the darker the larger its share of its row.

    TensorBoard shows pictures some 350 pixels wide: small cells and large letters are what can be read there.
    """
    from PIL import Image, ImageDraw

    n, font = len(matrix), _font(13)
    has_words = n <= 16
    width, height = (40, 28) if has_words else (max(4, 800 // n),) * 2
    left, top = (96, 92) if has_words else (0, 0)
    picture = Image.new("RGB", (left + n * width + 1, top + n * height + 1), "white")
    draw = ImageDraw.Draw(picture)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for row in range(n):
        if has_words:
            name = _fitted(class_names[row], 84, font)
            draw.text((left - 6, top + (row + 0.5) * height), name, 0, font, "rm")
            upright = Image.new("RGB", (top, width), "white")
            ImageDraw.Draw(upright).text((6, width / 2), name, 0, font, "lm")
            picture.paste(upright.rotate(90, expand=True), (left + row * width, 0))
        for column in range(n):
            # A mistake in a hundred is to be seen, so mistakes darken by the root of their share.
            is_right = row == column
            share = shares[row, column] if is_right else shares[row, column] ** 0.5
            corner = (left + column * width, top + row * height)
            colour = tuple(round(255 + (part - 255) * share) for part in (_BLUE if is_right else _ORANGE))
            draw.rectangle((*corner, corner[0] + width, corner[1] + height), colour, outline=(230, 230, 230))
            if has_words and matrix[row, column]:
                place = (corner[0] + width / 2, corner[1] + height / 2)
                draw.text(place, str(matrix[row, column]), "white" if is_right and share > 0.5 else 0, font, "mm")
    return picture


def _draw_mistakes(images: Dataset, mistakes: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray):
    """A Pillow image: test images enlarged, and below each what the model says, how surely, and what it is."""
    from PIL import Image, ImageDraw

    font, cell_width, cell_height, size = _font(12), 108, 128, 84
    height, width = images.image_shape
    longest = max(height, width)
    scale = size // longest if longest <= size else size / longest  # whole, where it can be: pixels stay square
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    resampling = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    rows = -(-len(mistakes) // _MISTAKES_A_ROW)
    sheet = Image.new("L", (cell_width * min(len(mistakes), _MISTAKES_A_ROW), cell_height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for place, i in enumerate(mistakes):
        x, y = cell_width * (place % _MISTAKES_A_ROW), cell_height * (place // _MISTAKES_A_ROW)
        image = Image.fromarray(np.ascontiguousarray(images.x_test[i])).resize(shape, resampling)
        sheet.paste(image, (x + (cell_width - shape[0]) // 2, y + 4))
        confidence = f" {100 * float(probabilities[i, predicted[i]]):.1f} %"
        said = _fitted(images.class_names[predicted[i]], cell_width - 4 - font.getlength(confidence), font) + confidence
        is_what = _fitted(f"is {images.class_names[images.y_test[i]]}", cell_width - 4, font)
        draw.text((x + cell_width // 2, y + size + 14), said, 0, font, "mm")
        draw.text((x + cell_width // 2, y + size + 29), is_what, 0, font, "mm")
    return sheet


@functools.cache
def _font(size: int):
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _fitted(text: str, width: float, font) -> str:
    """The text, cut where it is wider than so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


# ---- the last hidden layer ----------------------------------------------------------------------------------------

_HIDDEN = "last_hidden_layer.npz"
_SAMPLE = 500
# 500 images x 128 numbers x 2 bytes are 125 KiB, and about half of that compressed.
_MOST_DIMENSIONS = 128


def projector_sample(labels: np.ndarray) -> np.ndarray:
    """The test images that the embedding projector shows: the first 500 // num_classes of each class, in their order.

    Args:
        labels: of the test images, integers `(n,)`.

    Returns:
        Their indices, rising.
    """
    classes = np.unique(labels)
    each = max(1, _SAMPLE // max(1, len(classes)))
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in classes]))


def _keep_last_hidden_layer(path: Path, exported, images: np.ndarray) -> None:
    """What the output layer is given for each image, float16 `(images, dimensions)`.

    A layer of more than 128 units is kept as its first 128 principal components over these images: distances, and
    with them PCA and t-SNE, stay what they were, but for what the other components hold.
    """
    hidden = images
    for layer in exported.layers[:-2]:  # without logits and softmax
        hidden = layer(hidden)
    hidden = np.asarray(hidden, np.float32).reshape(len(images), -1)
    units = hidden.shape[1]
    if units > _MOST_DIMENSIONS:
        hidden = _principal_components(hidden, _MOST_DIMENSIONS)
    limit = np.finfo(np.float16).max
    np.savez_compressed(path, hidden=np.clip(hidden, -limit, limit).astype(np.float16), units=units)


def _principal_components(x: np.ndarray, dimensions: int) -> np.ndarray:
    """Scores of the first principal components, `(n, dimensions)`; by the n x n matrix of products, as n is small."""
    centered = (x - x.mean(axis=0)).astype(np.float64)
    values, vectors = np.linalg.eigh(centered @ centered.T)  # rising
    return vectors[:, ::-1][:, :dimensions] * np.sqrt(np.maximum(values[::-1][:dimensions], 0))


# ---- histograms ---------------------------------------------------------------------------------------------------

_GRADIENT_BATCHES = 32


def _gradient_norms(model, histograms: Histograms):
    """A function that gives the norm of the gradient of each trainable variable, by name, `(batches,)`.

    One number for each of the trial's first 32 minibatches, with the weights of the moment, in training mode (dropout,
    batch statistics). What that mode changes, seeds and moving averages, is put back: the training must not notice.
    """
    import tensorflow as tf

    from fmnist_mlp.training.compiled_epoch import Minibatches

    indices, batch_size = histograms.indices, min(histograms.training.batch_size, len(histograms.indices))
    batches = min(_GRADIENT_BATCHES, len(indices) // batch_size)
    minibatches = Minibatches(histograms.images, histograms.training, is_training=True)
    tensors = minibatches.tensors(histograms.images)
    choices = {"indices": np.asarray(indices[: batches * batch_size], np.int32)}
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


# ---- an architecture's own run ------------------------------------------------------------------------------------


def _architecture_page(state: ranking.SweepState, architecture: Architecture | Baseline, info: DataInfo) -> str:
    """Markdown: the stack, what it costs, its settings and the command that trains it."""
    sweep, training = state.sweep, architecture.training.model_dump(mode="json")
    lines = [f"# {architecture.name}", ""]
    if isinstance(architecture, Baseline):
        training = {key: value for key, value in training.items() if key in OF_A_BASELINE}
        arguments = architecture.classifier.model_dump(mode="json").items()
        lines += [f"`{architecture.in_short}` of scikit-learn, to compare with.", "", "| argument | |", "|---|---|"]
        lines += [f"| {name} | {_in_words(value)} |" for name, value in arguments]
    else:
        size = state.sizes[architecture.name]
        lines += [f"{size.params:,} parameters ({size.trainable_params:,} trainable), {size.flops:,} FLOPs an image."]
        lines += ["", *_stack_lines(architecture, info)]
    training["preprocess"] = ", ".join(step.short_name() for step in architecture.training.preprocess) or None
    settings = training | {
        "dataset": state.dataset,
        "training images": sweep.limit or info.train_images,
        "seeds": ", ".join(map(str, sweep.seeds)),
        "folds": sweep.folds,
    }
    lines += ["", "| setting | |", "|---|---|"]
    lines += [f"| {name} | {in_markdown(_in_words(value))} |" for name, value in settings.items() if value is not None]
    options = "".join(f" {option}" for option in [sweep.overrides.options] if option)
    command = f"python sweep.py {shlex.quote(str(sweep.path))} --only {architecture.name}{options}"
    return "\n".join([*lines, "", f"Trained by {code_in_markdown(command)}.", ""])


def _stack_lines(architecture: Architecture, info: DataInfo) -> list[str]:
    """A table of the layers: arguments, output, parameters and FLOPs of each."""
    lines = ["| layer | | output | parameters | FLOPs |", "|---|---|---|--:|--:|"]
    shape = preprocess.input_shape_of(architecture.training.preprocess, info.image_shape)
    for layer in stacks.complete(architecture.layers, shape, info.num_classes):
        params, flops = layer.params(shape)[0], layer.flops(shape)
        shape = layer.output_shape(shape)
        arguments = {k: v for k, v in layer.keras_arguments().items() if v is not None and v is not True}
        in_words = ", ".join(f"{name} {_in_words(value)}" for name, value in arguments.items())
        output = " x ".join(map(str, shape))
        lines.append(f"| {type(layer).__name__} | {in_words} | {output} | {params:,} | {flops:,} |")
    return lines


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_in_words(v)}" for k, v in value.items())
    if isinstance(value, tuple | list):
        return " x ".join(map(_in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _architecture_events(page: str, graph: bytes | None) -> list:
    return [(0, [_text_value("architecture", page)]), *([] if graph is None else [(0, graph)])]


def _graph(model_file: bytes) -> bytes | None:
    """The exported model as TensorBoard's graph tab shows it, one node a layer; None where the file cannot be read.

    A `GraphDef`, serialized. Read from the file's own description, without Keras: Keras's own summary of a model has
    a form (that of Keras 2) that TensorBoard 2.21 no longer finds the way through.
    """
    from tensorboard.compat.proto import graph_pb2

    try:
        with zipfile.ZipFile(io.BytesIO(model_file)) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        graph = graph_pb2.GraphDef()
        shapes = _output_shapes(layers)
        for i, layer in enumerate(layers):
            settings = layer["config"]
            node = graph.node.add(name=settings["name"], op=layer["class_name"])
            if i:
                node.input.append(layers[i - 1]["config"]["name"])
            dimensions = node.attr["_output_shapes"].list.shape.add().dim
            for length in (-1, *shapes[i]):  # any number of images
                dimensions.add(size=length)
            for name, value in settings.items():
                _set_attribute(node, name, value)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile):
        return None
    return graph.SerializeToString()


def _output_shapes(layers: Sequence[dict]) -> list[tuple[int, ...]]:
    """What each layer of an exported model's description makes of one image.

    The description says it of few layers, so it is computed as in planning. Layers that no sweep file names (softmax,
    those of preprocessing that are not Dense) give the shape that they are given.
    """
    shape, shapes = tuple(layers[0]["config"]["batch_shape"][1:]), []
    for layer in layers:
        kind = stacks.LAYERS.get(layer["class_name"])
        if kind is not None:
            arguments = {name: layer["config"][name] for name in kind.model_fields if name in layer["config"]}
            shape = kind.model_validate(arguments).output_shape(shape)
        shapes.append(shape)
    return shapes


def _set_attribute(node, name: str, value: Any) -> None:
    """Of a layer's settings those that say something: numbers, words, truths."""
    if name in ("name", "trainable"):
        return
    if isinstance(value, bool):
        node.attr[name].b = value
    elif isinstance(value, int):
        node.attr[name].i = value
    elif isinstance(value, float):
        node.attr[name].f = value
    elif isinstance(value, str):
        node.attr[name].s = value.encode()


# ---- the run of the whole sweep -----------------------------------------------------------------------------------

# Nobody looks through more charts than this, and each costs six tags that every list of scalars shows.
_MOST_CHARTS = 100
# The runs below that of the sweep, named as Keras names a trial's, and how the history calls what is theirs.
_CURVE_RUNS = {"train": "", "validation": "val_"}
_CURVES = ("loss", "accuracy")


def _rank_networks(state: ranking.SweepState) -> list[str]:
    """Names of the architectures that have figures, best first by validation; baselines have no epochs."""
    networks = {item.name for item in state.sweep.architectures if not isinstance(item, Baseline)}
    return [name for name in ranking.rank(state).order if name in networks]


def _sweep_events(state: ranking.SweepState, rows: Sequence[dict], networks: Sequence[str]) -> list:
    """The table as text, the Pareto picture, and the layout of the charts of these architectures."""
    values = [_text_value("table", table.markdown(state, rows)), _layout_value(networks)]
    if any(_is_in_picture(row, state.select_by) for row in rows):
        about = f"{state.select_by} against parameters; the line joins what no other stack beats in both."
        values.append(_image_value("pareto", _draw_pareto(state, rows), about))
    # By their number, so that TensorBoard keeps what stood there before more were trained as an earlier step.
    trials = sum(record.is_done for record in state.records.values())
    return [(trials, values)]


def _mean_curves(state: ranking.SweepState, networks: Sequence[str], prefix: str) -> list:
    """Of each measure, by epoch, the mean, lowest and highest of an architecture's trials."""
    found, curves = state.by_architecture(), {}
    for name in networks:
        histories = [record.history for _, record in found[name] if record.is_done]
        for measure in _CURVES:
            curves[_curve_tag(name, measure)] = [history.get(prefix + measure, []) for history in histories]
    epochs = max((len(points) for trials in curves.values() for points in trials), default=0)
    events = []
    for epoch in range(epochs):
        values = []
        for tag, trials in curves.items():
            # Early stopping ends some trials before others; those that went so far are shown.
            points = [points[epoch] for points in trials if epoch < len(points) and points[epoch] is not None]
            if points:
                figures = {"": statistics.fmean(points), "_lowest": min(points), "_highest": max(points)}
                values += [_scalar_value(tag + end, value) for end, value in figures.items()]
        events.append((epoch, values))
    return events


def _curve_tag(architecture: str, measure: str) -> str:
    """With the architecture's name, since a chart of the Custom Scalars tab chooses by tags; behind `epoch_*`."""
    return f"trials_of_{architecture}/{measure}"


def _layout_value(networks: Sequence[str]):
    """The charts of the Custom Scalars tab: an architecture's training and validation, mean and range of its trials.

    One series a chart: it is drawn once for each run that has its tags, in the colours of the two runs.
    """
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata

    layout = layout_pb2.Layout(version=0)
    for measure in _CURVES:
        category = layout.category.add(title=f"{measure}: mean and range of an architecture's trials, by epoch")
        for name in networks:
            tag = _curve_tag(name, measure)
            chart = category.chart.add(title=name)
            chart.margin.series.add(value=tag, lower=f"{tag}_lowest", upper=f"{tag}_highest")
    kind = metadata.create_summary_metadata()
    return _strings_value(metadata.CONFIG_SUMMARY_TAG, [layout.SerializeToString()], kind, is_scalar=True)


def _is_in_picture(row: Mapping[str, Any], measure: str) -> bool:
    """Baselines of trees and neighbours have no parameters to speak of."""
    return bool(row["params"]) and row[measure] is not None


def _draw_pareto(state: ranking.SweepState, rows: Sequence[dict]):
    """A Pillow image: each architecture's parameters and validation, with the standard deviation over its trials."""
    # Imported here: takes a quarter of a second, and only a run that changed something needs it. The object API draws
    # into memory and knows no screen.
    plots.import_matplotlib()
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    measure = state.select_by
    factor, unit = (100, ", %") if measure.endswith("accuracy") else (1, "")
    shown = [row for row in rows if _is_in_picture(row, measure)]
    front = sorted((row for row in shown if "params" in (row["pareto"] or "").split()), key=lambda row: row["params"])
    # Draws alike whatever a matplotlibrc says; a $ in a name is no formula.
    style = {"axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False, "font.size": 10}
    with matplotlib.style.context(["default", style]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font lacks shows boxes
        figure = Figure(figsize=(7.5, 4.2), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for those, colour in ((shown, "0.55"), (front, [part / 255 for part in _BLUE])):
            axes.errorbar(
                [row["params"] for row in those],
                [factor * row[measure] for row in those],
                yerr=[factor * (row[f"{measure}_std"] or 0) for row in those],
                fmt="o" if those is shown else "o-",
                color=colour,
                markersize=5,
                linewidth=1,
                elinewidth=0.7,
                capsize=2,
            )
        for row in front if len(shown) > 20 else shown:
            place = (row["params"], factor * row[measure])
            axes.annotate(row["architecture"], place, (-6, 4), textcoords="offset points", ha="right", fontsize=8)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        sizes = [row["params"] for row in shown]
        is_narrow = max(sizes) < 10 * min(sizes)  # else the tens, hundreds, ... say enough
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:,.0f}" if is_narrow else "")
        axes.tick_params(axis="x", which="both", labelrotation=30)
        axes.margins(x=0.12, y=0.15)
        axes.set(
            xlabel="parameters",
            ylabel=measure.replace("_", " ") + unit,
            title=f"{state.sweep.title} on {state.dataset}",
        )
        axes.grid(alpha=0.25)
        content = io.BytesIO()
        figure.savefig(content, format="png")
    return Image.open(content)


def _projector(results: Results, trial: Trial | None, source: DataSource, info: DataInfo) -> dict[str, str | bytes]:
    """The files of the embedding projector: the last hidden layer of the best network, an image and a label a point.

    Nothing where they cannot be had: a record of an earlier version, predictions that cannot be read, other images.
    """
    from google.protobuf import text_format
    from tensorboard.plugins.projector import projector_config_pb2

    points = None if trial is None else _load_points(results, trial)
    images = None if points is None else _load_test_images(source, results, trial)
    if images is None or len(images) != len(points.labels) or len(points.hidden) != len(points.sample):
        return {}
    names = [name.replace("\t", " ") for name in present(info.class_names, points.class_names)]
    lines = ["class\tpredicted\tright\tconfidence\ttest image"]
    for i in points.sample:
        label, predicted = points.labels[i], points.predicted[i]
        is_right = "right" if predicted == label else "wrong"
        lines.append(f"{names[label]}\t{names[predicted]}\t{is_right}\t{points.confidence[i]:.3f}\t{i}")
    numbers = ("\t".join(f"{value:.5g}" for value in row) for row in points.hidden.astype(np.float64).tolist())
    config = projector_config_pb2.ProjectorConfig()
    embedding = config.embeddings.add(
        tensor_name=f"{trial.architecture.name}, seed {trial.seed}: last hidden layer",
        tensor_path="last_hidden_layer.tsv",
        metadata_path="labels.tsv",
    )
    embedding.sprite.image_path = "sprite.png"
    embedding.sprite.single_image_dim.extend(reversed(info.image_shape))  # width, height
    return {
        "labels.tsv": "".join(f"{line}\n" for line in lines),
        "last_hidden_layer.tsv": "".join(f"{line}\n" for line in numbers),
        "sprite.png": _png(_draw_sprite(images[points.sample])),
        "projector_config.pbtxt": text_format.MessageToString(config),
    }


@dataclass(frozen=True, eq=False)
class _Points:
    """What the projector shows of a trial: `hidden` has a row for each image of `sample`, the rest all test images."""

    sample: np.ndarray
    hidden: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    class_names: Sequence[str]


def _load_points(results: Results, trial: Trial) -> _Points | None:
    """None where they cannot be read."""
    try:
        (hidden,) = results.load_arrays(trial.fingerprint, f"events/{_HIDDEN}", "hidden")
        names = results.load_record(trial.fingerprint).class_names
        labels, predicted, chances = results.load_predictions(trial.fingerprint, "label", "predicted", "probabilities")
    except (DamagedRecord, AttributeError):  # AttributeError: there is no record any more
        return None
    confidence = chances.max(axis=1).astype(np.float32)
    is_whole = len(labels) == len(predicted) and max(labels.max(initial=0), predicted.max(initial=0)) < len(names)
    return _Points(projector_sample(labels), hidden, labels, predicted, confidence, names) if is_whole else None


def _load_test_images(source: DataSource, results: Results, trial: Trial) -> np.ndarray | None:
    """The test images, where they are still those of the trial: by what is remembered of the files, if they stand."""
    with contextlib.suppress(SweepError):
        if data.describe(source, results.load_data_memory()).identity == trial.settings["data"]:
            return data.load_test_images(source)
    return None


def _draw_sprite(images: np.ndarray):
    """A Pillow image of all images in a square, row by row."""
    from PIL import Image

    n, height, width = images.shape
    side = int(np.ceil(np.sqrt(n)))
    sheet = np.zeros((side * side, height, width), np.uint8)
    sheet[:n] = images
    sheet = sheet.reshape(side, side, height, width).swapaxes(1, 2).reshape(side * height, side * width)
    return Image.fromarray(sheet)


# ---- event files --------------------------------------------------------------------------------------------------


# What only the parent writes, by the ends of the names.
_KINDS = (".session", ".architecture", ".sweep", ".curves")


def _write_run(folder: Path, kind: str, events: Iterable[tuple[int, list | bytes]]) -> None:
    """Write an event file into the draft of a record."""
    name, content = _event_file(kind, events)
    write_whole(folder / name, content, flush=False)


def _event_file(kind: str, events: Iterable[tuple[int, list | bytes]]) -> tuple[str, bytes]:
    """Name and content of an event file.

    Its name has the moment in it, so it comes after earlier ones: a TensorBoard that runs reads on in it.

    Args:
        kind: ends the name.
        events: pairs of a step and its summary values, or a serialized graph.
    """
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    moment, content = time.time(), io.BytesIO()
    writer = RecordWriter(content)
    writer.write(event_pb2.Event(wall_time=moment, file_version="brain.Event:2").SerializeToString())
    for step, values in events:
        event = event_pb2.Event(wall_time=moment, step=step)
        if isinstance(values, bytes):
            event.graph_def = values
        else:
            event.summary.CopyFrom(summary_pb2.Summary(value=values))
        writer.write(event.SerializeToString())
    return f"events.out.tfevents.{int(moment):010d}.{socket.gethostname()}.{kind}", content.getvalue()


def _hparams_value(metadata, tag: str, content):
    from tensorboard.compat.proto import summary_pb2

    return summary_pb2.Summary.Value(
        tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR
    )


def _scalar_value(tag: str, value: float):
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    # A plain summary value of TensorBoard's scalars plugin: a float tensor of no dimensions.
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[value])
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars")
    kind = summary_pb2.SummaryMetadata(plugin_data=plugin, data_class=summary_pb2.DATA_CLASS_SCALAR)
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=kind)


def _tensor_value(tag: str, array: np.ndarray, kind):
    """A float32 tensor of any shape."""
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_content=array.astype("<f4").tobytes())
    for length in array.shape:
        tensor.tensor_shape.dim.add(size=length)
    kind.data_class = summary_pb2.DATA_CLASS_TENSOR
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=kind)


def _strings_value(tag: str, strings: Sequence[bytes], kind, is_scalar: bool = False):
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=strings)
    if not is_scalar:
        tensor.tensor_shape.dim.add(size=len(strings))
    if not kind.data_class:
        kind.data_class = summary_pb2.DATA_CLASS_TENSOR
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=kind)


def _text_value(tag: str, markdown: str):
    from tensorboard.plugins.text import metadata

    return _strings_value(
        tag, [markdown.encode(errors="replace")], metadata.create_summary_metadata(tag, ""), is_scalar=True
    )


def _image_value(tag: str, picture, description: str):
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.image import metadata

    kind = metadata.create_summary_metadata(tag, description)
    kind.data_class = summary_pb2.DATA_CLASS_BLOB_SEQUENCE
    # TensorBoard's layout of one image: width and height in words, then the file.
    return _strings_value(tag, [b"%d" % picture.width, b"%d" % picture.height, _png(picture)], kind)


def _png(picture) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="png")
    return content.getvalue()


def _is_whole(path: Path) -> bool:
    """Whether an event file holds something and ends where a record ends (TFRecord: 12 + length + 4 bytes each)."""
    content, position = path.read_bytes(), 0
    while position + 16 <= len(content):
        position += 12 + int.from_bytes(content[position : position + 8], "little") + 4
    return 0 < position == len(content)


def _epochs_in(folder: Path) -> set[int]:
    """The epochs whose loss is in the event files of a folder."""
    from tensorboard.compat.proto import event_pb2

    epochs = set()
    for path in folder.glob(_EVENTS):
        content, position = path.read_bytes(), 0
        while position + 16 <= len(content):
            length = int.from_bytes(content[position : position + 8], "little")
            event = event_pb2.Event.FromString(content[position + 12 : position + 12 + length])
            epochs |= {event.step for value in event.summary.value if value.tag == "epoch_loss"}
            position += 12 + length + 4
    return epochs


def _run_of(trial: Trial) -> str:
    """The run that shows a trial, by its path below the sweep's folder."""
    run = f"{trial.architecture.name}/{'refit-' if trial.is_refit else ''}seed-{trial.seed}"
    return run if trial.fold is None else f"{run}/fold-{trial.fold}"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _writing(folder: Path):
    try:
        yield
    except OSError as error:
        raise cannot_write(folder, error) from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None

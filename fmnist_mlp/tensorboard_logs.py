"""Everything written under `logs/`: the event files that TensorBoard reads.

A trial writes its scalars live into `logs/<sweep>/<architecture>/seed-<n>/{train,validation}/`, by Keras's own
callback. When it is done its event files belong to its record, and `sync` makes the folder a view of that record:
linked event files, one HParams session and the final figures under the architecture's present name. So after a
rename, a rerun or a quick look the logs hold the curves of the latest plan and no others.

TensorBoard's protocol buffers are used without TensorFlow (0.1 s to import), so a rerun with nothing to do stays quick;
Keras is imported only by the callback, in workers.
"""

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from fmnist_mlp.config import Sweep, Trial
from fmnist_mlp.errors import SweepError, cannot_write
from fmnist_mlp.results import Record, Results, link_or_copy

# Marks a folder as a view of ours and says of what; only marked folders are ever deleted.
_MARKER = ".trial"
_LIVE = "training"


class SweepLogs:
    """The folder `logs/<sweep>/`.

    Args:
        root: the logs folder.
        sweep: named by the folder below it.
    """

    def __init__(self, root: Path, sweep: Sweep):
        self.folder = Path(root) / sweep.name

    def trial_folder(self, trial: Trial) -> Path:
        """`logs/<sweep>/<architecture>/seed-0[/fold-0]`: TensorBoard's name of the run."""
        folder = self.folder / trial.architecture.name / f"seed-{trial.seed}"
        return folder if trial.fold is None else folder / f"fold-{trial.fold}"

    def sync(self, results: Results, plan: Iterable[Trial], records: Mapping[str, Record]) -> None:
        """Make every trial's folder show its record and remove what the plan does not ask for.

        A folder in step is recognised by its marker and left alone. Folders without a marker are not ours and stay.

        Raises:
            SweepError: the logs cannot be written.
        """
        wanted = {self.trial_folder(trial): trial for trial in plan}
        with _writing(self.folder):
            for folder in wanted:
                if folder.is_dir() and not (folder / _MARKER).exists() and any(folder.iterdir()):
                    raise SweepError(f"{folder} holds files of somebody else: move them, or use another --logs-dir")
            self.folder.mkdir(parents=True, exist_ok=True)
            for marker in list(self.folder.rglob(_MARKER)):
                if marker.parent not in wanted:
                    self._remove(marker.parent)
        for trial in wanted.values():
            self.show(results, trial, records.get(trial.fingerprint))

    def show(self, results: Results, trial: Trial, record: Record | None) -> None:
        """Make one trial's folder a view of its record: its curves, one HParams row, nothing of earlier trials."""
        with _writing(self.trial_folder(trial)):
            self._show(self.trial_folder(trial), results, trial, record)

    def _show(self, folder: Path, results: Results, trial: Trial, record: Record | None) -> None:
        state, found = f"{trial.fingerprint} {record.status if record else _LIVE}\n", _read(folder / _MARKER)
        if found == state:  # in step; or in training, perhaps by another sweep, or interrupted and about to go on
            return
        if record is None:
            self._remove(folder)
            return
        # Ours from the first file on: whoever is killed or finds the disk full below must know the folder again.
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARKER).touch()
        events = results.record_folder(trial.fingerprint) / "events"
        kept = set()
        for source in events.rglob("*") if events.is_dir() else ():
            if source.is_file():
                target = folder / source.relative_to(events)
                link_or_copy(source, target)
                kept.add(target)
        for stale in folder.rglob("events.out.tfevents.*"):
            if stale not in kept:
                stale.unlink()
        _write_session(folder, trial, record)
        (folder / _MARKER).write_text(state, encoding="utf-8")

    def _remove(self, folder: Path) -> None:
        """Remove a view and the parents that it leaves empty."""
        if not (folder / _MARKER).is_file():
            return
        shutil.rmtree(folder)
        for parent in folder.parents:
            if parent == self.folder.parent:
                return
            with contextlib.suppress(OSError):  # not empty
                parent.rmdir()


def start_live(folder: Path, fingerprint: str, checkpoint: Path | None = None):
    """Empty a trial's folder of earlier curves and give Keras's TensorBoard callback that writes there while it trains.

    Args:
        folder: from `SweepLogs.trial_folder`.
        fingerprint: the trial's.
        checkpoint: a folder that `keep_events` wrote into; its curves end where the checkpoint does and are put back.

    Returns:
        `keras.callbacks.TensorBoard`, which also flushes at the end of an epoch, at most once a second, so that curves
        grow while one watches.
    """
    # Imported here: Keras belongs to workers only.
    import keras

    class LiveTensorBoard(keras.callbacks.TensorBoard):
        _flushed = 0.0

        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
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
        (folder / _MARKER).write_text(f"{fingerprint} {_LIVE}\n", encoding="utf-8")
        if checkpoint is not None and (checkpoint / "events").is_dir():
            shutil.copytree(checkpoint / "events", folder, dirs_exist_ok=True)
    return LiveTensorBoard(folder, write_graph=False)


def keep_events(folder: Path, draft: Path, copy: bool = False, must_be_whole: bool = True) -> None:
    """Take a trial's event files into the draft of its record, or as a copy, since they grow on, of a checkpoint.

    Raises:
        SweepError: a file is cut off. TensorFlow's writer says nothing when the disk is full.
    """
    for source in folder.rglob("events.out.tfevents.*"):
        if must_be_whole and not _is_whole(source):
            raise SweepError(f"{source} is cut off (is the disk full?): free space there and run again")
        target = draft / "events" / source.relative_to(folder)
        if copy:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            link_or_copy(source, target)


# ---- one HParams session a trial ----------------------------------------------------------------------------------


def _write_session(folder: Path, trial: Trial, record: Record) -> None:
    """One event file in the trial's own run: its HParams session and the figures that are its metrics.

    The session's name is the run's, so the row links to its curves. No value is ever None: TensorBoard drops such
    rows (tensorboard issue 4770).
    """
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    started = float(record.measured.get("started_at_seconds", 0.0))
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=started)
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
        *(_scalar_value(name, value) for name, value in figures.items() if name in _METRICS),
        _hparams_value(
            metadata, metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end)
        ),
    ]
    _write_events(folder, values, started)


# TensorBoard's table shows the hyperparameters that differ first, then the metrics in this order.
_DIFFER = ("architecture", "learning_rate", "optimizer", "seed", "widths")
_METRICS = ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "params")


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


def _hyperparameters(trial: Trial, record: Record) -> dict[str, str | int | float]:
    training = trial.architecture.training
    widths = [layer.units for layer in trial.architecture.layers if type(layer).__name__ == "Dense"]
    return {
        "architecture": trial.architecture.name,
        "depth": len(widths),
        "widths": "-".join(map(str, widths)) or "none",
        "optimizer": training.optimizer,
        "learning_rate": training.learning_rate,
        "batch_size": training.batch_size,
        "epochs": training.epochs,
        "seed": str(trial.seed),  # a number would be shown as 0.0000
        "dataset": record.dataset,
    }


def _hparams_value(metadata, tag: str, data):
    from tensorboard.compat.proto import summary_pb2

    return summary_pb2.Summary.Value(
        tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
    )


def _scalar_value(tag: str, value: float):
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    # A plain summary value of TensorBoard's scalars plugin: a float tensor of no dimensions.
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[value])
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars")
    kind = summary_pb2.SummaryMetadata(plugin_data=plugin, data_class=summary_pb2.DATA_CLASS_SCALAR)
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=kind)


def _write_events(folder: Path, values, wall_time: float) -> None:
    """Write one event file, whole or not at all."""
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{int(wall_time):010d}.{socket.gethostname()}.hparams"
    draft = path.with_name(f".draft-{os.getpid()}")
    try:
        with draft.open("wb") as file:
            writer = RecordWriter(file)
            writer.write(event_pb2.Event(wall_time=wall_time, file_version="brain.Event:2").SerializeToString())
            summary = summary_pb2.Summary(value=values)
            writer.write(event_pb2.Event(wall_time=wall_time, step=0, summary=summary).SerializeToString())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _is_whole(path: Path) -> bool:
    """Whether an event file holds something and ends where a record ends (TFRecord: 12 + length + 4 bytes each)."""
    content, position = path.read_bytes(), 0
    while position + 16 <= len(content):
        position += 12 + int.from_bytes(content[position : position + 8], "little") + 4
    return 0 < position == len(content)


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

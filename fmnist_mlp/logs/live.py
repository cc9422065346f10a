"""The curves of a trial while it trains: Keras's own callback, what is kept of its files, what is made anew."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fmnist_mlp.errors import SweepError
from fmnist_mlp.logs.events import CURVE_RUNS, CURVES, EVENTS, epochs_in, is_whole, scalar_value, write_run, writing


def start_live(folder: Path, checkpoint: Path | None = None, gradient_norms: Callable | None = None):
    """Give Keras's TensorBoard callback that writes into an empty folder while a trial trains.

    Args:
        folder: `Results.live_folder`.
        checkpoint: a folder that `keep_events` wrote into; its curves end where the checkpoint does and are put back.
        gradient_norms: `training/gradients`; with it histograms of weights and gradient norms are logged too.

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
            self._gradient_norms = gradient_norms(model) if gradient_norms else None

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

    with writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        if checkpoint is not None and (checkpoint / "events").is_dir():
            shutil.copytree(checkpoint / "events", folder, dirs_exist_ok=True)
    return LiveTensorBoard(folder, write_graph=False, histogram_freq=1 if gradient_norms else 0)


def keep_events(folder: Path, draft: Path, must_be_whole: bool = True) -> None:
    """Copy a trial's event files into the draft of its record or of a checkpoint.

    Raises:
        SweepError: a file is cut off. TensorFlow's writer says nothing when the disk is full.
    """
    for source in folder.rglob(EVENTS):
        if must_be_whole and not is_whole(source):
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
    for run, prefix in CURVE_RUNS.items():
        curves = {m: history[prefix + m] for m in (*CURVES, "learning_rate") if prefix + m in history}
        epochs = max(map(len, curves.values()), default=0)
        folder = draft / "events" / run
        if epochs_in(folder) >= {*range(epochs)}:
            continue
        was_necessary = True
        shutil.rmtree(folder, ignore_errors=True)
        steps = ((i, [scalar_value(f"epoch_{m}", float(c[i])) for m, c in curves.items()]) for i in range(epochs))
        write_run(folder, "v2", steps)
    return was_necessary

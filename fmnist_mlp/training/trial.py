"""One trial, in order: data, model, training, evaluation, record.

`run_trial` is the recipe; the process that it runs in is `worker`'s.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_mlp.data.source import Dataset, DataSource
from fmnist_mlp.data.split import limit_indices, stratified_folds, stratified_split
from fmnist_mlp.engines.calls import Failure, Stopped
from fmnist_mlp.errors import ImagesChanged, SweepError
from fmnist_mlp.logs.live import keep_events, restore_curves
from fmnist_mlp.logs.trial_run import write_scores
from fmnist_mlp.results.record import DamagedRecord, Record, failed_record, started_at
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.training import worker
from fmnist_mlp.training.observer import TrialObserver
from fmnist_mlp.training.scores import Scored, arrays_of, figures_of
from fmnist_mlp.training.trainer import Assignment, Trained, TrainingDiverged
from fmnist_mlp.training.worker import PeakMemory, Worker

_CURVES_WERE_LOST = "its curves were deleted while it trained and are made anew from its history, without histograms"


@dataclass(frozen=True)
class Task:
    """What a worker needs to run one trial; picklable.

    Args:
        trial: from the plan.
        source: where the images are.
        limit: use only so many training images.
        results_root: where the record goes.
        replaces: the stamp of the record that the plan found; another record was made by another sweep meanwhile, and
            will do. Not a moment: clocks are set back, and other machines have their own.
        fresh: an older record will not do.
        checkpoint_seconds: a checkpoint is due at the end of an epoch when so long has passed since the last.
        wait: whether to wait for another sweep that trains this trial, or to pass it over.
        histograms: whether to log histograms of weights and gradient norms.
        failures_before: `Record.machine_failures` of the run before.
    """

    trial: Trial
    source: DataSource
    limit: int | None
    results_root: Path
    replaces: tuple[int, int] | None
    fresh: bool = False
    checkpoint_seconds: float = 10.0
    wait: bool = False
    histograms: bool = False
    failures_before: int = 0


def run_trial(context, task: Task) -> Record | None:
    """Train and score one trial and put its record in place, unless another sweep does or has just done so.

    A candidate (`Trial.until`) is trained only so far, and not scored.

    Args:
        context: `calls.Context`, for progress and for being asked to stop.
        task: the trial.

    Returns:
        The record, as it now lies under `results/`, also that of a trial that failed (NaN, too little memory, a bug);
        None where the trial is in work elsewhere.

    Raises:
        Stopped: asked to stop; a checkpoint is kept, from which the next run goes on.
        SweepError: what is not the trial's fault, such as a full disk; there is no record then.
    """
    results, fingerprint = Results(task.results_root), task.trial.fingerprint
    with results.claim(fingerprint, may_wait=lambda: task.wait and not context.stop_requested) as is_ours:
        if not is_ours:
            return None
        if (record := find_record(results, task)) is not None:
            context.report({"found": True})
            return record
        started, clock = time.time(), time.monotonic()
        try:
            return train_and_score(context, task, results)
        except (Stopped, SweepError):
            raise
        except Exception as error:  # kept while the trial is still ours, or another sweep would try it too
            return _keep_failure(task, results, error, started, time.monotonic() - clock)


def find_record(results: Results, task: Task) -> Record | None:
    """The record that another sweep made of this trial since the plan, or that will do; for whoever has the claim."""
    with contextlib.suppress(DamagedRecord):
        record = results.load_record(task.trial.fingerprint)
        is_new = results.stamp(task.trial.fingerprint) != task.replaces
        if record is not None and record.has_enough(task.trial.until) and (is_new or not task.fresh):
            return record
        if record is not None and record.is_failed and is_new:
            return record
    return None


def train_and_score(context, task: Task, results: Results) -> Record:
    """The recipe, in order."""
    trial, settings, here = task.trial, task.trial.architecture.training, worker.current()
    trainer = here.trainer(trial.architecture)
    started, memory = time.time(), PeakMemory()
    context.report({"epoch": 0, "epochs": trial.epochs if trainer.has_epochs else 1})

    images = _images(task, here)
    train_indices, validation_indices = _split(trial, images.y_train, task.limit)
    preprocessing = here.preprocessing(images, settings, train_indices)
    with TrialObserver(
        context, trial, results, here.environment, task.checkpoint_seconds, wants_histograms=task.histograms
    ) as observer:
        assignment = Assignment(trial, train_indices, validation_indices, preprocessing, observer)
        (trained,) = trainer.train(images, [assignment])
    ended = time.monotonic()
    measured = {
        **started_at(started),
        "train_seconds": trained.seconds,
        "epoch_seconds": list(trained.epoch_seconds),
    }
    record_of = functools.partial(
        Record,
        fingerprint=trial.fingerprint,
        settings=trial.settings,
        dataset=images.source.dataset,
        params=trained.size.params,
        trainable_params=trained.size.trainable_params,
        flops=trained.size.flops,
        size=trained.size_in_words,
        train_images=len(train_indices),
        val_images=len(validation_indices),
        history={name: [float(value) for value in values] for name, values in trained.history.items()},
        environment={**here.environment, **trained.environment},
    )
    if trial.is_candidate:
        return _keep_unscored(results, record_of, trained, measured | {"peak_memory_bytes": memory.peak_bytes()})

    parts = {"test": (images.x_test, images.y_test)}
    if len(validation_indices):
        parts["val"] = (images.x_train[validation_indices], images.y_train[validation_indices])
    scored = {part: Scored.of(trained, x, y, images.num_classes) for part, (x, y) in parts.items()}
    figures = figures_of(scored)
    if not all(math.isfinite(value) for value in figures.values() if value is not None):
        raise TrainingDiverged(f"the trained model has no finite figures: {figures}")

    with results.draft(trial.fingerprint) as draft:
        if trained.save is not None:
            trained.save(draft / "model.keras")
        np.savez_compressed(draft / "predictions.npz", **arrays_of(scored))
        keep_events(results.live_folder(trial.fingerprint), draft)
        were_lost = restore_curves(draft, trained.history)
        write_scores(draft, trained.exported, images, scored["test"].predicted, scored["test"].probabilities)
        record = record_of(
            status="done",
            model_bytes=0 if trained.save is None else (draft / "model.keras").stat().st_size,
            metrics=figures,
            classes={part: scores.classes for part, scores in scored.items()},
            class_names=images.class_names,
            weights=trained.weights,
            notes=(*trained.notes, *([_CURVES_WERE_LOST] if were_lost else [])),
            measured=measured
            | {
                "evaluate_seconds": time.monotonic() - ended,
                "peak_memory_bytes": memory.peak_bytes(),
            },
        )
        results.write_record(draft, record)
    _drop_checkpoint(results, record)
    if were_lost:
        context.report({"notice": f"{trial.in_words}: {_CURVES_WERE_LOST}"})
    return record


# ---- steps of the recipe ------------------------------------------------------------------------------------------


def _images(task: Task, here: Worker) -> Dataset:
    """The images of a trial, if they are still those that the sweep was planned with."""
    images = here.images(task.source)
    if images.identity != task.trial.settings["data"]:  # a warm worker may have read them before they changed
        here.forget()
        images = here.images(task.source)
    if images.identity != task.trial.settings["data"]:
        raise ImagesChanged(f"the images in {task.source.path} are not those that the sweep was planned with")
    return images


def _split(trial: Trial, y_train: np.ndarray, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Which images train and which validate: int32 indices into the training images. None validates a refit."""
    pool = limit_indices(y_train, limit)
    if trial.is_refit:
        return pool, pool[:0]
    if trial.fold is None:
        validation_split = trial.architecture.training.validation_split
        train, validation = stratified_split(y_train[pool], validation_split, trial.seed)
    else:
        train, validation = stratified_folds(y_train[pool], trial.settings["folds"], trial.fold, trial.seed)
    return pool[train], pool[validation]


def _keep_unscored(results: Results, record_of: Callable[..., Record], trained: Trained, measured: dict) -> Record:
    """The record of a candidate: small, since there are thousands. Its curves are in its history."""
    status = "only validated" if trained.is_whole else "stopped early"
    record = record_of(status=status, notes=trained.notes, measured=measured)
    with results.draft(record.fingerprint) as draft:
        results.write_record(draft, record)
    _drop_checkpoint(results, record)
    return record


def _keep_failure(task: Task, results: Results, error: Exception, started: float, seconds: float) -> Record:
    """The record of a trial that raised; its curves are kept, they are what one wants to see of it."""
    here, architecture = worker.current(), task.trial.architecture
    images = here.images(task.source)
    record = failed_record(
        task.trial,
        here.trainer(architecture).planned_size(architecture, images),
        images.source.dataset,
        Failure.of(error),
        environment=here.environment,
        started=started,
        seconds=seconds,
        failures_before=task.failures_before,
    )
    with results.draft(task.trial.fingerprint) as draft:
        keep_events(results.live_folder(record.fingerprint), draft, must_be_whole=False)
        results.write_record(draft, record)
    _drop_checkpoint(results, record)
    return record


def _drop_checkpoint(results: Results, record: Record) -> None:
    """Unless a later run goes on from there."""
    if not record.keeps_checkpoint:
        results.drop_checkpoint(record.fingerprint)

"""One trial, in order: data, model, training, evaluation, record.

`run_trial` is the recipe; the process that it runs in is `worker`'s.
"""

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_mlp.data.source import Dataset, DataSource
from fmnist_mlp.data.split import limit_indices, stratified_folds, stratified_split
from fmnist_mlp.engines.calls import Failure, Stopped
from fmnist_mlp.errors import ImagesChanged, SweepError
from fmnist_mlp.files import DamagedFile
from fmnist_mlp.logs.live import LiveLog, keep_events, restore_curves
from fmnist_mlp.logs.trial_run import write_scores
from fmnist_mlp.results.record import DamagedRecord, Record, failed_record, started_at
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.steps import count
from fmnist_mlp.sweepfile.sweep import UNKNOWN_SIZE, Baseline
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.training import baseline as baselines
from fmnist_mlp.training import preprocess, worker
from fmnist_mlp.training.scores import Scored, arrays_of, figures_of
from fmnist_mlp.training.worker import PeakMemory

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
            return _train_and_score(context, task, results)
        except (Stopped, SweepError):
            raise
        except Exception as error:  # kept while the trial is still ours, or another sweep would try it too
            return _keep_failure(task, results, error, started, time.monotonic() - clock)


def find_record(results: Results, task: Task) -> Record | None:
    """The record that another sweep made of this trial since the plan, or that will do; for whoever has the claim."""
    with contextlib.suppress(DamagedRecord):
        record = results.load_record(task.trial.fingerprint)
        is_new = results.stamp(task.trial.fingerprint) != task.replaces
        if record is not None and (is_new or (record.is_done and not task.fresh)):
            return record
    return None


def _train_and_score(context, task: Task, results: Results) -> Record:
    """The recipe, in order."""
    if isinstance(task.trial.architecture, Baseline):
        return _fit_and_score(context, task, results)
    # Imported here: the parent names run_trial without loading TensorFlow, workers run it.
    from fmnist_mlp.training import fit, gradients, models

    trial, settings = task.trial, task.trial.architecture.training
    started, memory = time.time(), PeakMemory()
    context.report({"epoch": 0, "epochs": settings.epochs})

    images = _images(task)
    train_indices, validation_indices = _split(trial, images.y_train, task.limit)
    preprocessing = worker.current.preprocessing(images, settings, train_indices)
    model, exported, scoring = worker.current.model(trial, images, len(train_indices), preprocessing)
    resident = worker.current.resident(images, settings, preprocessing)
    checkpoint = _load_checkpoint(context, results, trial, model)
    histograms = gradients.histograms_of(model, resident, train_indices, settings) if task.histograms else dict
    checkpoint_folder = results.checkpoint_folder(trial.fingerprint) if checkpoint else None
    with LiveLog(results.live_folder(trial.fingerprint), checkpoint_folder) as log:
        history = fit.train(
            model,
            resident,
            settings,
            seed=trial.seed,
            train_indices=train_indices,
            validation_indices=validation_indices,
            plain_fit=trial.settings["loop"] == "plain",
            resume=checkpoint,
            at_epoch_end=_log_and_save(context, task, results, log, histograms),
        )
    trained = time.monotonic()

    scored = {"test": Scored.of(scoring, images.x_test, images.y_test)}
    if len(validation_indices):
        x_val, y_val = images.x_train[validation_indices], images.y_train[validation_indices]
        scored["val"] = Scored.of(scoring, x_val, y_val)
    figures = figures_of(scored)
    if not np.isfinite(list(figures.values())).all():
        raise fit.TrainingDiverged(f"the trained model has no finite figures: {figures}")

    with results.draft(trial.fingerprint) as draft:
        models.save_exported(exported, draft / "model.keras")
        np.savez_compressed(draft / "predictions.npz", **arrays_of(scored))
        keep_events(results.live_folder(trial.fingerprint), draft)
        were_lost = restore_curves(draft, history.history)
        write_scores(draft, exported, images, scored["test"].predicted, scored["test"].probabilities)
        size = models.model_size(model, preprocessing)
        record = Record(
            fingerprint=trial.fingerprint,
            status="done",
            settings=trial.settings,
            dataset=images.source.dataset,
            params=size.params,
            trainable_params=size.trainable_params,
            flops=size.flops,
            model_bytes=(draft / "model.keras").stat().st_size,
            train_images=len(train_indices),
            val_images=len(validation_indices),
            metrics=figures,
            classes={part: those.classes for part, those in scored.items()},
            class_names=images.class_names,
            history={name: [float(value) for value in values] for name, values in history.history.items()},
            weights=_which_weights(history, settings),
            notes=(_CURVES_WERE_LOST,) if were_lost else (),
            environment=worker.current.environment,
            measured={
                **started_at(started),
                "train_seconds": sum(history.epoch_seconds),
                "epoch_seconds": history.epoch_seconds,
                "evaluate_seconds": time.monotonic() - trained,
                "peak_memory_bytes": memory.peak_bytes(),
            },
        )
        results.write_record(draft, record)
    results.drop_checkpoint(trial.fingerprint)
    if were_lost:
        context.report({"notice": f"{trial.in_words}: {_CURVES_WERE_LOST}"})
    return record


def _fit_and_score(context, task: Task, results: Results) -> Record:
    """The recipe for a baseline, in order. Fitting has no epochs to stop at: a stop waits for it, twice ends it."""
    trial, baseline = task.trial, task.trial.architecture
    started, memory = time.time(), PeakMemory()
    context.report({"epoch": 0, "epochs": 1})

    images = _images(task)
    train_indices, validation_indices = _split(trial, images.y_train, task.limit)
    steps = worker.current.preprocessing(images, baseline.training, train_indices)
    steps = steps or preprocess.fit((), images.x_train[train_indices])

    def vectors(x: np.ndarray) -> np.ndarray:
        return steps.transform(x).reshape(len(x), -1)  # float32, (n, values)

    x_train, y_train = vectors(images.x_train[train_indices]), images.y_train[train_indices]
    fitted = baselines.fit(baseline.classifier, x_train, y_train, images.num_classes, trial.seed)
    trained = time.monotonic()

    scored = {"test": Scored.of_baseline(fitted, vectors(images.x_test), images.y_test, images.num_classes)}
    if len(validation_indices):
        x_val, y_val = vectors(images.x_train[validation_indices]), images.y_train[validation_indices]
        scored["val"] = Scored.of_baseline(fitted, x_val, y_val, images.num_classes)
    with results.draft(trial.fingerprint) as draft:
        np.savez_compressed(draft / "predictions.npz", **arrays_of(scored))
        write_scores(draft, None, images, scored["test"].predicted, scored["test"].probabilities)
        record = Record(
            fingerprint=trial.fingerprint,
            status="done",
            settings=trial.settings,
            dataset=images.source.dataset,
            params=fitted.params,
            trainable_params=fitted.params,
            flops=None,
            size=fitted.size,
            train_images=len(train_indices),
            val_images=len(validation_indices),
            metrics=figures_of(scored),
            classes={part: those.classes for part, those in scored.items()},
            class_names=images.class_names,
            notes=fitted.notes,
            environment=worker.current.environment | {"device": "cpu", "scikit-learn": fitted.version},
            measured={
                **started_at(started),
                "train_seconds": fitted.seconds,
                "epoch_seconds": [],
                "evaluate_seconds": time.monotonic() - trained,
                "peak_memory_bytes": memory.peak_bytes(),
            },
        )
        results.write_record(draft, record)
    return record


# ---- steps of the recipe ------------------------------------------------------------------------------------------


def _images(task: Task) -> Dataset:
    """The images of a trial, if they are still those that the sweep was planned with."""
    images = worker.current.images(task.source)
    if images.identity != task.trial.settings["data"]:
        raise ImagesChanged(f"the images in {task.source.folder} are not those that the sweep was planned with")
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


def _log_and_save(context, task: Task, results: Results, log: LiveLog, histograms):
    """What happens between epochs: curves, progress to the parent, a checkpoint when one is due, an end when asked for.

    Args:
        histograms: called after each epoch for what `LiveLog.add` takes.
    """
    epochs, fingerprint = task.trial.architecture.training.epochs, task.trial.fingerprint
    saved = time.monotonic()

    def at_epoch_end(epochs_done, logs, take_checkpoint):
        nonlocal saved
        log.add(epochs_done - 1, logs, histograms())
        context.report({"epoch": epochs_done, "epochs": epochs, **logs})
        is_asked_to_stop = context.stop_requested
        is_due = time.monotonic() - saved >= task.checkpoint_seconds and epochs_done < epochs
        if is_asked_to_stop or is_due:
            with results.checkpoint_draft(fingerprint) as draft:
                take_checkpoint().write(draft)
                keep_events(results.live_folder(fingerprint), draft)
                (draft / "made-by.json").write_text(json.dumps(_checkpoint_origin(fingerprint)), encoding="utf-8")
            saved = time.monotonic()
        if is_asked_to_stop:
            raise Stopped

    return at_epoch_end


def _load_checkpoint(context, results: Results, trial: Trial, model):
    """The checkpoint of an interrupted run of this trial; None where there is none, or none that can be used.

    Without it the trial starts again, which costs time and changes nothing; whoever waits for it is told.
    """
    from fmnist_mlp.training.checkpoint import BadCheckpoint, Checkpoint

    folder = results.checkpoint_folder(trial.fingerprint)
    if not folder.is_dir():
        return None
    try:
        contents = results.read_checkpoint(trial.fingerprint)
        made_by, here = json.loads(contents["made-by.json"]), _checkpoint_origin(trial.fingerprint)
        if other := [f"{name} {made_by.get(name)}" for name in here if made_by.get(name) != here[name]]:
            raise BadCheckpoint(f"was made with {', '.join(other)}")
        checkpoint = Checkpoint.read(contents)
        if not checkpoint.fits(model):
            raise BadCheckpoint("is of another model")
        return checkpoint
    except DamagedFile as error:
        reason = str(error)
    except (BadCheckpoint, ValueError, LookupError, AttributeError) as error:
        reason = f"{folder}: cannot be used ({error})"
    context.report({"notice": f"{reason}; {trial.in_words} starts again without this checkpoint"})
    return None


def _checkpoint_origin(fingerprint: str) -> dict[str, str]:
    """A checkpoint goes on only where it was made: other libraries or another device would mix two trainings."""
    return {"fingerprint": fingerprint} | {k: worker.current.environment[k] for k in ("tensorflow", "keras", "device")}


def _keep_failure(task: Task, results: Results, error: Exception, started: float, seconds: float) -> Record:
    """The record of a trial that raised; its curves are kept, they are what one wants to see of it."""
    images, architecture = worker.current.images(task.source), task.trial.architecture
    size = UNKNOWN_SIZE
    if not isinstance(architecture, Baseline):
        steps, shape = architecture.training.preprocess, images.image_shape
        size = count(steps, architecture.layers, shape, images.num_classes)
    record = failed_record(
        task.trial,
        size,
        images.source.dataset,
        Failure.of(error),
        environment=worker.current.environment,
        started=started,
        seconds=seconds,
        failures_before=task.failures_before,
    )
    with results.draft(task.trial.fingerprint) as draft:
        keep_events(results.live_folder(record.fingerprint), draft, must_be_whole=False)
        results.write_record(draft, record)
    if not record.machine_failures:  # else the next run goes on from there
        results.drop_checkpoint(task.trial.fingerprint)
    return record


def _which_weights(history, settings) -> str:
    """Which weights were scored: the last epoch's, or those that early stopping restored."""
    if history.best_epoch is None:
        return "last epoch"
    return f"best {settings.early_stopping.monitor}: epoch {history.best_epoch}"

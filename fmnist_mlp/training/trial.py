"""One trial, in order: data, model, training, evaluation, record.

`start_worker` prepares a process once (device, one core, Keras as Keras ships it); `run_trial` is the recipe, called
for each trial, and `measure_latency` times an architecture when nothing else runs. A worker keeps what trials share:
the images, and the compiled program of the architecture at hand, so that further seeds of it cost no compilation. What
it keeps never changes a number.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent import futures
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fmnist_mlp.data import source as data
from fmnist_mlp.data.source import Dataset, DataSource
from fmnist_mlp.engines import pool as engine
from fmnist_mlp.engines.pool import Failure, Stopped
from fmnist_mlp.errors import ImagesChanged, SweepError
from fmnist_mlp.files import DamagedFile
from fmnist_mlp.logs import sweep_run as tensorboard_logs
from fmnist_mlp.results import statistics as metrics
from fmnist_mlp.results.store import ClassScores, DamagedRecord, Latency, Record, Results, failed_record, started_at
from fmnist_mlp.sweepfile import classifiers as baselines
from fmnist_mlp.sweepfile import layers as stacks
from fmnist_mlp.sweepfile.read import UNKNOWN_SIZE, Architecture, Baseline, Trial
from fmnist_mlp.training import preprocess

_PREDICTION_BATCH_SIZE = 1000
_LATENCY_BATCH_SIZE = 1000
_FITTED_KEPT = 50  # preprocessings that a worker remembers, at most 5 MB each (784 components in float64)
_CURVES_WERE_LOST = "its curves were deleted while it trained and are made anew from its history, without histograms"
_LATENCY_CALLS, _LATENCY_BATCH_CALLS, _WARM_UP_CALLS = 100, 15, 5


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


@dataclass(frozen=True)
class LatencyTask:
    """What a worker needs to time an architecture; picklable. `key` is what the result is remembered by."""

    key: str
    architecture: Architecture
    image_shape: tuple[int, ...]
    num_classes: int
    results_root: Path


# What a worker takes along from the shell: how to find programs, libraries, folders, the GPU, and what language it is.
_PASSED_ON = frozenset(
    """
    PATH HOME USER LOGNAME LANG LANGUAGE TZ TMPDIR TMP TEMP XDG_CACHE_HOME XDG_CONFIG_HOME KERAS_HOME
    PYTHONPATH PYTHONHOME PYTHONPLATLIBDIR PYTHONNOUSERSITE PYTHONUSERBASE PYTHONSAFEPATH PYTHONPYCACHEPREFIX
    PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED PYTHONFAULTHANDLER VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV
    __PYVENV_LAUNCHER__ NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES
    SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT OS USERPROFILE USERNAME HOMEDRIVE HOMEPATH APPDATA LOCALAPPDATA
    ALLUSERSPROFILE PROGRAMDATA PROGRAMFILES PROGRAMFILES(X86) COMMONPROGRAMFILES NUMBER_OF_PROCESSORS
    PROCESSOR_ARCHITECTURE PROCESSOR_IDENTIFIER CONDA_DLL_SEARCH_MODIFICATION_ENABLE
    """.split()  # noqa: SIM905
)
_PASSED_ON_PREFIXES = ("LC_", "LD_", "DYLD_", "CUDA_", "ROCR_", "HIP_", "HSA_")
# What libraries read that compute: of a process that runs already, only these are changed.
_DECIDES_NUMBERS = ("KERAS_", "TF_", "XLA_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "DNNL_", "ONEDNN_")


def worker_environment(device: str, threads: int) -> dict[str, str | None]:
    """Environment variables of a worker, to be set before it starts; None removes one.

    What the user's shell, notebook or batch system sets behind our back (another Keras backend, XLA flags, thread
    counts, warnings that are errors) must not reach a trial: its numbers are decided by its fingerprint alone, and so
    is whether it fails. A worker starts from a list of what it may have.
    """
    names = {name for name in os.environ if not _is_passed_on(name.upper())}
    return dict.fromkeys(names) | own_environment(device, threads)


def own_environment(device: str, threads: int) -> dict[str, str | None]:
    """As `worker_environment` for a process that runs already: only what decides numbers is changed."""
    environment: dict[str, str | None] = dict.fromkeys(
        name for name in os.environ if name.startswith(_DECIDES_NUMBERS) and name != "KERAS_HOME"
    )
    environment |= {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # XLA's own choice is 256 bits; where the CPU has AVX-512, this makes an epoch 4 to 9 % shorter (on a Zen 5).
        "XLA_FLAGS": "--xla_cpu_prefer_vector_width=512",
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    return environment


def _is_passed_on(name: str) -> bool:
    return name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)


@contextlib.contextmanager
def keras_as_shipped():
    """For the block that imports TensorFlow, and Keras with it: without what is the user's, and without matplotlib.

    A keras.json may name another backend, or stop the import. Keras 3.15 imports matplotlib for its galleries, which
    takes half a second and fails where MPLBACKEND names a module that is not here.
    """
    is_blocked = "matplotlib" not in sys.modules
    if is_blocked:
        sys.modules["matplotlib"] = None  # an ImportError, which Keras is prepared for
    try:
        with engine.environment({"KERAS_HOME": os.devnull}):  # no folder: nothing is read there, nor written
            yield
    finally:
        if is_blocked:
            del sys.modules["matplotlib"]


def start_worker(device: str, threads: int, source: DataSource | None = None, load=None) -> dict[str, str]:
    """Prepare this process for trials: import TensorFlow, choose the device, fix what Keras reads from user files.

    Args:
        device: `auto`, `cpu` or `gpu`.
        threads: cores a trial computes on.
        source: the images of the trials to come; read while TensorFlow is imported.
        load: how, where that is not `data.load_data`.

    Returns:
        What records say of their surroundings: `device`, `tensorflow`, `keras`, `python`, ...

    Raises:
        SweepError: a GPU was asked for and TensorFlow finds none.
    """
    global _worker
    images = None if source is None else futures.ThreadPoolExecutor(1).submit(load or data.load_data, source)
    with quiet_start() as messages:
        with keras_as_shipped():
            import keras
            import tensorflow as tf

        if _worker is None:  # TensorFlow takes thread counts once a process (`--jobs 0` may come here twice)
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.get_logger().setLevel("ERROR")  # a worker compiles a program for each stack; TensorFlow takes it for a slip
        gpus = [] if device == "cpu" else _own_gpu(tf.config.list_physical_devices("GPU"))
    if device == "gpu" and not gpus:
        raise SweepError(_no_gpu(messages))
    for gpu in gpus:  # the other GPUs belong to the other workers, memory included
        tf.config.set_visible_devices(gpu, "GPU")
        tf.config.experimental.set_memory_growth(gpu, True)
    # Keras may have been imported before (`--jobs 0`), with a keras.json that says otherwise.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else ""
    environment = {
        "device": f"gpu: {name}" if gpus else "cpu",
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "host": platform.node(),
        "commit": _commit(),
    }
    _worker = _Worker(environment, source, images)
    return environment


def run_trial(context, task: Task) -> Record | None:
    """Train and score one trial and put its record in place, unless another sweep does or has just done so.

    Args:
        context: `engine.Context`, for progress and for being asked to stop.
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
    from fmnist_mlp.training import fit as training
    from fmnist_mlp.training import models

    trial, settings = task.trial, task.trial.architecture.training
    started, memory = time.time(), _PeakMemory()
    context.report({"epoch": 0, "epochs": settings.epochs})

    images = _images(task)
    train_indices, validation_indices = _split(trial, images.y_train, task.limit)
    preprocessing = _worker.preprocessing(images, settings, train_indices)
    model, exported, scoring = _worker.model(trial, images, len(train_indices), preprocessing)
    resident = _worker.resident(images, settings, preprocessing)
    checkpoint = _load_checkpoint(context, results, trial, model)
    tensorboard = tensorboard_logs.start_live(
        results.live_folder(trial.fingerprint),
        results.checkpoint_folder(trial.fingerprint) if checkpoint else None,
        tensorboard_logs.Histograms(resident, train_indices, settings) if task.histograms else None,
    )
    history = training.train(
        model,
        resident,
        settings,
        seed=trial.seed,
        train_indices=train_indices,
        validation_indices=validation_indices,
        callbacks=[tensorboard],
        plain_fit=trial.settings["loop"] == "plain",
        resume=checkpoint,
        at_epoch_end=_report_and_save(context, task, results, tensorboard),
    )
    trained = time.monotonic()

    scored = {"test": _Scored.of(scoring, images.x_test, images.y_test)}
    if len(validation_indices):
        x_val, y_val = images.x_train[validation_indices], images.y_train[validation_indices]
        scored["val"] = _Scored.of(scoring, x_val, y_val)
    figures = _figures(scored)
    if not np.isfinite(list(figures.values())).all():
        raise training.TrainingDiverged(f"the trained model has no finite figures: {figures}")

    with results.draft(trial.fingerprint) as draft:
        models.save_exported(exported, draft / "model.keras")
        np.savez_compressed(draft / "predictions.npz", **_arrays(scored))
        tensorboard_logs.keep_events(results.live_folder(trial.fingerprint), draft)
        were_lost = tensorboard_logs.restore_curves(draft, history.history)
        tensorboard_logs.write_scores(draft, exported, images, scored["test"].predicted, scored["test"].probabilities)
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
            environment=_worker.environment,
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
    started, memory = time.time(), _PeakMemory()
    context.report({"epoch": 0, "epochs": 1})

    images = _images(task)
    train_indices, validation_indices = _split(trial, images.y_train, task.limit)
    steps = _worker.preprocessing(images, baseline.training, train_indices)
    steps = steps or preprocess.fit((), images.x_train[train_indices])

    def vectors(x: np.ndarray) -> np.ndarray:
        return steps.transform(x).reshape(len(x), -1)  # float32, (n, values)

    x_train, y_train = vectors(images.x_train[train_indices]), images.y_train[train_indices]
    fitted = baselines.fit(baseline.classifier, x_train, y_train, images.num_classes, trial.seed)
    trained = time.monotonic()

    scored = {"test": _Scored.of_baseline(fitted, vectors(images.x_test), images.y_test, images.num_classes)}
    if len(validation_indices):
        x_val, y_val = vectors(images.x_train[validation_indices]), images.y_train[validation_indices]
        scored["val"] = _Scored.of_baseline(fitted, x_val, y_val, images.num_classes)
    with results.draft(trial.fingerprint) as draft:
        np.savez_compressed(draft / "predictions.npz", **_arrays(scored))
        tensorboard_logs.write_scores(draft, None, images, scored["test"].predicted, scored["test"].probabilities)
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
            metrics=_figures(scored),
            classes={part: those.classes for part, those in scored.items()},
            class_names=images.class_names,
            notes=fitted.notes,
            environment=_worker.environment | {"device": "cpu", "scikit-learn": fitted.version},
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


def measure_latency(context, task: "LatencyTask") -> Latency:
    """How long the exported model of an architecture takes for one image and for a thousand.

    The model is called as one compiled function (`tf.function`), as whoever serves it would; Keras's `predict` adds
    some 30 ms to each call. Its weights are untrained: they do not change the time. Behind a PCA whose number of
    components is open, `{pca: 0.95}`, it has the most that there can be, so that its latency is an upper limit.

    Returns:
        Medians of calls after a warm-up, in seconds, with the surroundings they were taken in.
    """
    import tensorflow as tf

    from fmnist_mlp.training import models

    architecture, preprocessing = task.architecture, None
    if architecture.training.preprocess:
        preprocessing = preprocess.unfitted(architecture.training.preprocess, task.image_shape)
    input_shape = task.image_shape if preprocessing is None else preprocessing.input_shape
    stack = models.build_model(
        architecture.layers, input_shape, task.num_classes, 0, takes_pixels=preprocessing is None
    )
    model = models.exported_model(stack, preprocessing)
    # AutoGraph, for which there is nothing to do here, would leave a file in the temporary folder.
    call = tf.function(lambda images: model(images, training=False), autograph=False)

    def median_seconds(batch_size: int, calls: int) -> float:
        images = tf.zeros((batch_size, *task.image_shape), tf.uint8)
        seconds = []
        for _ in range(_WARM_UP_CALLS + calls):
            began = time.perf_counter()
            call(images).numpy()  # numpy waits for a GPU
            seconds.append(time.perf_counter() - began)
        return float(np.median(seconds[_WARM_UP_CALLS:]))

    latency = Latency(
        latency_seconds=median_seconds(1, _LATENCY_CALLS),
        latency_1000_seconds=median_seconds(_LATENCY_BATCH_SIZE, _LATENCY_BATCH_CALLS),
        environment=_worker.environment,
    )
    Results(task.results_root).save_latency(task.key, latency)
    return latency


# ---- what a worker keeps between trials ---------------------------------------------------------------------------


class _Worker:
    """The images and the last architecture's compiled program: making them costs more than a short trial.

    Fitted steps are kept too. All architectures of a seed train on the same images, so they share them.
    """

    def __init__(self, environment: dict[str, str], source: DataSource | None, coming: futures.Future | None):
        self.environment = environment
        self._source, self._coming, self._images = source, coming, None
        self._forget()

    def _forget(self):
        self._fitted, self._resident = {}, (None, None)
        self._model_key = self._models = None

    def images(self, source: DataSource) -> Dataset:
        if source != self._source or self._images is None:
            is_coming = source == self._source and self._coming is not None
            self._images = self._coming.result() if is_coming else data.load_data(source)
            self._source, self._coming = source, None
            self._forget()
        return self._images

    def preprocessing(self, images: Dataset, settings, train_indices: np.ndarray):
        """What is done to pixels in front of the model; None where the model scales them itself and that is all."""
        steps = settings.preprocess
        if not steps and settings.augment is None:
            return None
        key = (steps, hashlib.sha256(train_indices.tobytes()).digest())
        if key not in self._fitted:
            while len(self._fitted) >= _FITTED_KEPT:
                del self._fitted[next(iter(self._fitted))]
            self._fitted[key] = preprocess.fit(steps, images.x_train[train_indices])
        return self._fitted[key]

    def resident(self, images: Dataset, settings, preprocessing):
        """The training images as a trial's loop wants them, transformed unless each epoch changes their pixels."""
        from fmnist_mlp.training.compiled_epoch import ResidentData

        key = (preprocessing, settings.augment is not None)
        if self._resident[1] is None or self._resident[0] != key:
            self._resident = (None, None)  # first let go of the old ones
            is_transformed = preprocessing is not None and settings.augment is None
            x = preprocessing.transform(images.x_train) if is_transformed else images.x_train
            still_to_do = None if is_transformed else preprocessing
            self._resident = key, ResidentData(x, images.y_train, images.num_classes, still_to_do)
        return self._resident[1]

    def model(self, trial: Trial, images: Dataset, train_images: int, preprocessing):
        """The model to train, at the start of this trial's seed, and the two that score and export it.

        Returns:
            `(model, exported, scoring)`, which share their layers.
        """
        from fmnist_mlp.training import fit as training
        from fmnist_mlp.training import models

        architecture, takes_pixels = trial.architecture, preprocessing is None
        input_shape = images.image_shape if takes_pixels else preprocessing.input_shape
        fresh = models.build_model(architecture.layers, input_shape, images.num_classes, trial.seed, takes_pixels)
        # All that the program is compiled for; the seed is in the values of its variables only.
        key = ({k: v for k, v in trial.settings.items() if k not in ("seed", "fold")}, train_images, input_shape)
        if key == self._model_key:
            model, exported, scoring, fitted = self._models
            training.restart(model, fresh)
            if preprocessing is fitted:
                return model, exported, scoring
        else:
            # Python frees the old model by itself; keras.utils.clear_session would take 0.2 s, and memory is watched.
            self._model_key = self._models = None
            model, is_convolutional = fresh, stacks.is_convolutional(architecture.layers)
            training.compile_model(model, architecture.training, train_images, jit_compile=not is_convolutional)
        # The fixed layers are constants to a compiled `predict`: another seed's need a model of their own.
        exported = models.exported_model(model, preprocessing)
        self._model_key, self._models = key, (model, exported, models.scoring_model(exported), preprocessing)
        return self._models[:3]


_worker: _Worker | None = None


# ---- steps of the recipe ------------------------------------------------------------------------------------------


def _images(task: Task) -> Dataset:
    """The images of a trial, if they are still those that the sweep was planned with."""
    images = _worker.images(task.source)
    if images.identity != task.trial.settings["data"]:
        raise ImagesChanged(f"the images in {task.source.folder} are not those that the sweep was planned with")
    return images


def _split(trial: Trial, y_train: np.ndarray, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Which images train and which validate: int32 indices into the training images. None validates a refit."""
    pool = data.limit_indices(y_train, limit)
    if trial.is_refit:
        return pool, pool[:0]
    if trial.fold is None:
        validation_split = trial.architecture.training.validation_split
        train, validation = data.stratified_split(y_train[pool], validation_split, trial.seed)
    else:
        train, validation = data.stratified_folds(y_train[pool], trial.settings["folds"], trial.fold, trial.seed)
    return pool[train], pool[validation]


def _report_and_save(context, task: Task, results: Results, tensorboard):
    """What happens between epochs: progress to the parent, a checkpoint when one is due, an end when asked for."""
    epochs, fingerprint = task.trial.architecture.training.epochs, task.trial.fingerprint
    saved = time.monotonic()

    def at_epoch_end(epochs_done, logs, take_checkpoint):
        nonlocal saved
        context.report({"epoch": epochs_done, "epochs": epochs, **logs})
        is_asked_to_stop = context.stop_requested
        is_due = time.monotonic() - saved >= task.checkpoint_seconds and epochs_done < epochs
        if is_asked_to_stop or is_due:
            tensorboard.flush()
            with results.checkpoint_draft(fingerprint) as draft:
                take_checkpoint().write(draft)
                tensorboard_logs.keep_events(results.live_folder(fingerprint), draft)
                (draft / "made-by.json").write_text(json.dumps(_checkpoint_origin(fingerprint)), encoding="utf-8")
            saved = time.monotonic()
        if is_asked_to_stop:
            raise Stopped

    return at_epoch_end


def _load_checkpoint(context, results: Results, trial: Trial, model):
    """The checkpoint of an interrupted run of this trial; None where there is none, or none that can be used.

    Without it the trial starts again, which costs time and changes nothing; whoever waits for it is told.
    """
    from fmnist_mlp.training.fit import BadCheckpoint, Checkpoint

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
    return {"fingerprint": fingerprint} | {k: _worker.environment[k] for k in ("tensorflow", "keras", "device")}


@dataclass(frozen=True)
class _Scored:
    """What the exported model, or a baseline, says of some images, and how good that is.

    The probabilities are those that are kept, float16, so that whoever reads them finds the same figures; losses come
    from the logits, at full precision.
    """

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None  # float16, (n, num_classes); None of a baseline that gives none
    figures: dict[str, float | None]
    classes: ClassScores

    @classmethod
    def of(cls, scoring, x: np.ndarray, labels: np.ndarray) -> "_Scored":
        logits, probabilities = scoring.predict(x, batch_size=_PREDICTION_BATCH_SIZE, verbose=0)
        predicted = probabilities.argmax(axis=1)
        return cls._of(labels, predicted, probabilities.astype(np.float16), metrics.cross_entropy(labels, logits))

    @classmethod
    def of_baseline(cls, fitted: baselines.Fitted, x: np.ndarray, labels: np.ndarray, num_classes: int) -> "_Scored":
        predicted, probabilities = fitted.predict(x)
        if probabilities is None:
            certain = np.eye(num_classes, dtype=np.float16)[predicted]  # what it decided; nothing is said of how sure
            scored = cls._of(labels, predicted, certain, loss=None)
            return replace(scored, probabilities=None, figures=scored.figures | {"ece": None})
        loss = metrics.cross_entropy(labels, baselines.log_probabilities(probabilities))
        return cls._of(labels, predicted, probabilities.astype(np.float16), loss)

    @classmethod
    def _of(cls, labels: np.ndarray, predicted: np.ndarray, kept: np.ndarray, loss: float | None) -> "_Scored":
        scores = metrics.classification_scores(labels, predicted, kept)
        figures = {
            "loss": loss,
            "accuracy": float(np.mean(predicted == labels)),
            "macro_precision": scores.macro_precision,
            "macro_recall": scores.macro_recall,
            "macro_f1": scores.macro_f1,
            "ece": scores.ece,
        }
        classes = ClassScores(
            precision=scores.precision,
            recall=scores.recall,
            f1=scores.f1,
            confusion_matrix=scores.confusion_matrix,
        )
        return cls(labels, predicted, kept, figures, classes)

    def arrays(self, prefix: str = "") -> dict[str, np.ndarray]:
        """What `predictions.npz` holds of them."""
        arrays = {"label": self.labels.astype(np.uint8), "predicted": self.predicted.astype(np.uint8)}
        if self.probabilities is not None:
            arrays["probabilities"] = self.probabilities
        return {prefix + name: array for name, array in arrays.items()}


def _figures(scored: dict[str, _Scored]) -> dict[str, float | None]:
    """`test_accuracy`, `val_loss`, ..."""
    return {f"{part}_{name}": value for part, those in scored.items() for name, value in those.figures.items()}


def _arrays(scored: dict[str, _Scored]) -> dict[str, np.ndarray]:
    """What `predictions.npz` holds: `label`, `predicted`, ... of the test images, `val_label`, ... of the others."""
    return scored["test"].arrays() | (scored["val"].arrays("val_") if "val" in scored else {})


class _PeakMemory:
    """The most memory that this process has held since this was made; of its whole life where Linux does not tell."""

    def __init__(self):
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets VmHWM

    def peak_bytes(self) -> int | None:
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])
        with contextlib.suppress(ImportError):  # there is none on Windows
            import resource

            # Kilobytes, but bytes on macOS.
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return peak if sys.platform == "darwin" else 1024 * peak
        return None


def _keep_failure(task: Task, results: Results, error: Exception, started: float, seconds: float) -> Record:
    """The record of a trial that raised; its curves are kept, they are what one wants to see of it."""
    images, architecture = _worker.images(task.source), task.trial.architecture
    size = UNKNOWN_SIZE
    if not isinstance(architecture, Baseline):
        steps, shape = architecture.training.preprocess, images.image_shape
        size = preprocess.count(steps, architecture.layers, shape, images.num_classes)
    record = failed_record(
        task.trial,
        size,
        images.source.dataset,
        Failure.of(error),
        environment=_worker.environment,
        started=started,
        seconds=seconds,
        failures_before=task.failures_before,
    )
    with results.draft(task.trial.fingerprint) as draft:
        tensorboard_logs.keep_events(results.live_folder(record.fingerprint), draft, must_be_whole=False)
        results.write_record(draft, record)
    if not record.machine_failures:  # else the next run goes on from there
        results.drop_checkpoint(task.trial.fingerprint)
    return record


def _which_weights(history, settings) -> str:
    """Which weights were scored: the last epoch's, or those that early stopping restored."""
    if history.best_epoch is None:
        return "last epoch"
    return f"best {settings.early_stopping.monitor}: epoch {history.best_epoch}"


# ---- the process --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def quiet_start():
    """Catch what TensorFlow's C++ prints while it starts, which no setting silences; shown only if that fails.

    Yields:
        A list that holds the caught lines afterwards.
    """
    lines: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield lines
        except BaseException:
            caught.seek(0)
            os.write(kept, caught.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            lines.extend(caught.read().decode(errors="replace").splitlines())


def _own_gpu(gpus: list) -> list:
    """Of a machine's GPUs the one of this worker, by the number in its process's name; elsewhere the first."""
    name = multiprocessing.current_process().name
    number = int(name.rpartition("-")[2]) if name.startswith("worker-") else 0
    return gpus[number % len(gpus) :][:1] if gpus else []


def _no_gpu(messages: list[str]) -> str:
    reasons = [line.split("] ", 1)[-1] for line in messages if "cuda" in line.lower() or "gpu" in line.lower()]
    return (
        "--device gpu: TensorFlow finds no GPU"
        + (f" ({reasons[-1].rstrip('.')})" if reasons else "")
        + "; with an NVIDIA card and driver, install tensorflow[and-cuda] (make does, where nvidia-smi answers), "
        "or use --device auto"
    )


def _commit() -> str:
    """The commit of this checkout, empty where it is none: a record should say which code made it."""
    git = Path(__file__).resolve().parents[2]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        found = subprocess.run(
            ["git", "-C", str(git), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
        return found.stdout.strip()
    return ""

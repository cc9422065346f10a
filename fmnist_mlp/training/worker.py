"""The process that trials run in: prepared once, and what it keeps from one trial to the next.

`start_worker` chooses the device, one core, and Keras as Keras ships it. The `Worker` that `current` gives keeps what
trials share: the images, what was fitted to them, and trainers with what they have compiled. What it keeps never
changes a number.
"""

import contextlib
import gc
import hashlib
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
from concurrent import futures
from pathlib import Path

import numpy as np

from fmnist_mlp.data.source import Dataset, DataSource, load_data
from fmnist_mlp.engines import machine
from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.sweep import Architecture, Baseline
from fmnist_mlp.training import preprocess, program_cache
from fmnist_mlp.training.baseline import ClassifierTrainer
from fmnist_mlp.training.trainer import Trainer

_FITTED_KEPT = 50  # preprocessings that a worker remembers, at most 5 MB each (784 components in float64)

# What a worker takes along from the shell: how to find programs, libraries, folders, the GPU, and what language it is.
_PASSED_ON = frozenset(
    """
    PATH HOME USER LOGNAME LANG LANGUAGE TZ TMPDIR TMP TEMP XDG_CACHE_HOME XDG_CONFIG_HOME KERAS_HOME
    PYTHONPATH PYTHONHOME PYTHONPLATLIBDIR PYTHONNOUSERSITE PYTHONUSERBASE PYTHONSAFEPATH PYTHONPYCACHEPREFIX
    PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED PYTHONFAULTHANDLER VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV
    FMNIST_MLP_PROGRAMS __PYVENV_LAUNCHER__ NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES
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
def keras_as_shipped(is_alone: bool = False):
    """For the block that imports TensorFlow, and Keras with it: without what is the user's.

    A keras.json may name another backend, or stop the import. Keras 3.15 imports matplotlib for its galleries, which
    fails where MPLBACKEND names a module that is not here, and scikit-learn, pandas and IPython for what no trial
    wants, TensorFlow 2.21 JAX to convert models; that and looking for garbage among a million new objects takes half of
    the seconds.

    Args:
        is_alone: whether nobody else's code runs in this process, which could miss what Keras does with these packages.
    """
    absent = [name for name in _LEFT_OUT[: None if is_alone else 1] if name not in sys.modules]
    is_collecting = gc.isenabled()
    sys.modules.update(dict.fromkeys(absent))  # an ImportError, which Keras is prepared for
    gc.disable()
    try:
        with machine.environment({"KERAS_HOME": os.devnull}):  # no folder: nothing is read there, nor written
            yield
        if is_alone:
            gc.freeze()  # what was imported stays: else each search for garbage goes through it, as programs are traced
    finally:
        if is_collecting:
            gc.enable()
        for name in absent:
            del sys.modules[name]


_LEFT_OUT = ("matplotlib", "sklearn", "pandas", "IPython", "jax")


def start_worker(
    device: str, threads: int, source: DataSource | None = None, is_alone: bool = False, load=None
) -> dict[str, str]:
    """Prepare this process for trials: import TensorFlow, choose the device, fix what Keras reads from user files.

    Args:
        device: `auto`, `cpu` or `gpu`.
        threads: cores a trial computes on.
        source: the images of the trials to come; read while TensorFlow is imported.
        is_alone: whether this process is a worker's, and nobody else's code runs in it.
        load: how, where that is not `data.load_data`.

    Returns:
        What records say of their surroundings: `device`, `tensorflow`, `keras`, `python`, ...

    Raises:
        SweepError: a GPU was asked for and TensorFlow finds none.
    """
    global _current
    images = None if source is None else futures.ThreadPoolExecutor(1).submit(load or load_data, source)
    # XLA keeps no programs of a GPU; what TensorFlow says of one is to be heard.
    programs = program_cache.ProgramCache.start(threads) if is_alone and device != "gpu" else None
    with quiet_start() as messages:
        with keras_as_shipped(is_alone):
            import keras
            import tensorflow as tf

        if _current is None:  # TensorFlow takes thread counts once a process (`--jobs 0` may come here twice)
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
    _current = Worker(environment, source, images, programs)
    return environment


def load_images(context, source: DataSource) -> None:
    """A call of an engine: what the first trial would do first."""
    current().images(source)


_current: "Worker | None" = None


def current() -> "Worker":
    """The `Worker` of this process.

    The one place where a process remembers something: an engine sends both the initializer (`start_worker`) and the
    calls by name, and what it hands from the one to the others is for the parent, so it must pickle. They meet here.
    """
    assert _current is not None, "start_worker comes first"
    return _current


class Worker:
    """The images and all that was made of them: making it costs more than a short trial.

    Fitted steps are kept too. All architectures of a seed train on the same images, so they share them.
    """

    def __init__(
        self,
        environment: dict[str, str],
        source: DataSource | None = None,
        coming: futures.Future | None = None,
        programs: program_cache.ProgramCache | None = None,
    ):
        self.environment, self._programs = environment, programs
        self._source, self._coming, self._images = source, coming, None
        self._fitted: dict[tuple, preprocess.Preprocessing] = {}
        self._trainers: dict[type, Trainer] = {}

    def forget(self) -> None:
        """Be as a new process."""
        self._source = self._coming = self._images = None
        self._fitted.clear()
        self._trainers.clear()

    def images(self, source: DataSource) -> Dataset:
        if source != self._source:
            self.forget()
            self._source = source
        if self._images is None:
            coming, self._coming = self._coming, None
            self._images = load_data(source) if coming is None else coming.result()
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

    def trainer(self, architecture: Architecture | Baseline) -> Trainer:
        """Who trains it; the same object for all of a kind."""
        kind = type(architecture)
        if kind not in self._trainers:
            self._trainers[kind] = self._make_trainer(kind)
        return self._trainers[kind]

    def _make_trainer(self, kind: type) -> Trainer:
        if kind is Baseline:
            return ClassifierTrainer()
        # Imported here: the parent names `start_worker` without loading TensorFlow.
        from fmnist_mlp.training.networks import NetworkTrainer

        return NetworkTrainer(self._programs)


class PeakMemory:
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

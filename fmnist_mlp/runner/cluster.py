"""What a sweep needs where workers share no files with it: images go out, records and checkpoints come back.

On a machine of the cluster (`find_images`, `start_worker_there`, `run_trial_there`, `measure_latency_there`) a trial
runs as ever, `trial.run_trial`, in a scratch folder of its worker's own; what it leaves there is sent back as bytes.
In the driver `Home` is the only writer: it claims a trial before it is handed out, sends its checkpoint along, keeps
those that come, and moves records into place.

Leaves to others: which machine runs what (`engines.ray`), what a trial is (`trial`), every path (`results`).
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fmnist_mlp.data.source import Dataset, DataSource, files_of, find_data, load_data
from fmnist_mlp.engines import machine
from fmnist_mlp.engines import ray as engine_ray
from fmnist_mlp.engines.calls import Call, Outcome, Stopped, WorkerSettings
from fmnist_mlp.engines.pool import Pool
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results.record import Latency, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.training import trial, worker
from fmnist_mlp.training.latency import LatencyTask, measure_latency
from fmnist_mlp.training.trial import Task

# They decide a trial's numbers, to the last bit, so all machines have the driver's.
_SAME_EVERYWHERE = ("tensorflow", "keras", "numpy")
_SECONDS_BETWEEN_LOOKS = 0.2
# What runs on a machine of the cluster in place of what a worker beside the driver runs.
_THERE = {
    "fmnist_mlp.training.trial:run_trial": "run_trial_there",
    "fmnist_mlp.training.latency:measure_latency": "measure_latency_there",
}
Files = dict[str, bytes]  # content by path, relative and with slashes


# ---- on a machine of the cluster ----------------------------------------------------------------------------------


def find_images(fetch: Callable[[], Files], *initargs) -> tuple:
    """Before a worker starts: where its images are on this machine; the driver's are written here if they are nowhere.

    Looked for are Fashion-MNIST's files in the driver's folder, FASHION_MNIST_DIR and Keras's cache (whose checksums
    decide when they are read), other files in the driver's folder only, where they must be the driver's by name and
    size. Nothing is downloaded: a cluster should not fetch from the network what the driver has.

    Args:
        fetch: gives the driver's files by name.
        initargs: those of `start_worker_there`.

    Returns:
        `initargs` with the folder of this machine.

    Raises:
        SweepError: the files cannot be written here.
    """
    device, threads, source, versions, sizes = initargs
    if source.folder is None:
        return device, threads, source, versions, None
    if source.is_own:
        folders = [source.folder] if _sizes_of(source.folder, sizes) == sizes else []
    else:
        keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        places = [source.folder, os.environ.get("FASHION_MNIST_DIR"), keras_home / "datasets" / "fashion-mnist"]
        folders = [Path(place) for place in places if place and _holds_images(Path(place))]
    folder = folders[0] if folders else _write_images(fetch())
    return device, threads, source, versions, folder


def start_worker_there(device: str, threads: int, source: DataSource, versions: dict, folder: Path | None) -> dict:
    """As `worker.start_worker`, with the images of `source` from this machine's `folder`.

    Raises:
        SweepError: this machine has other versions than the driver; what `worker.start_worker` raises.
    """
    here = library_versions()
    if wrong := [name for name in versions if here[name] != versions[name]]:
        has, expected = (", ".join(f"{name} {of[name]}" for name in wrong) for of in (here, versions))
        raise SweepError(
            f"{platform.node()} has {has}, the sweep was started with {expected}: install the same on all machines"
        )
    machine.scratch_folder()
    return worker.start_worker(device, threads, source, is_alone=True, load=lambda wanted: _load_from(folder, wanted))


def run_trial_there(context, task: Task, checkpoint: Files | None = None) -> tuple[Record, Files]:
    """`trial.run_trial` in a scratch folder: the record, and the files of its folder.

    Args:
        checkpoint: of an interrupted run, which this one goes on from.

    Raises:
        Stopped, SweepError: as `run_trial`; the checkpoint has been sent, as a message, before the former.
    """
    with tempfile.TemporaryDirectory(dir=machine.scratch_folder()) as folder:
        results = Results(Path(folder) / "results")
        fingerprint = task.trial.fingerprint
        if checkpoint is not None:
            with results.checkpoint_draft(fingerprint) as draft:
                write_files(draft, checkpoint)
        here = dataclasses.replace(task, results_root=results.root, replaces=None, fresh=False, wait=False)
        sender = _CheckpointSender(context, results.checkpoint_folder(fingerprint))
        try:
            record = trial.run_trial(sender, here)
        except Stopped:
            sender.send_checkpoint()
            raise
        sender.send_checkpoint()  # of a candidate that its search may let go on
        return record, read_files(results.record_folder(fingerprint))


def measure_latency_there(context, task: LatencyTask) -> Latency:
    """`latency.measure_latency`; the driver keeps what it returns."""
    with tempfile.TemporaryDirectory(dir=machine.scratch_folder()) as folder:
        return measure_latency(context, dataclasses.replace(task, results_root=Path(folder)))


class _CheckpointSender:
    """A trial's context that also sends its checkpoint home, at the end of the epoch after it was written."""

    def __init__(self, context, folder: Path):
        self._context, self._folder, self._sent = context, folder, self._stamp(folder)

    @property
    def stop_requested(self) -> bool:
        return self._context.stop_requested

    def report(self, message) -> None:
        self._context.report(message)
        self.send_checkpoint()

    def send_checkpoint(self) -> None:
        stamp = self._stamp(self._folder)
        if stamp not in (None, self._sent):
            self._sent = stamp
            self._context.report({"checkpoint": read_files(self._folder)})

    @staticmethod
    def _stamp(folder: Path) -> tuple[int, int] | None:
        with contextlib.suppress(OSError):
            about = (folder / "made-by.json").stat()
            return about.st_ino, about.st_mtime_ns
        return None


def _write_images(files: Files) -> Path:
    """The driver's images on this machine, written once, whole, and kept for the next sweep."""
    name = "images-" + hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()[:16]
    place = machine.folder_of_user() / name
    if place.is_dir():
        return place
    draft = Path(tempfile.mkdtemp(prefix=".images-", dir=place.parent))
    try:
        write_files(draft, files)
        os.replace(draft, place)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if not place.is_dir():  # else another worker was quicker
            raise SweepError(f"{platform.node()}: cannot write the images to {place} ({error.strerror})") from error
    return place


def _load_from(folder: Path | None, source: DataSource) -> Dataset:
    dataset = load_data(dataclasses.replace(source, folder=folder))
    return dataclasses.replace(dataset, source=source)  # records say where the driver has them


def _holds_images(folder: Path) -> bool:
    with contextlib.suppress(SweepError):
        find_data("fashion_mnist", folder)
        return True
    return False


def _sizes_of(folder: Path, names) -> dict[str, int]:
    return {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}


# ---- in the driver ------------------------------------------------------------------------------------------------


def library_versions() -> dict[str, str]:
    """Those that all machines must share, of this one; looked up without importing TensorFlow."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _SAME_EVERYWHERE:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "(none)"
    return versions


def image_files(source: DataSource) -> Files:
    """The files of a source as they lie in its folder, by name; none for the stand-in, which is drawn everywhere."""
    return {path.name: path.read_bytes() for path in files_of(source)}


class Home:
    """The driver's side of trials that run elsewhere; the only one that writes.

    Use it as a context manager: leaving it gives up the claims that are still held.

    Args:
        results: where records go.
    """

    def __init__(self, results: Results):
        self._results, self._on_message = results, None
        self._claims: dict[str, contextlib.ExitStack] = {}
        self._files: Files | None = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for key in list(self._claims):
            self._release(key)

    def make_engine(
        self,
        source: DataSource,
        device: str,
        threads: int,
        *,
        worker_bytes: int,
        on_message: Callable[[Call, dict], None],
        on_notice: Callable[[str], None],
        **options,
    ) -> Pool:
        """The engine for trials of so many `threads`.

        Args:
            source: the images, as the driver has them.
            device: `auto` takes a GPU for each worker where the cluster has any.
            worker_bytes: memory that a worker needs.
            on_message: told every message but checkpoints.
            on_notice: told where the sweep waits for the cluster.
            options: those of `Pool`; its `jobs` are `jobs_for`'s.
        """
        if device == "auto":
            device = "gpu" if engine_ray.has_gpus() else "cpu"
        needs = engine_ray.Needs(threads, int(device == "gpu"), worker_bytes)
        if self._files is None:
            self._files = image_files(source)
        sizes = {name: len(content) for name, content in self._files.items()}
        self._on_message = on_message
        settings = WorkerSettings(
            environment=functools.partial(worker.worker_environment, device, threads),
            initializer=f"{__name__}:start_worker_there",
            initargs=(device, threads, source, library_versions(), sizes),
        )
        machines = engine_ray.Machines(
            needs, prepare_node=f"{__name__}:find_images", shipment=self._files, on_notice=on_notice
        )
        return Pool(1, settings, machines, prepare_call=self.prepare_call, on_message=self.hear, **options)

    @staticmethod
    def jobs_for(engine: Pool, jobs: int | None, calls: int) -> int:
        """Workers at most: None for as many as the cluster holds; never more than calls.

        Raises:
            SweepError: no machine of the cluster is large enough for a worker.
        """
        places = engine_ray.count_places(engine.workplace.needs)
        return max(1, min(jobs or places, calls))

    def run(self, engine: Pool, calls: Iterable[Call]) -> Iterator[Outcome]:
        """As `Engine.run`, for the calls of a local engine: made elsewhere, what they leave there put in its place."""
        calls = [dataclasses.replace(call, function=f"{__name__}:{_THERE[call.function]}") for call in calls]
        for outcome in engine.run(calls):
            yield self._take_in(outcome)
            self._release(outcome.call.key)  # when all that is to be written of it is written

    def prepare_call(self, call: Call) -> Call | Outcome:
        """Claim a trial and add its checkpoint; its outcome where another sweep has it (None) or has just done it."""
        if call.alone:
            return call
        task = call.args[0]
        if call.key not in self._claims:
            claim = contextlib.ExitStack()
            if not claim.enter_context(self._results.claim(call.key, may_wait=lambda: False)):
                claim.close()
                return Outcome(call, "done", attempts=0)
            self._claims[call.key] = claim
            record = trial.find_record(self._results, task)
            if record is not None:
                self._release(call.key)
                self._on_message(call, {"found": True})
                return Outcome(call, "done", record, attempts=0)
        folder = self._results.checkpoint_folder(call.key)
        return dataclasses.replace(call, args=(task, read_files(folder) if folder.is_dir() else None))

    def hear(self, call: Call, message: dict) -> None:
        """What a trial says; its checkpoints are kept."""
        if files := message.get("checkpoint"):
            with self._results.checkpoint_draft(call.key) as draft:
                write_files(draft, files)
        else:
            self._on_message(call, message)

    def _take_in(self, outcome: Outcome) -> Outcome:
        """Put what has come back in its place; the outcome as a local worker would have given it.

        Raises:
            SweepError: it cannot be written.
        """
        key, value = outcome.call.key, outcome.value
        if isinstance(value, Latency):
            self._results.save_latency(key, value)
        elif isinstance(value, tuple):
            value, files = value
            with self._results.draft(key) as draft:
                write_files(draft, files)
            if not value.keeps_checkpoint:
                self._results.drop_checkpoint(key)
        return dataclasses.replace(outcome, value=value)

    def wait_for_others(self, calls: list[Call], may_wait: Callable[[], bool]) -> None:
        """Wait until one of these trials, which other sweeps have in work, can be claimed."""
        while may_wait():
            for call in calls:
                with self._results.claim(call.key, may_wait=lambda: False) as is_free:
                    if is_free:
                        return
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _release(self, key: str) -> None:
        if claim := self._claims.pop(key, None):
            claim.close()


# ---- both sides ---------------------------------------------------------------------------------------------------


def read_files(folder: Path) -> Files:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def write_files(folder: Path, files: Files) -> None:
    """Write them below a folder; not beside it, whatever their names say."""
    for name, content in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"a file outside its folder: {name!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

"""Workers on a Ray cluster: those of a `Pool`, on as many machines as the cluster has.

A worker is the same warm process as on this machine and keeps the same promises. Beside it stands a Ray actor, its
*host*: it holds the worker's cores and GPU, starts it, hands on what both sides say and tells how it ended. So the
environment is complete before the worker's interpreter starts, a call may be killed without losing its host's log, and
a trial never computes in a process of Ray's. Ray decides where hosts run, carries the messages and notices lost
machines; a call whose machine is lost runs again elsewhere and is not blamed for it (a few times).

Calls, results and messages travel through Ray: driver and workers share no file system. The driver's own package is
sent to every machine; the libraries it needs must be there. When the driver dies, so do its hosts, and each worker
with its host.

Hidden here: all of Ray. Left to others: what calls do about files (`cluster`).
"""

import contextlib
import dataclasses
import functools
import os
import pickle
import pkgutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_mlp.engines.calls import Failure, WorkerSettings
from fmnist_mlp.engines.machine import available_cores, environment
from fmnist_mlp.engines.process import LocalProcess
from fmnist_mlp.errors import SweepError

INSTALL_RAY = "install it beside TensorFlow, on every machine alike: pip install 'ray>=2.59,<3'"
_CONNECT_SECONDS = 5.0  # for an answer from --ray-address; Ray itself would try for some minutes
_PATIENCE_SECONDS = 60.0  # with a cluster that could not hold a worker any more; its machines may come back
_ANSWER_SECONDS = 5.0  # for a host to tell how its worker ended
_MESSAGES_AT_ONCE = 64


@dataclass(frozen=True)
class Needs:
    """What one worker takes of its machine: cores, GPUs, bytes of memory. Ray counts them, it enforces only GPUs."""

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int = 0


@contextlib.contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Be a driver of a Ray cluster while the block runs.

    Args:
        address: `host:port` of the cluster's head. None takes `RAY_ADDRESS`, else the cluster that runs on this
            machine, else, like `local`, starts Ray here, on this machine's cores, and ends it afterwards.

    Raises:
        SweepError: Ray is not installed, nothing answers there, or versions or tokens do not match.
    """
    with contextlib.ExitStack() as at_end:
        ray = _import_ray()
        address = address or os.environ.get("RAY_ADDRESS") or None
        if address not in (None, "auto", "local"):
            _check_answers(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a Ray that is started here reports to nobody
        options = {
            "runtime_env": {"py_modules": [str(Path(__file__).parents[1])], "excludes": ["__pycache__"]},
            "logging_level": "ERROR",
            "log_to_driver": False,  # workers' prints would go through the progress display
        }
        with _handlers_kept():
            try:
                try:
                    where = at_end.enter_context(_only_here()) if address == "local" else {"address": address or "auto"}
                    ray.init(**where, **options)
                except ConnectionError:
                    if address is not None:
                        raise
                    ray.init(**at_end.enter_context(_only_here()), **options)
            except Exception as error:  # of many kinds, ValueError and RuntimeError among them
                ray.shutdown()
                raise SweepError(_cannot_connect(address, error)) from error
        at_end.callback(ray.shutdown)
        yield


@contextlib.contextmanager
def _only_here() -> Iterator[dict[str, Any]]:
    """The arguments that start Ray on this machine, for nobody else to reach and with nothing left behind.

    Ray listens on all interfaces, so whoever reaches the machine could run code here, unless it takes the machine for
    one without clusters, as by itself on macOS and Windows; then all of its processes listen on 127.0.0.1.
    """
    # Imported here: see `_import_ray`. Ray 2.60 reads the variable as it is imported, so both are told.
    from ray._private import ray_constants

    # Short, for Ray's sockets lie below it and their paths may have 107 letters.
    parent = os.environ.get("RAY_TMPDIR") or ("/tmp" if os.name == "posix" else None)
    was_enabled = ray_constants.ENABLE_RAY_CLUSTER
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir=parent, ignore_cleanup_errors=True) as folder,
        environment({ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}),
    ):
        ray_constants.ENABLE_RAY_CLUSTER = False
        try:
            yield {
                "address": "local",
                "num_cpus": available_cores(),
                "include_dashboard": False,
                "_temp_dir": folder,
            }
        finally:
            ray_constants.ENABLE_RAY_CLUSTER = was_enabled


def count_places(needs: Needs) -> int:
    """How many workers the machines of the cluster hold when nobody else uses them.

    Raises:
        SweepError: no machine is large enough for one.
    """
    places, largest = 0, {}
    for node in _import_ray().nodes():
        if node["Alive"]:
            has = node["Resources"]
            wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_bytes}
            places += min(int(has.get(name, 0) // amount) for name, amount in wanted.items() if amount)
            largest = {name: max(largest.get(name, 0), has.get(name, 0)) for name in wanted}
    if not places:
        raise SweepError(
            f"the Ray cluster has no machine for a worker, which needs {_in_words(needs)}; its machines have up to "
            f"{largest.get('CPU', 0):g} cores, {largest.get('GPU', 0):g} GPUs and {largest.get('memory', 0) / 1e9:.1f} "
            "GB: add one (ray start --address=...), or ask for less (threads, --device cpu)"
        )
    return places


def has_gpus() -> bool:
    """Whether any machine of the cluster offers a GPU."""
    return _import_ray().cluster_resources().get("GPU", 0) > 0


class Machines:
    """The machines of the cluster as the `Workplace` of a pool: workers start wherever there is room, or when there is.

    To be used within `connected`.

    Args:
        needs: what a worker takes.
        prepare_node: the dotted name of what is called as `prepare_node(fetch, *initargs)` on the worker's machine
            before its process starts; it returns the initializer's real arguments. `fetch()` gives `shipment`.
        shipment: any picklable value for `prepare_node`, sent to a machine at most once, and only if asked for.
        on_notice: called with one line where the run waits for the cluster.
    """

    seconds_between_looks = 15.0  # at what the cluster has, of a run without any worker
    may_kill_at_any_time = False  # a signal handler may have interrupted Ray itself

    def __init__(
        self,
        needs: Needs = Needs(),
        *,
        prepare_node: str | None = None,
        shipment: Any = None,
        on_notice: Callable[[str], None] | None = None,
    ):
        self.needs = needs
        self.prepare_node = prepare_node
        self.on_notice = on_notice or (lambda line: None)
        self._shipment = shipment
        self._alone_since = self._no_places_since = None

    @functools.cached_property
    def _shipped(self):
        return None if self._shipment is None else _import_ray().put(self._shipment)

    @functools.cached_property
    def _host_class(self):
        groups = {"in": 1, "out": 1, "end": 1}
        resources = {"num_cpus": self.needs.cpus, "num_gpus": self.needs.gpus, "memory": self.needs.memory_bytes}
        return _import_ray().remote(max_restarts=0, concurrency_groups=groups, **resources)(_Host)

    def make_process(self, number: int, settings: WorkerSettings, wake: Callable[[], None]) -> "_RayProcess":
        self._alone_since = time.monotonic()  # a new one is given time to find a place
        # In a list Ray leaves the reference alone, and the host fetches what it stands for if it has to.
        return _RayProcess(self._host_class, pickle.dumps((settings, self.prepare_node)), [self._shipped], wake)

    def look_after(self, processes: Sequence["_RayProcess"]):
        """Say so where no worker has found a place, and give up where there is none left in the cluster."""
        if not processes or any(process.node_id for process in processes):
            self._alone_since = time.monotonic()
            self._no_places_since = None
        elif time.monotonic() - self._alone_since >= self.seconds_between_looks:
            self._alone_since = time.monotonic()
            try:
                count_places(self.needs)
            except SweepError:
                self._no_places_since = self._no_places_since or time.monotonic()
                if time.monotonic() - self._no_places_since >= _PATIENCE_SECONDS:
                    raise
            else:
                self._no_places_since = None
                self.on_notice(
                    f"waiting for the Ray cluster: no machine has {_in_words(self.needs)} free now (ray status)"
                )


class _RayProcess:
    """A `WorkerProcess` beside a host somewhere in the cluster."""

    sources = ()

    def __init__(self, host_class, beginning: bytes, shipped: list, wake: Callable[[], None]):
        self.node_id = self._machine = None  # known once it has found a place
        self._start_host = lambda: host_class.remote(beginning, shipped)
        self._wake = wake
        self._host = self._news = None  # the actor, and the future of its next answer
        self._inbox: deque = deque()
        self._cause = self._error = None  # of its end
        self._is_killed = False

    def start(self):
        self._host = self._start_host()
        self._listen()

    def send(self, message: tuple):
        if self._cause is None:
            self._host.send.options(concurrency_group="in").remote(message)

    def poll(self) -> bool:
        self._take_in()
        return bool(self._inbox) or self._cause is not None

    def receive(self) -> tuple:
        if not self._inbox:
            raise EOFError
        message = self._inbox.popleft()
        if self.poll():  # there is more, of which no source tells
            self._wake()
        return message

    def kill(self):
        """A host that has found no place has no worker yet, and goes itself."""
        if self._is_killed or self._cause is not None or self._host is None:
            return
        self._is_killed = True
        if self.node_id is None:
            _import_ray().kill(self._host)
        else:
            self._host.kill.options(concurrency_group="end").remote()

    def end(self, patience: float) -> str:
        if self._host is None:
            return "never began"
        deadline = time.monotonic() + max(patience, _ANSWER_SECONDS)
        while self._cause is None and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(Exception):  # what it was, _take_in tells
                self._news.result(timeout=left)
            self._take_in()
        _import_ray().kill(self._host)
        return self._cause or "did not answer"

    def has_lost_its_machine(self) -> bool:
        """Whether it ended because its machine did, or cannot be reached any more."""
        if self._error is None or self._is_killed:
            return False
        ray = _import_ray()
        if not isinstance(self._error, ray.exceptions.ActorDiedError):
            return True  # no answer from its machine, or the answer was lost with it
        return not any(node["NodeID"] == self.node_id and node["Alive"] for node in ray.nodes())

    def _listen(self):
        self._news = self._host.receive.options(concurrency_group="out").remote().future()
        self._news.add_done_callback(lambda _: self._wake())  # in a thread of Ray's: no more than a word

    def _take_in(self):
        """Move what has arrived into the inbox, and ask for more."""
        if self._news is None or not self._news.done():
            return
        news, self._news = self._news, None
        try:
            messages = news.result()
        except Exception as error:  # the host is gone: RayActorError, or its last answer with it: ObjectLostError
            self._cause, self._error = _first_line(error), error
            return
        for kind, *content in messages:
            if kind == "up":
                self.node_id, self._machine = content
            elif kind == "gone":
                (self._cause,) = content
            elif kind == "unfit" and content[1].type in ("ModuleNotFoundError", "ImportError"):
                self._inbox.append((kind, True, dataclasses.replace(content[1], message=self._lacks(content[1]))))
            else:
                self._inbox.append((kind, *content))
        if self._cause is None:
            self._listen()

    def _lacks(self, failure: Failure) -> str:
        return (
            f"{self._machine}: a worker cannot start there: {failure.message}; install there what the sweep needs, in "
            "the driver's versions: pip install -r requirements.txt"
        )


class _Host:
    """The actor beside a worker. Each method has a concurrency group: one thread, which keeps the order of calls."""

    def __init__(self, beginning: bytes, shipped: list):
        ray = _import_ray()
        self._news = [("up", ray.get_runtime_context().get_node_id(), socket.gethostname())]
        self._process = None
        try:
            settings, prepare_node = pickle.loads(beginning)
            if prepare_node is not None:
                initargs = pkgutil.resolve_name(prepare_node)(lambda: ray.get(shipped[0]), *settings.initargs)
                settings = dataclasses.replace(settings, initargs=initargs)
            process = LocalProcess(0, settings)
            process.start()
            self._process = process
        except Exception as error:
            self._news += [("unfit", isinstance(error, SweepError), Failure.of(error)), ("gone", "never began")]

    def send(self, message: tuple):
        if self._process is not None:
            self._process.send(message)

    def receive(self) -> list[tuple]:
        """Wait for what the worker says; all that is there by then. The last of all is `("gone", how)`."""
        news, self._news = self._news, []
        try:
            while not news or (len(news) < _MESSAGES_AT_ONCE and self._process is not None and self._process.poll()):
                news.append(self._process.receive())
        except EOFError:
            news.append(("gone", self._process.end(patience=1.0)))
        return news

    def kill(self):
        if self._process is not None:
            self._process.kill()


def _import_ray():
    # Imported here: it is an extra, and takes 0.2 s where it is not wanted.
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise SweepError(f"--engine ray needs Ray ({error}): {INSTALL_RAY}") from error
    return ray


def _check_answers(address: str) -> None:
    """That somebody listens at `host:port`."""
    if "://" in address:
        raise SweepError(
            f"--ray-address {address}: expected host:port of the cluster's head (the port of ray start --head, by "
            "default 6379); Ray's client protocol does not carry a sweep: run it on a machine of the cluster"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SweepError(f"--ray-address {address}: expected host:port of the cluster's head, such as 10.0.0.5:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise SweepError(
            f"--ray-address {address}: nothing answers there ({error.strerror or error}): start the cluster with "
            "ray start --head, or correct the address"
        ) from error


def _cannot_connect(address: str | None, error: Exception) -> str:
    """One line for whatever `ray.init` raised; its causes are looked through, the last often says most."""
    reasons = []
    while error is not None:
        reasons.append(" ".join(str(error).split()))
        error = error.__cause__ or error.__context__
    where = f"the Ray cluster at {address}" if address else "Ray on this machine"
    if mismatch := next((reason for reason in reasons if "ersion mismatch" in reason), None):
        return f"{where}: {mismatch[:300]}: use the same Ray and Python on every machine"
    if any("oken" in reason for reason in reasons):
        return (
            f"{where} wants its token: give the driver the one the cluster was started with (RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH; docs/cluster.md)"
        )
    return (
        f"cannot connect to {where}: {reasons[0][:300]}; run the sweep on a machine that belongs to the cluster "
        "(ray start), or correct --ray-address"
    )


def _first_line(error: Exception) -> str:
    """What Ray says of an end, without the details it lists below."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:300]


def _in_words(needs: Needs) -> str:
    parts = [f"{needs.cpus} core{'' if needs.cpus == 1 else 's'}"]
    parts += [f"{needs.gpus} GPU{'' if needs.gpus == 1 else 's'}"] if needs.gpus else []
    parts += [f"{needs.memory_bytes / 1e9:.1f} GB of memory"] if needs.memory_bytes else []
    return " and ".join(parts)


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; what it means is `cli`'s decision."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(ValueError, TypeError):  # not the main thread: nothing was changed
                signal.signal(number, handler)

"""Run many calls on a Ray cluster: the engine of `calls`, its workers on as many machines as the cluster has.

A worker is the same warm process as with `LocalEngine` and keeps the same promises. Beside it stands a Ray actor, its
*host*: it holds the worker's cores and GPU, starts it, hands on what both sides say and tells how it ended. So the
environment is complete before the worker's interpreter starts, a call may be killed without losing its host's log, and
a trial never computes in a process of Ray's. Ray decides where hosts run, carries the messages and notices lost
machines; a call whose machine is lost runs again elsewhere and is not blamed for it (`_MAX_LOSSES` times).

Calls, results and messages travel through Ray: driver and workers share no file system. The driver's own package is
sent to every machine; the libraries it needs must be there. When the driver dies, so do its hosts, and each worker
with its host.

Hidden here: all of Ray. Left to others: what calls do about files (`cluster`).
"""

import contextlib
import math
import os
import pickle
import pkgutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from fmnist_mlp.engines import process
from fmnist_mlp.engines.calls import Call, Failure, Outcome, WorkerSettings
from fmnist_mlp.engines.machine import available_cores, environment
from fmnist_mlp.engines.pool import LocalEngine
from fmnist_mlp.errors import SweepError

INSTALL_RAY = "install it beside TensorFlow, on every machine alike: pip install 'ray>=2.59,<3'"
_CONNECT_SECONDS = 5.0  # for an answer from --ray-address; Ray itself would try for some minutes
_LOOK_SECONDS = 15.0  # how often a run without any worker looks what the cluster has
_PATIENCE_SECONDS = 60.0  # with a cluster that could not hold a worker any more; its machines may come back
_MAX_LOSSES = 5  # of machines under one call, after which the call itself is suspected
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


class RayEngine(LocalEngine):
    """Calls run in up to `jobs` workers, wherever the cluster has room; more are taken up as room appears.

    To be used within `connected`.

    Args:
        needs: what a worker takes.
        prepare_node: the dotted name of what is called as `prepare_node(fetch, *initargs)` on the worker's machine
            before its process starts; it returns the initializer's real arguments. `fetch()` gives `shipment`.
        shipment: any picklable value for `prepare_node`, sent to a machine at most once, and only if asked for.
        prepare_call: called as `prepare_call(call)` in the driver, just before a call is handed out (again before a
            second attempt). Returns the call to make in its place, or the outcome where none is to be made.
        on_notice: called with one line where the run waits for the cluster.
        options: those of `Engine`.
    """

    def __init__(
        self,
        jobs: int,
        settings: WorkerSettings,
        *,
        needs: Needs = Needs(),
        prepare_node: str | None = None,
        shipment: Any = None,
        prepare_call: Callable[[Call], Call | Outcome] | None = None,
        on_notice: Callable[[str], None] | None = None,
        **options,
    ):
        super().__init__(jobs, settings, **options)
        self.needs = needs
        self.prepare_node = prepare_node
        self.prepare_call = prepare_call or (lambda call: call)
        self.on_notice = on_notice or (lambda line: None)
        self._shipment = shipment
        self._shipped = None
        self._host_class = None
        self._alone_since = self._no_places_since = None

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop_asked

    def run(self, calls):
        ray = _import_ray()
        if self._shipped is None and self._shipment is not None:
            self._shipped = ray.put(self._shipment)
        self._host_class = ray.remote(max_restarts=0, concurrency_groups={"in": 1, "out": 1, "end": 1})(_Host)
        self._alone_since = time.monotonic()
        yield from super().run(calls)

    def stop(self, now: bool = False):
        # No word to Ray here: a signal handler may have interrupted Ray itself. `run` is woken and does the rest.
        self._stop_asked = True
        self._kill_asked = self._kill_asked or now
        self._wake.send(None)

    def _hand_out(self, task, worker):
        prepared = self.prepare_call(task.call)
        if isinstance(prepared, Outcome):
            return prepared
        if prepared is not task.call:
            task.payload = pickle.dumps((prepared.function, prepared.args))
        return super()._hand_out(task, worker)

    def _start_worker(self):
        number = min(set(range(self.jobs)) - {worker.number for worker in self._workers})
        resources = {"num_cpus": self.needs.cpus, "num_gpus": self.needs.gpus, "memory": self.needs.memory_bytes}
        settings = pickle.dumps((self.settings, self.prepare_node))
        # In a list Ray leaves the reference alone, and the host fetches what it stands for if it has to.
        host = self._host_class.options(**resources).remote(settings, [self._shipped])
        link = _Link(host, self._wake)
        self._workers.append(process.Worker(number, link, link))
        link.listen()

    def _wait(self):
        """Sleep until some workers need attention, and return them."""
        if not any(worker.pipe.poll() for worker in self._workers):
            deadline = min((worker.deadline for worker in self._workers), default=math.inf)
            connection.wait([self._woken], min(max(0.0, deadline - time.monotonic()), _LOOK_SECONDS))
            for worker in self._workers:
                worker.pipe.take_in()
        while self._woken.poll():
            self._woken.recv()
        self._look_after_places()
        now = time.monotonic()
        return [worker for worker in self._workers if worker.pipe.poll() or worker.deadline <= now]

    def _look_after_places(self):
        """Say so once where no worker has found a place, and give up where there is none left in the cluster."""
        if any(worker.pipe.node_id for worker in self._workers):
            self._alone_since = time.monotonic()
            self._no_places_since = None
        elif time.monotonic() - self._alone_since >= _LOOK_SECONDS:
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

    def _hear(self, worker, kind, *content):
        if kind == "up":
            worker.pipe.node_id, worker.pipe.machine = content
            return None
        if kind == "unfit" and content[1].type in ("ModuleNotFoundError", "ImportError"):
            raise SweepError(
                f"{worker.pipe.machine}: a worker cannot start there: {content[1].message}; install there what the "
                "sweep needs, in the driver's versions: pip install -r requirements.txt"
            )
        return super()._hear(worker, kind, *content)

    def _lose(self, worker, waiting):
        if worker.pipe.is_machine_lost():
            if worker.task is None:
                self._bury(worker)
                return None
            if worker.task.losses < _MAX_LOSSES:
                worker.task.losses += 1
        return super()._lose(worker, waiting)

    def _bury(self, worker) -> str:
        self._workers.remove(worker)
        return worker.pipe.end()


class _Link:
    """A worker elsewhere, to the engine what a process and its pipe are: it is passed as both."""

    def __init__(self, host, wake: connection.Connection):
        self.host = host
        self.node_id = self.machine = None  # known once it has found a place
        self._wake = wake
        self._news = None  # the future of the host's next answer
        self._inbox: deque = deque()
        self._cause = self._error = None
        self._is_killed = False

    # ---- as a pipe

    def listen(self):
        self._news = self.host.receive.options(concurrency_group="out").remote().future()
        self._news.add_done_callback(lambda _: self._wake.send(None))  # in a thread of Ray's: no more than a word

    def take_in(self):
        """Move what has arrived into the inbox, and ask for more."""
        if self._news is None or not self._news.done():
            return
        news, self._news = self._news, None
        try:
            messages = news.result()
        except Exception as error:  # the host is gone: RayActorError, or its last answer with it: ObjectLostError
            self._cause, self._error = _first_line(error), error
        else:
            self._cause = messages.pop()[1] if messages[-1][0] == "gone" else None
            self._inbox += messages
            if self._cause is None:
                self.listen()

    def poll(self) -> bool:
        return bool(self._inbox) or self._cause is not None

    def recv(self):
        if not self._inbox:
            raise EOFError
        return self._inbox.popleft()

    def send(self, message):
        if self._cause is None:
            self.host.send.options(concurrency_group="in").remote(message)

    # ---- as a process

    def is_alive(self) -> bool:
        return self._cause is None

    def kill(self):
        """End the worker; its end is told as always. A host that has found no place has no worker yet."""
        if self._is_killed or self._cause is not None:
            return
        self._is_killed = True
        if self.node_id is None:
            _import_ray().kill(self.host)
        else:
            self.host.kill.options(concurrency_group="end").remote()

    def end(self) -> str:
        """Wait for the worker's end, not for ever, and dismiss the host; return how it ended."""
        deadline = time.monotonic() + process.GRACE_SECONDS
        while self._cause is None and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(Exception):  # what it was, take_in tells
                self._news.result(timeout=left)
            self.take_in()
        _import_ray().kill(self.host)
        return self._cause or "did not answer"

    def is_machine_lost(self) -> bool:
        """Whether it ended because its machine did, or cannot be reached any more."""
        if self._error is None or self._is_killed:
            return False
        ray = _import_ray()
        if not isinstance(self._error, ray.exceptions.ActorDiedError):
            return True  # no answer from its machine, or the answer was lost with it
        return not any(node["NodeID"] == self.node_id and node["Alive"] for node in ray.nodes())


class _Host:
    """The actor beside a worker. Each method has a concurrency group: one thread, which keeps the order of calls."""

    def __init__(self, settings: bytes, shipped: list):
        ray = _import_ray()
        context = ray.get_runtime_context()
        self._news = [("up", context.get_node_id(), socket.gethostname())]
        self._process = self._pipe = None
        # Else multiprocessing would run Ray's main script in the worker too.
        vars(sys.modules["__main__"]).pop("__file__", None)
        try:
            settings, prepare_node = pickle.loads(settings)
            initargs = settings.initargs
            if prepare_node is not None:
                initargs = pkgutil.resolve_name(prepare_node)(lambda: ray.get(shipped[0]), *initargs)
            self._process, self._pipe = process.start_process(settings.variables())
            self._pipe.send(pickle.dumps((settings.initializer, initargs)))
        except Exception as error:
            self._news += [("unfit", isinstance(error, SweepError), Failure.of(error)), ("gone", "never began")]

    def send(self, message):
        with contextlib.suppress(OSError, AttributeError):  # it has ended, or never begun; `receive` tells
            self._pipe.send(message)

    def receive(self) -> list[tuple]:
        """Wait for what the worker says; all that is there by then. The last of all is `("gone", how)`."""
        news, self._news = self._news, []
        try:
            while not news or (len(news) < _MESSAGES_AT_ONCE and self._pipe is not None and self._pipe.poll()):
                news.append(self._pipe.recv())
        except (EOFError, OSError):
            self._process.join(1.0)  # one that closed its pipe is about to end
            self._process.kill()
            self._process.join()
            news.append(("gone", process.cause_of_death(self._process.exitcode)))
        return news

    def kill(self):
        with contextlib.suppress(AttributeError):
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

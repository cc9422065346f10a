"""Sweeps on Ray: the engine keeps the promises of the local one, records come home, a lost machine changes no number.

What needs Ray is skipped without it. The bodies that every engine must pass are those of the other test_engine files.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import engine_calls
import pytest
import sweeping
import test_search_runs
from engine_calls import is_held, wait_until
from engine_runs import call, run
from sweeping import Project, children, command_line, different, is_running, put_record
from test_engine import (  # noqa: F401 - collected here too, with this module's `make_engine`
    test_a_call_that_raises_fails_alone_and_once,
    test_a_gentle_stop_asks_the_running_calls_and_starts_no_other,
    test_a_stop_from_a_signal_handler_wakes_the_engine,
    test_an_error_in_the_initializer_ends_the_run,
    test_an_exception_in_a_callback_ends_the_run,
    test_every_call_gives_its_value,
    test_large_arguments_and_results_pass,
    test_messages_arrive_in_order_and_before_the_outcome,
    test_no_calls_start_nothing,
    test_stop_before_run_starts_nothing,
    test_the_environment_is_set_before_the_interpreter_starts,
    test_the_environment_reaches_the_calls_and_is_restored,
    test_the_initializer_runs_before_the_calls_and_says_hello,
)
from test_engine_drawn_calls import (  # noqa: F401 - as above
    test_calls_drawn_one_by_one_may_depend_on_what_came_out,
    test_what_is_sent_reaches_the_running_call,
)
from test_engine_end import test_closing_the_generator_ends_the_workers  # noqa: F401 - as above
from test_engine_faults import (  # noqa: F401 - as above
    test_a_call_beyond_the_timeout_loses_its_worker_only,
    test_a_call_that_always_kills_its_worker_has_crashed,
    test_a_crash_names_its_cause,
    test_a_killed_worker_costs_one_more_attempt,
    test_a_result_that_cannot_be_sent_is_a_failure,
    test_workers_that_die_while_they_start_are_given_up,
)
from test_engine_order import (  # noqa: F401 - as above
    test_a_call_is_prepared_before_each_attempt_and_may_need_no_worker,
    test_a_call_that_wants_to_be_alone_runs_though_there_is_no_other,
    test_a_process_is_replaced_after_some_calls,
    test_as_many_calls_as_jobs_run_at_once,
    test_calls_that_run_alone_follow_calls_that_needed_no_worker,
    test_calls_that_want_to_be_alone_run_last_one_at_a_time_on_a_warm_worker,
    test_workers_stay_warm,
)
from test_engine_warm import test_workers_stay_warm_from_one_run_to_the_next  # noqa: F401 - as above

from fmnist_mlp.engines import ray as engine_ray
from fmnist_mlp.engines.calls import Call, Outcome, WorkerSettings
from fmnist_mlp.engines.pool import Pool
from fmnist_mlp.engines.ray import Machines, Needs
from fmnist_mlp.errors import SweepError
from fmnist_mlp.runner import cluster, loop
from fmnist_mlp.runner.plan import Options, make_plan
from fmnist_mlp.runner.workers import Workers

ROOT = Path(__file__).parent.parent
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="the extra `ray` is not installed")


def ray_environment(folder):
    """A Ray of these tests' own: nothing of the user's cluster, home or token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return kept | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": path,
    }


@pytest.fixture(scope="module")
def short_folder():
    """Ray's sockets lie below it, and their paths may have 107 letters."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ray_here(short_folder):
    """A cluster of one machine that says it has four cores."""
    if not HAS_RAY:
        pytest.skip("the extra `ray` is not installed")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        for name, value in ray_environment(short_folder).items():
            patch.setenv(name, value)
        patch.setattr(engine_ray, "available_cores", lambda: 4)
        with engine_ray.connected("local"):
            yield


@pytest.fixture
def make_engine(ray_here):
    """Of two workers; the bodies that say how many they want have one, by `on_ray`."""

    def make(settings=None, **options):
        return Pool(2, settings or WorkerSettings(), Machines(), **options)

    return make


def on_ray(jobs=1, environment=None, initializer=None, initargs=(), machines=None, **options):
    return Pool(jobs, WorkerSettings(environment or {}, initializer, initargs), machines or Machines(), **options)


@pytest.fixture(autouse=True)
def _bodies_of_local_workers_run_on_ray(monkeypatch, request):
    """What the other files of the engine ask of workers here by `local(...)`, asked of Ray."""
    asking = getattr(request.function, "__module__", "")
    if asking.startswith("test_engine") and asking != __name__:
        request.getfixturevalue("ray_here")
        monkeypatch.setattr(f"{asking}.local", on_ray)


# ---- the engine on Ray


def test_ray_started_here_listens_to_this_machine_alone(ray_here):
    run(on_ray(), call(engine_calls.nothing))
    import psutil  # Ray brings one along

    listening = []
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            sockets = process.net_connections("inet")
            listening += [socket.laddr.ip for socket in sockets if socket.status == "LISTEN"]
    assert len(listening) >= 3  # of the driver, of Ray's two daemons
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_the_environment_may_be_decided_where_the_worker_starts(ray_here):
    engine = on_ray(environment=engine_calls.pid_as_variable)
    outcome = run(engine, call(engine_calls.variables, "ENGINE_TEST_PID"))["variables"]
    assert int(outcome.value[0]) != os.getpid()


def test_a_shipment_reaches_the_initializer_of_every_worker(ray_here):
    hellos = []
    machines = Machines(prepare_node="engine_calls:fetch_times", shipment=b"ab")
    engine = on_ray(2, {}, "engine_calls:initialize", (3,), machines)
    engine.on_worker = lambda worker, value: hellos.append(value[0])
    run(engine, *(call(engine_calls.nothing, key=str(n)) for n in range(4)))
    assert set(hellos) == {b"ababab"}


def test_places_are_counted_by_what_a_worker_needs(ray_here):
    assert engine_ray.count_places(Needs(1)) == 4
    assert engine_ray.count_places(Needs(3)) == 1
    assert not engine_ray.has_gpus()


@pytest.mark.parametrize(
    ("needs", "said"), [(Needs(5), "5 cores"), (Needs(1, 1), "1 core and 1 GPU"), (Needs(1, 0, 10**18), "GB of memory")]
)
def test_a_worker_that_fits_no_machine_is_refused_in_one_line(ray_here, needs, said):
    with pytest.raises(
        SweepError, match=f"^the Ray cluster has no machine for a worker, which needs .*{said}"
    ) as error:
        engine_ray.count_places(needs)
    assert "\n" not in str(error.value)


def test_a_busy_cluster_is_waited_for_with_a_word(ray_here):
    import ray

    occupied = ray.remote(num_cpus=4)(Occupant).remote()
    ray.get(occupied.is_here.remote())
    notices = []

    def notice(line):
        notices.append(line)
        ray.kill(occupied)

    machines = Machines(on_notice=notice)
    machines.seconds_between_looks = 0.2
    outcomes = run(on_ray(machines=machines), call(engine_calls.double, 2))
    assert outcomes["double"].value == 4
    assert notices[0] == "waiting for the Ray cluster: no machine has 1 core free now (ray status)"


class Occupant:
    def is_here(self):
        return True


DRIVER = """
import sys
from pathlib import Path
import engine_calls
from fmnist_mlp.engines.calls import Call, WorkerSettings
from fmnist_mlp.engines.pool import Pool
from fmnist_mlp.engines.ray import Machines, connected

folder = Path(sys.argv[1])
def mark(call, message):
    (folder / f"{call.key}.holds").touch()
calls = [Call(name, "engine_calls:compute_for_ever", (folder / name,)) for name in ("one", "two")]
with connected("local"):
    list(Pool(2, WorkerSettings(), Machines(), on_message=mark).run(calls))
"""


@needs_ray
@pytest.mark.slow
def test_a_driver_killed_with_kill_9_leaves_no_workers(tmp_path, short_folder):
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, tmp_path / "driver.py", tmp_path]
    with subprocess.Popen(command, env=ray_environment(short_folder)) as driver:
        names = ("one", "two")
        wait_until(lambda: all((tmp_path / f"{name}.holds").exists() for name in names), seconds=60)
        driver.kill()
        driver.wait()
        wait_until(lambda: not any(is_held(tmp_path / name) for name in names), seconds=20)


# ---- what is said without a cluster


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(SweepError, match=r"^--engine ray needs Ray .*pip install 'ray>=2.59,<3'$"),
        engine_ray.connected(),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://head:10001", "Ray's client protocol does not carry a sweep"),
        ("head", "expected host:port"),
        ("head:many", "expected host:port"),
        (":6379", "expected host:port"),
        ("head:70000", "expected host:port"),
        ("127.0.0.1:1", "nothing answers there"),
        ("no-such-host.invalid:6379", "nothing answers there"),
    ],
)
def test_a_wrong_address_is_one_line_at_once(address, said):
    with pytest.raises(SweepError, match=said) as error:
        engine_ray._check_answers(address)
    assert str(error.value).startswith(f"--ray-address {address}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (
            RuntimeError("Version mismatch: The cluster was started with:\n Ray: 2.1\n Python: 3.9"),
            "Ray: 2.1 Python: 3.9: use the same Ray and Python on every machine",
        ),
        (ConnectionError("InvalidAuthToken: Authentication token is missing"), "RAY_AUTH_TOKEN_PATH"),
        (ValueError("something\nelse"), "something else; run the sweep on a machine that belongs to the cluster"),
    ],
)
def test_what_ray_says_while_connecting_becomes_one_line_with_a_remedy(raised, said):
    outer = ConnectionError("Failed to connect to Ray cluster") if "oken" in str(raised) else raised
    if outer is not raised:
        outer.__cause__ = raised
    message = engine_ray._cannot_connect("head:6379", outer)
    assert said in message
    assert "\n" not in message


# ---- records come home


@pytest.fixture
def home(made):
    with cluster.Home(made.results) as home:
        home._on_message = lambda call, message: home.heard.append(message)
        home.heard = []
        yield home


def task_of(made, trial, **changes):
    from fmnist_mlp.data.source import DataSource
    from fmnist_mlp.training.trial import Task

    stamp = made.results.stamp(trial.fingerprint)
    task = Task(trial, DataSource("synthetic"), None, made.root, stamp)
    return dataclasses.replace(task, **changes)


def call_of(made, trial, **changes):
    return Call(trial.fingerprint, "fmnist_mlp.training.trial:run_trial", (task_of(made, trial, **changes),))


def is_claimed(made, trial):
    with made.results.claim(trial.fingerprint, may_wait=lambda: False) as is_ours:
        return not is_ours


def test_workers_of_the_cluster_stay_from_one_wave_to_the_next(made, home, monkeypatch):
    """Refits, looks and rungs are waves; to start workers for each would take longer than they train."""
    monkeypatch.setattr(engine_ray, "count_places", lambda needs: 3)
    with Workers() as workers:
        plan = make_plan(made.sweep, Options(results_dir=made.root, engine="ray", device="cpu"))
        run = loop.Run(plan, loop.Listener(), workers, home)
        small, deep = ([trial for trial in plan.to_train if trial.architecture.name == name] for name in ("8", "deep"))
        engine = run.engine_for(1, deep)
        assert (engine.jobs, engine.timeout) == (2, None)
        assert run.engine_for(1, [*small, *deep]) is engine
        assert engine.jobs == 3, "as many as there are places"
        assert run.engine_for(2, small) is not engine


def test_a_trial_is_claimed_by_the_driver_from_before_it_runs_until_it_is_written(made, home):
    trial = made.plan[0]
    assert home.prepare_call(call_of(made, trial)).args[1] is None
    assert is_claimed(made, trial)
    assert isinstance(home.prepare_call(call_of(made, trial)), Call), "a second attempt keeps the claim"
    home._release(trial.fingerprint)
    assert not is_claimed(made, trial)


def test_a_trial_that_another_sweep_has_in_work_is_passed_over(made, home):
    trial = made.plan[0]
    with made.results.claim(trial.fingerprint, may_wait=lambda: False):
        outcome = home.prepare_call(call_of(made, trial))
    assert (outcome.status, outcome.value) == ("done", None)


def test_a_record_made_meanwhile_is_found_and_not_trained(made, home):
    trial = made.plan[0]
    planned = call_of(made, trial)
    made.put(made.record(trial))
    outcome = home.prepare_call(planned)
    assert outcome.value.fingerprint == trial.fingerprint
    assert home.heard == [{"found": True}]
    assert not is_claimed(made, trial)


def test_leaving_home_gives_up_every_claim(made):
    with cluster.Home(made.results) as home:
        for trial in made.plan:
            home.prepare_call(call_of(made, trial))
        assert all(is_claimed(made, trial) for trial in made.plan)
    assert not any(is_claimed(made, trial) for trial in made.plan)


def test_a_record_arrives_whole_with_all_its_files(made, home, tmp_path):
    trial = made.plan[0]
    there = type(made.results)(tmp_path / "there")
    record = made.record(trial)
    put_record(there, record, model=bytes(range(256)))
    sent = record, cluster.read_files(there.record_folder(trial.fingerprint))
    outcome = home._take_in(Outcome(call_of(made, trial), "done", sent))
    assert outcome.value == record
    assert made.results.load_record(trial.fingerprint) == record
    places = [results.record_folder(trial.fingerprint) for results in (made.results, there)]
    assert len({json.dumps(sorted((n, c.hex()) for n, c in cluster.read_files(p).items())) for p in places}) == 1
    assert "events/train/events.out.tfevents.1.here" in sent[1]


def test_a_checkpoint_comes_home_and_goes_out_with_the_next_attempt(made, home):
    trial, files = made.plan[0], {"made-by.json": b"{}", "weights.npz": b"w", "events/train/e": b"e"}
    one = call_of(made, trial)
    home.hear(one, {"checkpoint": files})
    assert home.heard == []
    kept = dict(home.prepare_call(one).args[1])
    assert b"weights.npz" in kept.pop("SHA256SUMS")  # it is sealed, as every checkpoint
    assert kept == files
    home._take_in(Outcome(one, "done", (made.record(trial), {"record.json": b"{}"})))
    assert home.prepare_call(call_of(made, trial)).args[1] is None


def test_a_file_cannot_be_sent_beside_its_folder(tmp_path):
    with pytest.raises(ValueError, match="outside its folder"):
        cluster.write_files(tmp_path / "in", {"../out": b""})
    assert not (tmp_path / "out").exists()


def test_waiting_for_others_ends_when_a_trial_is_free_or_a_stop_is_asked(made, home):
    trials, asked = made.plan[:2], []

    def twice():
        asked.append(None)
        return len(asked) < 3

    with made.results.claim(trials[0].fingerprint, may_wait=lambda: False):
        home.wait_for_others([call_of(made, trials[0])], may_wait=twice)
        assert len(asked) == 3
        home.wait_for_others([call_of(made, trial) for trial in trials], may_wait=lambda: len(asked) < 4)
    assert len(asked) == 3, "the second trial is free: nobody was asked again"


# ---- images


def test_images_that_a_machine_lacks_are_written_there_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from one_trial import write_images

    from fmnist_mlp.data.source import DataSource, load_data

    write_images(tmp_path / "driver")
    source = DataSource("idx", tmp_path / "driver")
    files = cluster.image_files(source)
    sizes = {name: len(content) for name, content in files.items()}
    expected = load_data(source)
    assert cluster.find_images(pytest.fail, "cpu", 1, source, {}, sizes)[-1] == tmp_path / "driver"

    shutil.rmtree(tmp_path / "driver")
    fetched = []
    places = {cluster.find_images(lambda: fetched.append(1) or files, "cpu", 1, source, {}, sizes)[-1] for _ in "ab"}
    (place,) = places
    found = cluster._load_from(place, source)
    assert found.identity == expected.identity
    assert found.source == source, "records name the driver's folder"
    assert not list(place.parent.glob(".images-*"))


def test_other_images_of_the_same_place_are_not_taken_for_the_drivers(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from one_trial import write_images

    from fmnist_mlp.data.source import DataSource

    write_images(tmp_path / "there")
    source = DataSource("idx", tmp_path / "there")
    files = cluster.image_files(source)
    longer = {name: content + b"more" for name, content in files.items()}
    place = cluster.find_images(
        lambda: longer, "cpu", 1, source, {}, {name: len(content) for name, content in longer.items()}
    )[-1]
    assert place != tmp_path / "there"
    assert cluster.read_files(place) == longer


def test_the_stand_in_is_drawn_everywhere(tmp_path):
    from fmnist_mlp.data.source import DataSource

    source = DataSource("synthetic")
    assert cluster.image_files(source) == {}
    assert cluster.find_images(pytest.fail, "cpu", 1, source, {}, {}) == ("cpu", 1, source, {}, None)


@pytest.mark.slow
def test_a_machine_with_other_versions_is_named_with_both():
    versions = cluster.library_versions() | {"keras": "3.0.0"}
    found = cluster.library_versions()["keras"]
    with pytest.raises(SweepError, match=rf"has keras {found}, the sweep was started with keras 3.0.0: install"):
        cluster.start_worker_there("cpu", 1, None, versions, None)


# ---- whole sweeps on a cluster of two machines

SWEEP = """
dataset: synthetic
seeds: 3
limit: 600
training: {epochs: 40}
architectures: [[16], [24, 16]]
"""


class Loopback:
    """A cluster on loopback: processes of `ray start --block`, ended by their ids."""

    def __init__(self, folder, environment):
        self.folder, self.environment, self.started = folder, environment, []
        self.address = None

    def start(self, *arguments):
        ray = Path(sys.executable).with_name("ray")
        command = [ray, "start", "--block", "--num-cpus=1", *arguments]
        with (self.folder / f"{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        self.started.append(process)
        return process

    def kill(self, process):
        """As a power cut: the machine with all that runs on it, at once."""
        for pid in [process.pid, *children(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def machines(short_folder):
    """Two of them, for the tests below; the last one kills the second."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machines = Loopback(short_folder, ray_environment(short_folder))
    machines.address = f"127.0.0.1:{port}"
    machines.head = machines.start("--head", f"--port={port}", "--include-dashboard=false")
    wait_until(lambda: is_answering(port), seconds=60)
    machines.second = machines.start(f"--address=127.0.0.1:{port}")
    joined = short_folder / f"{len(machines.started) - 1}.log"
    wait_until(lambda: "Ray runtime started" in joined.read_text(), seconds=60)
    yield machines
    for process in machines.started:
        machines.kill(process)


def is_answering(port):
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@needs_ray
@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running_and_the_rerun_goes_on_here(tmp_path, machines):
    text = SWEEP.replace("epochs: 40", "epochs: 500").replace("seeds: 3", "seeds: 1")
    whole, away = Project(tmp_path / "whole", text), Project(tmp_path / "away", text)
    options = away._options(["--ray-address", machines.address, "--device", "cpu"], machines.environment)
    checkpoints = away.results / "_records" / ".checkpoints"
    with subprocess.Popen(**options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        heard = iter(process.stdout.readline, "")
        assert any(line.startswith("device: cpu, 2 workers") for line in heard)
        sweeping.wait_until(lambda: list(away.results.glob("_records/.claims/*.lock")), process)
        sweeping.wait_until(lambda: is_computing(machines), process)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    sweeping.wait_until(lambda: not any(map(training_processes, machines.started)))
    assert not list(away.results.glob("_records/.claims/*.lock"))
    assert list(checkpoints.iterdir()), "what was interrupted comes home"
    away.sweep("--device", "cpu")
    whole.sweep("--device", "cpu")
    assert different(whole.numbers(), away.numbers()) == []


@needs_ray
@pytest.mark.slow
def test_a_search_and_its_looks_are_the_same_on_a_cluster(tmp_path, machines):
    local, away = (Project(tmp_path / name, test_search_runs.SEARCH) for name in ("local", "away"))
    local.sweep("--device", "cpu")
    away.sweep("--ray-address", machines.address, "--device", "cpu", environment=machines.environment, timeout=900)
    assert different(test_search_runs.numbers(away), test_search_runs.numbers(local)) == []


@needs_ray
@pytest.mark.slow
def test_the_default_sweep_loses_a_machine_half_way_and_no_number_changes(tmp_path, machines):
    # A tenth of the images: a trial takes long enough to be met in the middle.
    text = (ROOT / "architectures.yaml").read_text(encoding="utf-8").replace("\nseeds:", "\nlimit: 6000\nseeds:")
    images = {name: os.environ[name] for name in ("FASHION_MNIST_DIR",) if name in os.environ}
    if not images:
        text = text.replace("dataset: auto", "dataset: synthetic")
    local, away = Project(tmp_path / "local", text), Project(tmp_path / "away", text)
    local.sweep("--device", "cpu", environment=images, timeout=1200)
    options = away._options(["--ray-address", machines.address, "--device", "cpu"], machines.environment | images)
    with subprocess.Popen(**options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        records = away.results / "_records"
        sweeping.wait_until(lambda: len(list(records.glob("[!.]*"))) >= 10, process, seconds=900)
        finished = {path: path.stat().st_mtime_ns for path in records.glob("[!.]*/record.json")}
        assert training_processes(machines.second), "the machine has nothing to lose"
        machines.kill(machines.second)
        said = process.communicate(timeout=900)[0]
    assert process.returncode == 0, said
    assert different(local.numbers(), away.numbers()) == []
    assert local.curves() == away.curves()
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "what was finished is not trained again"


def training_processes(machine):
    """The workers of one machine."""
    return [pid for pid in children(machine.pid) if is_running(pid) and "spawn_main" in command_line(pid)]


def is_computing(machines):
    """Whether a worker of the cluster has come to its epochs: its curves grow in its scratch folder."""
    folders = [Path(tempfile.gettempdir()) / f"fmnist_mlp-{os.getuid()}"]
    return any(path for folder in folders for path in folder.rglob("results/_records/.live/*/validation/events.*"))

"""The loop that owns a sweep: submit, record, tables.

`run_sweep` hands the missing trials of a plan to an engine, keeps the views and CSVs in step while they finish, and
says how it ended. It neither loads TensorFlow nor prints: what happens is told to a `Listener`.
"""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from fmnist_mlp.engines.calls import Call, Engine, Outcome, WorkerSettings
from fmnist_mlp.engines.inline import InlineEngine
from fmnist_mlp.engines.pool import LocalEngine
from fmnist_mlp.errors import ImagesChanged, SweepError
from fmnist_mlp.logs.live import keep_events
from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.record import (
    Latency,
    Record,
    failed_record,
    is_of_the_machine,
)
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.plan import WORKER_BYTES, Options, Plan, add_refits, count_gpus, decide_jobs, training_bytes
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.training.latency import LatencyTask, measure_latency
from fmnist_mlp.training.trial import Task, run_trial
from fmnist_mlp.training.worker import own_environment, start_worker, worker_environment

# Above this a worker is replaced between trials, so that what Keras leaves behind does not pile up.
_RECYCLE_BYTES = 3_000_000_000

_SECONDS_BETWEEN_TABLES = 1.0

# And at most a hundredth of the parent's time, however many trials the tables hold.
_SHARE_OF_TABLES = 100


class Listener:
    """What `run_sweep` tells while it works; the default listens to nothing."""

    def worker_ready(self, worker: int, environment: dict[str, str]):
        """A worker has imported TensorFlow; `environment["device"]` is what it found."""

    def notice(self, line: str):
        """Something to know that changes nothing, such as that the cluster is busy."""

    def trial_progress(self, trial: Trial, message: dict):
        """`{"epoch", "epochs", "loss", "val_accuracy", ...}` at the end of an epoch; epoch 0 when the trial begins."""

    def trial_ended(self, trial: Trial, record: Record | None, outcome: Outcome):
        """`record` is None where the trial was stopped."""

    def trials_added(self, trials: list[Trial]):
        """The best architecture is known now, and these refits of it join what this run trains."""


@dataclass
class Summary:
    """How a run ended.

    Args:
        trained: trials that this run trained to the end.
        failed: records of those that failed in this run.
        stopped: whether it was asked to stop before everything was done.
        seconds: of the whole run.
        rows: of the table, in the order of the sweep file.
    """

    trained: int = 0
    failed: list[Record] = field(default_factory=list)
    stopped: bool = False
    seconds: float = 0.0
    rows: list[dict] = field(default_factory=list)


def run_sweep(plan: Plan, options: Options, listener: Listener, handle=None) -> Summary:
    """Train what is missing; records, logs and tables are in step with each other when this returns or raises.

    Args:
        plan: from `make_plan`.
        options: those the plan was made with.
        listener: is told what happens.
        handle: called with the engine before it runs, so that a signal handler can stop it.

    Raises:
        SweepError: results or logs cannot be written, or a worker cannot use the device asked for.
        ImagesChanged: a worker finds other images than the plan was made with; the next plan looks at them anew.
    """
    with _reach_cluster(plan, options) as home:
        return _run_sweep(plan, options, listener, handle, home)


def _run_sweep(plan: Plan, options: Options, listener: Listener, handle, home) -> Summary:
    results, logs = plan.results, SweepLogs(options.logs_dir, plan.sweep)
    started = time.monotonic()
    next_tables = started + _SECONDS_BETWEEN_TABLES
    summary, workers = Summary(), _Workers({trial.fingerprint: trial for trial in plan.to_train}, listener)
    workers.show_progress = lambda trial: logs.mirror(trial, results.live_folder(trial.fingerprint))

    new_records: list[str] = []
    results.claim_sweep(plan.sweep, plan.trials, plan.info.class_names, plan.refits)
    if plan.data_memory is not None:
        results.save_data_memory(plan.data_memory)
    if sealed := results.seal_older_records():
        listener.notice(f"{sealed:,} records of an earlier version agree with themselves; each has a checksum now")
    logs.sync(results, plan.all_trials, plan.records)
    if plan.to_train:
        table.write_tables(plan.state, results, is_final=False)
    _say_what_was_changed(results, logs, listener)

    try:
        for outcome in _outcomes_with_refits(plan, options, logs, workers, handle, summary, home):
            trial = outcome.call.args[0].trial
            record = _record_of(outcome, plan, options, results, logs, workers)
            if record is not None:
                plan.records[trial.fingerprint] = record.in_short(trial)
                new_records.append(trial.fingerprint)
                logs.show(results, trial, record)
                summary.trained += record.is_done and trial.fingerprint not in workers.found
            if record is not None and not record.is_done:
                summary.failed.append(record)
            if time.monotonic() >= next_tables:
                began = time.monotonic()
                table.write_tables(plan.state, results, is_final=False)
                took = time.monotonic() - began
                next_tables = began + max(_SECONDS_BETWEEN_TABLES, _SHARE_OF_TABLES * took)
            listener.trial_ended(trial, record, outcome)
            if summary.failed and options.fail_fast:
                break
    finally:
        summary.rows = table.write_tables(plan.state, results)
        results.show_models(plan.sweep, ranking.rank(plan.state).exported_trials, plan.info.class_names)
        logs.show_sweep(results, plan.state, summary.rows, plan.info, plan.source)
        _say_what_was_changed(results, logs, listener)
        results.remember_digests(new_records)
        for line in results.damaged.values():
            listener.notice(f"{line}; run again: its trial is trained again")
    summary.seconds = time.monotonic() - started
    return summary


def _say_what_was_changed(results: Results, logs: SweepLogs, listener: Listener) -> None:
    """Files that people wrote to in our folders have got another name."""
    for line in [*results.take_notices(), *logs.take_notices()]:
        listener.notice(line)


# ---- run ----------------------------------------------------------------------------------------------------------


class _Workers:
    """What workers say, passed on to the listener and remembered where the runner needs it.

    Args:
        trials: by fingerprint.
    """

    def __init__(self, trials: Mapping[str, Trial], listener: Listener):
        self.trials, self.listener = dict(trials), listener
        self.environments: dict[int, dict[str, str]] = {}
        self.found: set[str] = set()  # trials that another sweep had trained meanwhile
        self.show_progress = lambda trial: None

    def add(self, trials: list[Trial]):
        self.trials |= {trial.fingerprint: trial for trial in trials}
        self.listener.trials_added(trials)

    def on_worker(self, worker: int, environment: dict[str, str]):
        self.environments[worker] = environment
        self.listener.worker_ready(worker, environment)

    def on_message(self, call: Call, message: dict):
        if message.get("found"):
            self.found.add(call.key)
        elif message.get("notice"):
            self.listener.notice(message["notice"])
        else:
            self.show_progress(self.trials[call.key])
            self.listener.trial_progress(self.trials[call.key], message)


def _outcomes_with_refits(plan: Plan, options: Options, logs, workers: _Workers, handle, summary: Summary, home):
    """Outcomes of all trials to train; refits of the best come when the others have shown which it is."""
    yield from _outcomes(plan.to_train[:], plan, options, workers, handle, summary, home)
    if summary.stopped or plan.refits:
        return
    plan.to_measure = {}
    trained, plan.to_train = plan.to_train, []
    added = add_refits(plan, options)
    if plan.refits:  # some may have been trained before
        plan.results.claim_sweep(plan.sweep, plan.trials, plan.info.class_names, plan.refits)
        logs.sync(plan.results, plan.all_trials, plan.records)
    if added:
        decide_jobs(plan, options)
        workers.add(added)
        yield from _outcomes(added, plan, options, workers, handle, summary, home)
    plan.to_train = trained + plan.to_train


def _outcomes(trials: list[Trial], plan: Plan, options: Options, workers: _Workers, handle, summary: Summary, home):
    """Outcomes of these trials; those that ask for more threads run after the others, on fewer workers.

    Latencies are measured at the end of each, when nothing else runs, and go into the plan.
    """
    wanted = [*(trial.architecture for trial in trials), *(alike[0] for alike in plan.to_measure.values())]
    for threads in sorted({architecture.training.threads for architecture in wanted}):
        engine = _make_engine(plan, options, threads, workers, home)
        if handle is not None:
            handle(engine)
        # Twice: a trial that another sweep has in work is passed over first, and waited for when all else is done.
        waiting = [trial for trial in trials if trial.architecture.training.threads == threads]
        to_measure = [key for key, alike in plan.to_measure.items() if alike[0].training.threads == threads]
        for wait in itertools.chain([False], itertools.repeat(True)):
            calls = [_call(trial, plan, options, wait) for trial in waiting]
            calls += [_latency_call(key, plan, options) for key in to_measure]
            if home is not None and wait:
                home.wait_for_others(calls, may_wait=lambda engine=engine: not engine.is_stopped)
            waiting, to_measure, ended = [], [], 0
            for outcome in engine.run(calls) if home is None else home.run(engine, calls):
                ended += outcome.status != "stopped"
                if outcome.call.alone:
                    _take_latency(outcome, plan, options)
                elif outcome.status == "done" and outcome.value is None:
                    waiting.append(workers.trials[outcome.call.key])
                else:
                    yield outcome
            if ended < len(calls):
                summary.stopped = True
                return
            if not waiting:
                break


def _make_engine(plan: Plan, options: Options, threads: int, workers: _Workers, home) -> Engine:
    common = {
        "timeout": options.trial_timeout,
        "recycle_bytes": _RECYCLE_BYTES,
        "on_message": workers.on_message,
        "on_worker": workers.on_worker,
    }
    if home is not None:
        held = [t.architecture for t in plan.to_train if t.architecture.training.threads == threads]
        largest = max((training_bytes(item, plan.sizes[item.name], plan.info) for item in held), default=0)
        engine = home.make_engine(
            plan.source,
            options.device,
            threads,
            jobs=options.jobs,
            calls=len(held) or 1,
            worker_bytes=WORKER_BYTES + largest,
            on_notice=workers.listener.notice,
            **common,
        )
        plan.jobs = engine.jobs
        return engine
    settings = WorkerSettings(
        environment=(worker_environment if plan.jobs else own_environment)(options.device, threads),
        initializer=start_worker,
        initargs=(options.device, threads, plan.source),
    )

    def jobs() -> int:
        return max(1, plan.jobs // threads) if options.jobs is None else plan.jobs

    engine = (LocalEngine if plan.jobs else InlineEngine)(jobs(), settings, **common)

    def on_worker(worker: int, environment: dict[str, str]) -> None:
        # A driver is there, but TensorFlow was built without CUDA, or finds the driver too old.
        if options.jobs is None and options.device == "auto" and environment["device"] == "cpu" and count_gpus():
            decide_jobs(plan, dataclasses.replace(options, device="cpu"))
            engine.jobs = jobs()
        workers.on_worker(worker, environment)

    engine.on_worker = on_worker
    return engine


@contextlib.contextmanager
def _reach_cluster(plan: Plan, options: Options):
    """The `cluster.Home` of this run; None where trials run on this machine, or none is to run."""
    if options.engine == "local" or not (plan.to_train or plan.to_measure):
        yield None
        return
    # Imported here: a sweep on this machine has no use for them.
    from fmnist_mlp.engines import ray as engine_ray
    from fmnist_mlp.runner import cluster

    with engine_ray.connected(options.ray_address), cluster.Home(plan.results) as home:
        yield home


def _call(trial: Trial, plan: Plan, options: Options, wait: bool) -> Call:
    task = Task(
        trial=trial,
        source=plan.source,
        limit=plan.sweep.limit,
        results_root=options.results_dir.absolute(),
        replaces=plan.stamps.get(trial.fingerprint),
        fresh=options.fresh,
        checkpoint_seconds=options.checkpoint_seconds,
        wait=wait,
        histograms=plan.sweep.tensorboard.histograms,
        failures_before=plan.records[trial.fingerprint].machine_failures if trial.fingerprint in plan.records else 0,
    )
    return Call(trial.fingerprint, run_trial, (task,), group=trial.architecture.name, cost=plan.train_cost(trial))


def _latency_call(key: str, plan: Plan, options: Options) -> Call:
    shape, num_classes = plan.info.image_shape, plan.info.num_classes
    task = LatencyTask(key, plan.to_measure[key][0], shape, num_classes, options.results_dir.absolute())
    return Call(key, measure_latency, (task,), alone=True)


def _take_latency(outcome: Outcome, plan: Plan, options: Options) -> None:
    """Into the plan, for every architecture with these layers; one that failed is kept too, and not tried each time."""
    latency = outcome.value
    if outcome.status == "stopped":
        return
    if outcome.status != "done":
        if outcome.error.type == "SweepError":  # a full disk
            raise SweepError(outcome.error.message)
        before = plan.latencies.get(plan.to_measure[outcome.call.key][0].name, Latency())
        error = outcome.error
        latency = Latency(
            error=f"{error.type}: {error.message}",
            machine_failures=before.machine_failures + 1 if is_of_the_machine(error.type, error.message) else 0,
        )
        plan.results.save_latency(outcome.call.key, latency)
    plan.latencies |= {architecture.name: latency for architecture in plan.to_measure[outcome.call.key]}


def _record_of(
    outcome: Outcome, plan: Plan, options: Options, results: Results, logs: SweepLogs, workers: _Workers
) -> Record | None:
    """The record of a trial that ended: its worker wrote it, unless it died or was ended; then it is written here."""
    if outcome.status == "done":
        return outcome.value
    trial = outcome.call.args[0].trial
    if outcome.status == "stopped":  # it will go on from its checkpoint
        logs.mirror(trial, results.checkpoint_folder(trial.fingerprint) / "events", at_once=True)
        return None
    if outcome.error.type == "ImagesChanged":
        plan.results.save_data_memory({})  # whatever it says of them is wrong
        raise ImagesChanged(outcome.error.message)
    if outcome.error.type == "SweepError":  # a full disk, images gone: not the trial's fault, and not a record
        raise SweepError(outcome.error.message)
    size = plan.sizes[trial.architecture.name]
    record = failed_record(
        trial,
        size,
        plan.info.dataset,
        outcome.error,
        environment=workers.environments.get(outcome.worker, {}),
        started=time.time() - outcome.seconds,
        seconds=outcome.seconds,
        failures_before=outcome.call.args[0].failures_before,
        limit_seconds=options.trial_timeout if outcome.status == "timed_out" else None,
    )
    with results.draft(trial.fingerprint) as draft:
        keep_events(results.live_folder(trial.fingerprint), draft, must_be_whole=False)
        results.write_record(draft, record)
    results.drop_live(trial.fingerprint)
    return record

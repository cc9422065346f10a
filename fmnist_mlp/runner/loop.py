"""The loop that owns a sweep: ask for trials, hand them out, record, tables.

`run_sweep` hands the missing trials of a plan to an engine, asks the plan's proposals for more when these have ended,
keeps the views and CSVs in step while they finish, and says how it ended. It neither loads TensorFlow nor prints: what
happens is told to a `Listener`.
"""

import contextlib
import dataclasses
import importlib
import itertools
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from fmnist_mlp.engines.calls import Call, Engine, Outcome, WorkerSettings
from fmnist_mlp.engines.inline import InlineEngine
from fmnist_mlp.engines.machine import available_cores
from fmnist_mlp.engines.pool import Pool
from fmnist_mlp.errors import ImagesChanged, SweepError
from fmnist_mlp.logs.live import keep_events
from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.record import Latency, Record, failed_record, is_of_the_machine
from fmnist_mlp.runner.plan import (
    WORKER_BYTES,
    Plan,
    count_gpus,
    decide_jobs,
    find_latencies,
    largest_bytes,
    look_up,
    missing,
    size_of,
    with_trials,
)
from fmnist_mlp.runner.workers import Workers
from fmnist_mlp.sweepfile.sweep import Architecture
from fmnist_mlp.sweepfile.trials import Trial, program_of
from fmnist_mlp.training.latency import LatencyTask
from fmnist_mlp.training.trial import Task
from fmnist_mlp.training.worker import own_environment, worker_environment

# What workers import and call; to import it here would load TensorFlow.
START_WORKER = "fmnist_mlp.training.worker:start_worker"
RUN_TRIAL = "fmnist_mlp.training.trial:run_trial"
LOAD_IMAGES = "fmnist_mlp.training.worker:load_images"
MEASURE_LATENCY = "fmnist_mlp.training.latency:measure_latency"

# Above this a worker is replaced between trials, so that what Keras leaves behind does not pile up.
_RECYCLE_BYTES = 3_000_000_000

_STEP_BYTES = 100_000_000  # of memory that workers of a cluster ask for

_SECONDS_BETWEEN_TABLES = 1.0

# And at most a hundredth of the parent's time, however many trials the tables hold.
_SHARE_OF_TABLES = 100


class Listener:
    """What `run_sweep` tells while it works; the default listens to nothing."""

    def engine_made(self, engine: Engine):
        """It runs next, with `engine.jobs` workers (0 is this process); `engine.stop` ends it early."""

    def worker_ready(self, worker: int, environment: dict[str, str]):
        """A worker has imported TensorFlow; `environment["device"]` is what it found."""

    def notice(self, line: str):
        """Something to know that changes nothing, such as that the cluster is busy."""

    def trial_progress(self, trial: Trial, message: dict):
        """`{"epoch", "epochs", "loss", "val_accuracy", ...}` at the end of an epoch; epoch 0 when the trial begins."""

    def trial_ended(self, trial: Trial, record: Record | None, outcome: Outcome):
        """`record` is None where the trial was stopped."""

    def tables_written(self, rows: list[TableRow]):
        """The table as it stands, now and then while trials end."""

    def trials_added(self, trials: list[Trial], state: ranking.SweepState):
        """A proposal asks for more by now: these refits of the best, or these of whoever a look found undecided."""


@dataclass
class Summary:
    """How a run ended.

    Args:
        state: what the sweep asks for and what of it is done now.
        trained: trials that this run trained to the end.
        failed: records of those that failed in this run.
        stopped: whether it was asked to stop before everything was done.
        seconds: of the whole run.
        rows: of the table, in the order of the sweep file.
    """

    state: ranking.SweepState
    trained: int = 0
    failed: list[Record] = field(default_factory=list)
    stopped: bool = False
    seconds: float = 0.0
    rows: list[TableRow] = field(default_factory=list)


def run_sweep(plan: Plan, listener: Listener, workers: Workers | None = None) -> Summary:
    """Train what is missing; records, logs and tables are in step with each other when this returns or raises.

    Args:
        plan: from `make_plan`.
        listener: is told what happens.
        workers: of the run before, on this machine, which stay warm for the next; without any, those of this run end
            with it.

    Raises:
        SweepError: results or logs cannot be written, or a worker cannot use the device asked for.
        ImagesChanged: a worker finds other images than the plan was made with; the next plan looks at them anew.
    """
    if workers is not None:
        return Run(plan, listener, workers, home=None).run()
    with _reach_cluster(plan) as home, Workers() as of_this_run:
        return Run(plan, listener, of_this_run, home).run()


def warm_up(plan: Plan, workers: Workers) -> None:
    """Start as many workers as this sweep may want, with its images; until they are there, or paused."""
    engine = Run(plan, Listener(), workers, home=None).engine_for(1, [*plan.state.asked_for, *plan.state.candidates])
    numbers = itertools.takewhile(lambda number: not workers.is_paused, range(engine.jobs))
    for _ in engine.run(Call(str(number), LOAD_IMAGES, (plan.source,)) for number in numbers):
        pass


@contextlib.contextmanager
def _reach_cluster(plan: Plan):
    """The `cluster.Home` of this run; None where trials run on this machine, or none is to run."""
    if plan.options.engine == "local" or not (plan.to_train or plan.to_measure):
        yield None
        return
    # Imported here: a sweep on this machine has no use for them.
    from fmnist_mlp.engines import ray as engine_ray
    from fmnist_mlp.runner import cluster

    with engine_ray.connected(plan.options.ray_address), cluster.Home(plan.results) as home:
        yield home


class Run:
    """One run of a plan: what changes while it runs, and who is told.

    Args:
        home: where trials run on a cluster, its `cluster.Home`.
    """

    def __init__(self, plan: Plan, listener: Listener, workers: Workers, home):
        self.plan, self.options, self.listener, self.home = plan, plan.options, listener, home
        self.workers = workers
        self.results = plan.results
        self.logs = SweepLogs(plan.options.logs_dir, plan.sweep, plan.results)
        self.state = with_trials(plan.state, (), {})  # with records of this run's own, which grow
        self.summary = Summary(self.state)
        self.stamps = dict(plan.stamps)
        self.jobs = self.decide_jobs(plan.to_train)[0] if workers.stay_warm else plan.jobs
        self.wave: Sequence[Trial] = ()  # what is trained now
        self.threads = 1  # of its trials that run now
        self.worker_bytes = 0  # that a worker on a cluster holds, of all waves the most
        self.trials: dict[str, Trial] = {}  # all that this run was to train by now, by fingerprint
        self.trained_elsewhere: set[str] = set()  # meanwhile, by another sweep
        self.new_records: list[str] = []
        self.cores = available_cores()
        self.importing: threading.Thread | None = None
        self.next_tables = time.monotonic() + _SECONDS_BETWEEN_TABLES

    def run(self) -> Summary:
        started = time.monotonic()
        self.begin()
        try:
            self.train(self.plan.to_train, self.plan.to_measure)
            while not self.is_over and (trials := self.plan.proposals.next(self.state)):
                self.train(*self.ask_for(trials))
        finally:
            self.end()
        self.summary.seconds = time.monotonic() - started
        return self.summary

    def begin(self) -> None:
        self.claim()
        if self.plan.data_memory is not None:
            self.results.save_data_memory(self.plan.data_memory)
        if sealed := self.results.seal_older_records():
            self.listener.notice(
                f"{sealed:,} records of an earlier version agree with themselves; each has a checksum now"
            )
        self.logs.sync(self.state.asked_for, self.state.records)
        if self.plan.to_train:
            table.write_tables(self.state, self.results, is_final=False)
        self.say_what_was_changed()

    def claim(self) -> None:
        state = self.state
        others = [*state.refits, *state.candidates]
        self.results.registry.claim_sweep(state.sweep, state.trials, state.class_names, others, state.compared)
        if state.search is not None:
            self.results.registry.save_search(state.search.key, state.search.content())
            self.results.drop_checkpoint(*state.search.decided(state.records))

    def ask_for(self, trials: Sequence[Trial]) -> tuple[list[Trial], dict[str, list[Architecture]]]:
        """Take up what a proposal asks for now; those of the trials that are to be trained, and what to measure."""
        records, stamps, damaged = look_up(self.results, trials)
        for line in damaged:
            self.listener.notice(line)
        self.stamps |= stamps
        before, self.state = self.state, with_trials(self.state, trials, records)
        to_measure = {}
        if self.state.sweep is not before.sweep:  # finalists have come: columns and latencies of their own
            self.logs = SweepLogs(self.options.logs_dir, self.state.sweep, self.results)
            latencies, to_measure = find_latencies(self.results, self.state, self.plan.info, self.options)
            self.state = dataclasses.replace(self.state, latencies=latencies)
        self.summary.state = self.state
        self.claim()
        if not trials[0].is_candidate:
            self.logs.sync(self.state.asked_for, self.state.records)
        to_train = missing(trials, self.state, self.options)
        if to_train:
            self.jobs, shortage = self.decide_jobs(to_train)
            if shortage and self.workers.engine is not None:  # of memory, which warm workers hold too
                self.workers.close()
                self.jobs, _ = self.decide_jobs(to_train)
            self.listener.trials_added(to_train, self.state)
        return to_train, to_measure

    def train(
        self, trials: Sequence[Trial], to_measure: Mapping[str, Sequence[Architecture]] = MappingProxyType({})
    ) -> None:
        """Train these and measure those; what is kept of a trial is shown before the listener hears of it."""
        self.wave = trials
        self.trials |= {trial.fingerprint: trial for trial in trials}
        for outcome in self.outcomes(to_measure):
            trial = self.trials[outcome.call.key]
            record = self.record_of(outcome)
            if record is not None:
                self.keep(trial, record)
            self.write_tables_now_and_then()
            self.listener.trial_ended(trial, record, outcome)
            if self.is_over:
                break

    @property
    def is_over(self) -> bool:
        return self.summary.stopped or (self.options.fail_fast and bool(self.summary.failed))

    def keep(self, trial: Trial, record: Record) -> None:
        self.state.records[trial.fingerprint] = record.in_short(trial)
        self.new_records.append(trial.fingerprint)
        if not trial.is_candidate:
            self.logs.show(trial, record)
        if record.is_failed:
            self.summary.failed.append(record)
        elif trial.fingerprint not in self.trained_elsewhere:
            self.summary.trained += 1

    def write_tables_now_and_then(self) -> None:
        began = time.monotonic()
        if began >= self.next_tables:
            self.listener.tables_written(table.write_tables(self.state, self.results, is_final=False))
            took = time.monotonic() - began
            self.next_tables = began + max(_SECONDS_BETWEEN_TABLES, _SHARE_OF_TABLES * took)

    def end(self) -> None:
        self.workers.end_run()
        self.claim()  # what has figures by now is compared in the table
        self.summary.rows = table.write_tables(self.state, self.results)
        exported = ranking.rank(self.state).exported_trials
        self.results.show_models(self.state.sweep, exported, self.state.class_names)
        self.logs.show_sweep(self.state, self.summary.rows, self.plan.info, self.plan.source)
        if self.state.search is not None:
            self.logs.show_candidates(self.state.search, self.state.records)
        self.say_what_was_changed()
        self.results.remember_digests(self.new_records)
        for line in self.results.damaged.values():
            self.listener.notice(f"{line}; run again: its trial is trained again")

    def say_what_was_changed(self) -> None:
        """Files that people wrote to in our folders have got another name."""
        for line in [*self.results.take_notices(), *self.logs.take_notices()]:
            self.listener.notice(line)

    # ---- calls and their outcomes

    def outcomes(self, to_measure: Mapping[str, Sequence[Architecture]]) -> Iterator[Outcome]:
        """Outcomes of the wave's trials; those that ask for more threads run after the others, on fewer workers.

        Latencies are measured at the end of each, when nothing else runs, and go into the state.
        """
        wanted = [*(trial.architecture for trial in self.wave), *(alike[0] for alike in to_measure.values())]
        for threads in sorted({architecture.training.threads for architecture in wanted}):
            waiting = [trial for trial in self.wave if trial.architecture.training.threads == threads]
            latencies = {key: alike for key, alike in to_measure.items() if alike[0].training.threads == threads}
            self.threads, engine = threads, self.engine_for(threads, waiting)
            self.listener.engine_made(engine)
            # Twice: a trial that another sweep has in work is passed over first, and waited for when all else is done.
            for wait in itertools.chain([False], itertools.repeat(True)):
                calls = [self.trial_call(trial, wait) for trial in waiting]
                calls += [self.latency_call(key, alike[0]) for key, alike in latencies.items()]
                if self.home is not None and wait:
                    self.home.wait_for_others(calls, may_wait=lambda engine=engine: not engine.is_stopped)
                trials_left, waiting, ended = len(waiting), [], 0
                for outcome in engine.run(calls) if self.home is None else self.home.run(engine, calls):
                    ended += outcome.status != "stopped"
                    trials_left -= not outcome.call.alone
                    self.import_ahead(trials_left)
                    if outcome.call.alone:
                        self.keep_latency(outcome, latencies[outcome.call.key])
                    elif outcome.status == "done" and outcome.value is None:
                        waiting.append(self.trials[outcome.call.key])
                    else:
                        yield outcome
                if ended < len(calls) or self.workers.is_paused:
                    self.summary.stopped = True
                    return
                if not waiting:
                    break
                latencies = {}

    def import_ahead(self, trials_left: int) -> None:
        """Import what tables and pictures need as soon as a core has nothing else to do; it takes 1.5 s."""
        busy = min(trials_left, self.jobs_for(self.threads)) * self.threads
        if self.importing is None and trials_left and self.jobs and busy < self.cores:
            self.importing = threading.Thread(target=_import_for_the_end)
            self.importing.start()
        elif self.importing is not None and not trials_left:
            self.importing.join()  # latencies are measured when nothing else runs

    def engine_for(self, threads: int, trials: Sequence[Trial]) -> Engine:
        """That of the last wave, or run, its workers still warm, or a new one where that does not suit."""
        if self.home is not None:  # a cluster counts out memory; in steps, so that workers need not be others soon
            needed = WORKER_BYTES + largest_bytes(trials, self.state, self.plan.info)
            self.worker_bytes = max(self.worker_bytes, math.ceil(needed / _STEP_BYTES) * _STEP_BYTES)
        kind = (self.options.device, threads, self.jobs == 0, self.worker_bytes)
        engine = self.workers.engine_of(kind, lambda: self.make_engine(threads))
        if self.home is None:
            engine.jobs, engine.timeout = self.jobs_for(threads), self.options.trial_timeout
            engine.on_message, engine.on_worker = self.on_message, self.on_worker
        else:
            engine.jobs = self.home.jobs_for(engine, self.options.jobs, len(trials) or 1)
        return engine

    def decide_jobs(self, trials: Sequence[Trial]) -> tuple[int, str | None]:
        options = dataclasses.replace(self.options, device="cpu") if self.workers.finds_no_gpu else self.options
        # Workers that nobody needs now are kept for the next run.
        trials = [*self.state.asked_for, *self.state.candidates] if self.workers.stay_warm else trials
        return decide_jobs(options, trials, self.state, self.plan.info)

    def jobs_for(self, threads: int) -> int:
        return max(1, self.jobs // threads) if self.options.jobs is None else self.jobs

    def make_engine(self, threads: int) -> Engine:
        """For trials that ask for so many threads."""
        source, device = self.plan.source, self.options.device
        if self.home is not None:
            return self.home.make_engine(
                source,
                device,
                threads,
                worker_bytes=self.worker_bytes,
                on_notice=self.listener.notice,
                on_message=self.on_message,
                on_worker=self.on_worker,
                timeout=self.options.trial_timeout,
                recycle_bytes=_RECYCLE_BYTES,
            )
        settings = WorkerSettings(
            environment=(worker_environment if self.jobs else own_environment)(device, threads),
            initializer=START_WORKER,
            initargs=(device, threads, source, self.jobs > 0),
        )
        return (Pool if self.jobs else InlineEngine)(self.jobs_for(threads), settings, recycle_bytes=_RECYCLE_BYTES)

    def on_worker(self, worker: int, environment: dict[str, str]) -> None:
        self.workers.environments[worker] = environment
        is_guess = self.home is None and self.options.jobs is None and self.options.device == "auto"
        # A driver is there, but TensorFlow was built without CUDA, or finds the driver too old.
        if is_guess and environment["device"] == "cpu" and count_gpus():
            self.workers.finds_no_gpu = True
            self.jobs, _ = self.decide_jobs(self.wave)
            self.workers.engine.jobs = self.jobs_for(self.threads)
        self.listener.worker_ready(worker, environment)
        self.import_ahead(len(self.wave))

    def on_message(self, call: Call, message: dict) -> None:
        if self.workers.is_paused:  # in the moment, perhaps, in which the engine began
            self.workers.engine.pause()
        if message.get("found"):
            self.trained_elsewhere.add(call.key)
        elif message.get("notice"):
            self.listener.notice(message["notice"])
        else:
            trial = self.trials[call.key]
            if not trial.is_candidate:
                self.logs.mirror(trial, self.results.live_folder(trial.fingerprint))
            self.listener.trial_progress(trial, message)

    def trial_call(self, trial: Trial, wait: bool) -> Call:
        task = Task(
            trial=trial,
            source=self.plan.source,
            limit=self.state.sweep.limit,
            results_root=self.options.results_dir.absolute(),
            replaces=self.stamps.get(trial.fingerprint),
            fresh=self.options.fresh,
            checkpoint_seconds=self.options.checkpoint_seconds,
            wait=wait,
            histograms=self.state.sweep.tensorboard.histograms,
            failures_before=self.failures_before(trial),
        )
        cost = self.plan.train_cost(trial)
        return Call(trial.fingerprint, RUN_TRIAL, (task,), group=program_of(trial), cost=cost)

    def latency_call(self, key: str, architecture: Architecture) -> Call:
        info, root = self.plan.info, self.options.results_dir.absolute()
        task = LatencyTask(key, architecture, info.image_shape, info.num_classes, root)
        return Call(key, MEASURE_LATENCY, (task,), alone=True)

    def failures_before(self, trial: Trial) -> int:
        record = self.state.records.get(trial.fingerprint)
        return 0 if record is None else record.machine_failures

    def keep_latency(self, outcome: Outcome, alike: Sequence[Architecture]) -> None:
        """For every architecture with these layers; one that failed is kept too, and not tried each time."""
        latency, error = outcome.value, outcome.error
        if outcome.status == "stopped":
            return
        if outcome.status != "done":
            self.raise_what_is_no_result(outcome)
            before = self.state.latencies.get(alike[0].name, Latency())
            latency = Latency(
                error=f"{error.type}: {error.message}",
                machine_failures=before.machine_failures + 1 if is_of_the_machine(error.type, error.message) else 0,
            )
            self.results.save_latency(outcome.call.key, latency)
        latencies = {**self.state.latencies, **{architecture.name: latency for architecture in alike}}
        self.state = self.summary.state = dataclasses.replace(self.state, latencies=latencies)

    def record_of(self, outcome: Outcome) -> Record | None:
        """The record of a trial that ended: its worker wrote it; of one that died or was ended it is written here."""
        if outcome.status == "done":
            return outcome.value
        trial = self.trials[outcome.call.key]
        if outcome.status == "stopped":  # it will go on from its checkpoint
            if not trial.is_candidate:
                self.logs.mirror(trial, self.results.checkpoint_folder(trial.fingerprint) / "events", at_once=True)
            return None
        self.raise_what_is_no_result(outcome)
        record = failed_record(
            trial,
            size_of(trial, self.state),
            self.state.dataset,
            outcome.error,
            environment=self.workers.environments.get(outcome.worker, {}),
            started=time.time() - outcome.seconds,
            seconds=outcome.seconds,
            failures_before=self.failures_before(trial),
            limit_seconds=self.options.trial_timeout if outcome.status == "timed_out" else None,
        )
        with self.results.draft(trial.fingerprint) as draft:
            keep_events(self.results.live_folder(trial.fingerprint), draft, must_be_whole=False)
            self.results.write_record(draft, record)
        self.results.drop_live(trial.fingerprint)
        return record

    def raise_what_is_no_result(self, outcome: Outcome) -> None:
        """A full disk, images that are gone or are others: the user's to mend, and no record."""
        if outcome.error.type == "ImagesChanged":
            self.results.save_data_memory({})  # whatever it says of them is wrong
            raise ImagesChanged(outcome.error.message)
        if outcome.error.type == "SweepError":
            raise SweepError(outcome.error.message)


def _import_for_the_end() -> None:
    """What is imported late, so that a run with nothing to do is quick. Where it fails, whoever needs it says so."""
    with contextlib.suppress(Exception):
        importlib.import_module("fmnist_mlp.report.report").plots.import_matplotlib()
        importlib.import_module("scipy.stats")

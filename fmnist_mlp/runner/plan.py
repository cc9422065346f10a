"""Everything that is decided before anything is trained: which trials there are, which are done, on which images.

`make_plan` writes nothing, loads no TensorFlow and prints nothing.
"""

import dataclasses
import fnmatch
import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fmnist_mlp.data.source import DataInfo, DataSource, describe, find_data
from fmnist_mlp.engines.machine import available_cores, available_memory_bytes
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import looks, ranking
from fmnist_mlp.results.record import MOST_MACHINE_FAILURES, DamagedRecord, Latency, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.proposals import Proposal, proposals_of
from fmnist_mlp.runner.search import Searched, search_log
from fmnist_mlp.sweepfile import checks
from fmnist_mlp.sweepfile import sweep as sweep_module
from fmnist_mlp.sweepfile import trials as trials_module
from fmnist_mlp.sweepfile.checks import check_shapes, find_doubts
from fmnist_mlp.sweepfile.in_words import changes
from fmnist_mlp.sweepfile.search import ROUND
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.steps import has_open_size
from fmnist_mlp.sweepfile.sweep import Architecture, Baseline, Sweep
from fmnist_mlp.sweepfile.trials import Trial, canonical_settings
from fmnist_mlp.words import quoted

# A worker with TensorFlow, the images and a compiled program, in the default sweep (TensorFlow 2.21, Linux).
WORKER_BYTES = 1_200_000_000

# What a core does of an architecture's operations, in the default sweep (docs/speed.md).
_FLOPS_PER_SECOND = 1.3e11

# What a candidate takes beside its epochs on two slow cores: compiling, above all (docs/search.md).
_SECONDS_BESIDE_EPOCHS = 6.0

# A baseline holds its images in float32, and some also in float64, PCA among them.
_BASELINE_BYTES_A_PIXEL = 4 + 8


@dataclass(frozen=True)
class Options:
    """How to run a sweep, as opposed to what it is; none of this is part of what a trial is, but `plain_fit`.

    Args:
        only: patterns (`*`, `?`) of architecture names to train; empty means all.
        jobs: workers; None for one a core (or one a GPU), 0 for this process.
        device: `auto`, `cpu` or `gpu`.
        data_dir: where Fashion-MNIST lies.
        fresh: train again what is done.
        retry_failed: train again what failed.
        fail_fast: stop at the first failure.
        trial_timeout: seconds after which a trial is given up.
        engine: `local` worker processes, or workers on a `ray` cluster.
        ray_address: of that cluster, as in `engines.ray.connected`.
        checkpoint_seconds: how much of a trial an interruption may cost; shorter trials write no checkpoint.
    """

    results_dir: Path = Path("results")
    logs_dir: Path = Path("logs")
    data_dir: Path | None = None
    only: tuple[str, ...] = ()
    jobs: int | None = None
    device: str = "auto"
    plain_fit: bool = False
    fresh: bool = False
    retry_failed: bool = False
    fail_fast: bool = False
    trial_timeout: float | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    checkpoint_seconds: float = 10.0


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before anything is trained.

    Args:
        options: how to run it.
        state: what the sweep asks for and what of it was done when the plan was made; refits too, where they could be
            chosen by then. Records are in short.
        proposals: what says which trials come after these.
        stamps, damaged: of the trials of `state`, as in `look_up`.
        to_train: those of them that this run will train.
        to_measure: architectures whose latency this run will measure, by what the latency is remembered by: those with
            the same layers are as quick.
        doubts: what the sweep file says and hardly means, by `checks.find_doubts`.
        changes: one line for each architecture that the last run knew with other settings and this run trains again,
            and for each that was refitted with the seeds that chose it.
        jobs: workers that this run will begin with; 0 is this process.
        results: where the records lie; it knows what it has verified of them.
        data_memory: to be saved, where the images had to be read to make the plan.
    """

    options: Options
    source: DataSource
    info: DataInfo
    state: ranking.SweepState
    proposals: Proposal
    stamps: Mapping[str, tuple]
    damaged: Sequence[str]
    to_train: Sequence[Trial]
    to_measure: Mapping[str, Sequence[Architecture]]
    doubts: Sequence[str]
    changes: Sequence[str]
    jobs: int
    jobs_note: str | None
    results: Results
    data_memory: dict | None

    @property
    def sweep(self) -> Sweep:
        return self.state.sweep

    @property
    def again(self) -> Counter[str]:
        """How many trials that have a record are trained all the same, by the reason."""
        whole, records = [trial for trial in self.to_train if not trial.is_candidate], self.state.records
        found = ((trial, records[trial.fingerprint]) for trial in whole if trial.fingerprint in records)
        return Counter(why_trained(trial, record, self.options) for trial, record in found)

    def train_cost(self, trial: Trial) -> float:
        """What a trial costs, in floating point operations: forward, and twice that backward, for every image.

        A baseline's cost is a rule of thumb, in the operations that a core would do for an architecture meanwhile.
        """
        validation = 1 / self.sweep.folds if self.sweep.folds else trial.architecture.training.validation_split
        validation = 0.0 if trial.is_refit else validation
        images = (self.sweep.limit or self.info.train_images) * (1 - validation)
        if isinstance(trial.architecture, Baseline):
            return _FLOPS_PER_SECOND * trial.architecture.classifier.rough_cost(images)
        size = size_of(trial, self.state)
        return 3.0 * size.flops * images * (trial.until or trial.architecture.training.epochs)

    def search_seconds(self, epochs: int) -> float:
        """A rule of thumb for so many epochs of the first candidates, with what each takes beside its epochs."""
        costs = [self.train_cost(dataclasses.replace(trial, until=1)) for trial in self.state.candidates]
        search, jobs = self.sweep.search, max(1, self.jobs)
        arithmetic = epochs * sum(costs) / max(1, len(costs)) / _FLOPS_PER_SECOND
        return (arithmetic + _SECONDS_BESIDE_EPOCHS * search.rounds * ROUND) / jobs


def make_plan(sweep: Sweep, options: Options, notify=None) -> Plan:
    """Find the images, list the trials, look up which are done; writes nothing.

    Where finished trials contradict what is remembered of the images, these are read and the plan is made again.

    Raises:
        SweepError: the data cannot be had, the stand-in would replace results on real images, a stack does not fit the
            images, `only` names nothing.
    """
    results = Results(options.results_dir)
    plan = _make_plan(sweep, options, notify, results, results.load_data_memory())
    return _make_plan(sweep, options, notify, results, {}) if _is_contradicted(plan) else plan


def _make_plan(sweep: Sweep, options: Options, notify, results: Results, memory: dict) -> Plan:
    # The images.
    before = dict(memory)
    source = find_data(sweep.dataset, options.data_dir, notify=notify)
    info = describe(source, memory)
    sizes = check_shapes(
        sweep,
        info.image_shape,
        info.num_classes,
        memory_limit_bytes=available_memory_bytes(),
        class_counts=info.class_counts,
    )
    # The sweep file's names stand over those that the images come with; workers get them with the source.
    info = dataclasses.replace(info, class_names=sweep.class_names or info.class_names)
    source = dataclasses.replace(source, class_names=info.class_names)
    sweep = sweep.with_images(info.train_images)
    if source.fallback_reason:
        _keep_what_is_real(results, sweep, source.fallback_reason)

    # The trials, as far as records say which.
    state = ranking.SweepState(
        sweep=sweep,
        trials=(),
        records={},
        sizes=sizes,
        dataset=info.dataset,
        over_budget=sweep_module.over_budget(sweep, sizes),
        warnings=info.warnings,
        class_names=info.class_names,
        earlier=results.registry.earlier_looks(sweep),
        memory=looks.Memory(results.load_comparison(sweep.folder_name).get("looks")),
        search=search_log(results, sweep, info, options.plain_fit),
    )
    proposals = Searched(proposals_of(info.identity, options.plain_fit))
    stamps, damaged, to_train = {}, [], []
    while trials := proposals.next(_without(state, to_train)):
        records, more_stamps, more_damaged = look_up(results, trials)
        state, stamps, damaged = with_trials(state, trials, records), stamps | more_stamps, damaged + more_damaged
        to_train += missing(trials, state, options)
    wanted_names(state.sweep, options, or_error=True)
    latencies, to_measure = find_latencies(results, state, info, options)
    state = dataclasses.replace(state, latencies=latencies)

    to_choose = [trial for trial in to_train if not trial.is_refit and not trial.is_candidate]
    changed = changes(results.registry.last_plan(sweep), to_choose) + _refitted_before(results, sweep, to_train)

    # Who trains them.
    jobs, jobs_note = decide_jobs(options, to_train, state, info)
    return Plan(
        options=options,
        source=source,
        info=info,
        state=state,
        proposals=proposals,
        stamps=stamps,
        damaged=damaged,
        to_train=tuple(to_train),
        to_measure=to_measure,
        doubts=find_doubts(sweep, info.image_shape, info.num_classes),
        changes=changed,
        jobs=jobs,
        jobs_note=jobs_note,
        results=results,
        data_memory=memory if memory != before else None,
    )


# ---- what is asked for, and what of it lies there -----------------------------------------------------------------


def look_up(results: Results, trials: Sequence[Trial]) -> tuple[dict[str, Record], dict[str, tuple], list[str]]:
    """What lies under the results of some trials.

    Returns:
        records: by fingerprint, done or failed, in short.
        stamps: by fingerprint, what `Results.stamp` said before the records were looked up; of those that have one.
        damaged: one line for each record that had to be passed over.
    """
    names = results.kept()
    trials = [trial for trial in trials if trial.fingerprint in names]
    stamps = {trial.fingerprint: results.stamp(trial.fingerprint) for trial in trials}
    records, damaged = {}, []
    for trial in trials:
        try:
            record = results.load_record(trial.fingerprint)
        except DamagedRecord as error:
            damaged.append(f"{error}; its trial ({trial.in_words}) is trained again")
        else:
            records |= {} if record is None else {trial.fingerprint: record.in_short(trial)}
    return records, {key: stamp for key, stamp in stamps.items() if stamp is not None}, damaged


def with_trials(state: ranking.SweepState, trials: Sequence[Trial], records: Mapping) -> ranking.SweepState:
    """The state that asks for these trials too; with `records` of its own, which its owner may add to."""
    candidates = {trial.fingerprint: trial for trial in (*state.candidates, *trials) if trial.is_candidate}
    whole = [trial for trial in trials if not trial.is_candidate]
    state = dataclasses.replace(
        state,
        trials=[*state.trials, *(trial for trial in whole if not trial.is_refit)],
        refits=[*state.refits, *(trial for trial in whole if trial.is_refit)],
        candidates=[*candidates.values()],
        records={**state.records, **records},
    )
    return state.with_finalists()


def _without(state: ranking.SweepState, to_train: Sequence[Trial]) -> ranking.SweepState:
    """As if these trials, which will be trained (again), had no record."""
    anew = {trial.fingerprint for trial in to_train}
    return dataclasses.replace(state, records={key: r for key, r in state.records.items() if key not in anew})


def missing(trials: Sequence[Trial], state: ranking.SweepState, options: Options) -> list[Trial]:
    """Those of the trials that a run with these options trains."""
    wanted = wanted_names(state.sweep, options)
    return [
        trial
        for trial in trials
        if (trial.is_candidate or trial.architecture.name in wanted)
        and why_trained(trial, state.records.get(trial.fingerprint), options) is not None
    ]


def why_trained(trial: Trial, record: Record | None, options: Options) -> str | None:
    """Why a run with these options trains a trial that has this record; None where it does not.

    What a search has decided is decided: its candidates are not trained again by `--fresh`.
    """
    if record is None:
        return "no record"
    if options.fresh and not trial.is_candidate:
        return "--fresh"
    if record.is_done:
        return None
    if record.is_unscored:
        return None if record.has_enough(trial.until) else "a search stopped it early"
    if options.retry_failed:
        return "--retry-failed"
    return "the failure was the machine's, or a limit of time" if record.is_tried_again(options.trial_timeout) else None


def wanted_names(sweep: Sweep, options: Options, or_error: bool = False) -> set[str]:
    """Names of the architectures that `--only` asks for; all without it.

    Args:
        or_error: raise a SweepError where a pattern names nothing.
    """
    names = [architecture.name for architecture in sweep.architectures]
    for pattern in options.only if or_error else ():
        if not fnmatch.filter(names, pattern):
            shown = quoted(pattern)[1:-1]
            raise SweepError(f"--only {shown}: no architecture of that name; there are {', '.join(names[:20])}")
    return {name for name in names if not options.only or any(fnmatch.fnmatchcase(name, p) for p in options.only)}


def _keep_what_is_real(results: Results, sweep: Sweep, fallback_reason: str) -> None:
    """Results on real images stay where the stand-in came unasked, since the others cannot be had today."""
    identities = {str(one.get("data")) for one in results.registry.last_plan(sweep).values() if isinstance(one, dict)}
    if any(not identity.startswith("synthetic-") for identity in identities):
        raise SweepError(
            f"{results.sweep_folder(sweep)} holds results on real images, and the generated stand-in would take their "
            f"place: {fallback_reason}; to train on the stand-in, take another --results-dir"
        )


def _is_contradicted(plan: Plan) -> bool:
    """Whether a finished trial had another number of parameters than what is remembered of the images says."""
    if plan.data_memory is not None:  # nothing was remembered
        return False
    state = plan.state
    return any(
        not state.records[trial.fingerprint].is_baseline
        and not has_open_size(trial.architecture.training.preprocess)
        and state.records[trial.fingerprint].params != state.sizes[trial.architecture.name].params
        for trial in state.done
    )


def _refitted_before(results: Results, sweep: Sweep, to_train: Sequence[Trial]) -> list[str]:
    """Why refits that an earlier version trained are trained again: they took the seeds of the sweep."""
    names, lines = results.kept(), []
    for name, refit in {trial.architecture.name: trial for trial in to_train if trial.is_refit}.items():
        before = ({**refit.settings, "seed": seed} for seed in {*sweep.seeds, *range(sweep.refits)})
        if any(trials_module.fingerprint(settings) in names for settings in before):
            lines.append(f"{name}: refit with fresh seeds (it was refitted with seeds that had chosen the best)")
    return lines


# ---- latencies, changes, workers ----------------------------------------------------------------------------------


def find_latencies(
    results: Results, state: ranking.SweepState, info: DataInfo, options: Options
) -> tuple[dict[str, Latency], dict[str, list[Architecture]]]:
    """The latencies that are known, by architecture name, and the architectures to measure, by the key of a latency."""
    latencies, to_measure, wanted = {}, {}, wanted_names(state.sweep, options)
    for architecture in state.sweep.architectures:
        if isinstance(architecture, Baseline) or architecture.name in state.over_budget:
            continue
        key = _latency_key(architecture, info)
        latency = results.load_latency(key)
        if latency is not None:
            latencies[architecture.name] = latency
        if architecture.name not in wanted:
            continue
        is_tried_again = latency is not None and 0 < latency.machine_failures < MOST_MACHINE_FAILURES
        if latency is None or options.fresh or is_tried_again or (options.retry_failed and latency.error):
            to_measure.setdefault(key, []).append(architecture)
    return latencies, to_measure


def _latency_key(architecture: Architecture, info: DataInfo) -> str:
    """What decides how long a model takes on one machine: its layers, its images, its cores."""
    settings = canonical_settings(architecture, data_identity="", limit=None, seed=0)
    content = {
        "layers": settings["layers"],
        "preprocess": settings["training"].get("preprocess"),
        "images": list(info.image_shape),
        "classes": info.num_classes,
        "threads": architecture.training.threads,
    }
    return trials_module.fingerprint(content)


def decide_jobs(
    options: Options, trials: Sequence[Trial], state: ranking.SweepState, info: DataInfo
) -> tuple[int, str | None]:
    """As many workers as asked for, else one a core; no more than trials, or than memory holds, with a word on that."""
    most = max(1, len(trials))
    if options.jobs == 0:
        return 0, None
    if options.engine == "ray":
        return min(options.jobs or most, most), None  # until the cluster says what it holds
    wanted = options.jobs
    if wanted is None:
        wanted = (options.device != "cpu" and count_gpus()) or available_cores()
    wanted = min(wanted, most)
    memory = available_memory_bytes()
    needed = WORKER_BYTES + largest_bytes(trials, state, info)
    fits = wanted if memory is None else max(1, memory // needed)
    if fits >= wanted:
        return wanted, None
    return fits, f"{fits} workers, not {wanted}: a worker needs about {needed / 1e9:.1f} GB of memory"


def largest_bytes(trials: Sequence[Trial], state: ranking.SweepState, info: DataInfo) -> int:
    """What the largest of these trials holds in memory, besides its worker."""
    to_hold = {trial.architecture.name: trial for trial in trials}
    return max((_training_bytes(one.architecture, size_of(one, state), info) for one in to_hold.values()), default=0)


def size_of(trial: Trial, state: ranking.SweepState) -> StackSize:
    """What a trial trains; a search knows the size of its candidates, which stand in no table."""
    known = None if trial.is_candidate else state.sizes.get(trial.architecture.name)
    return known or state.search.size_of(trial.architecture)


def _training_bytes(architecture: Architecture | Baseline, size: StackSize, info: DataInfo) -> int:
    if isinstance(architecture, Baseline):
        return _BASELINE_BYTES_A_PIXEL * info.train_images * math.prod(info.image_shape)
    return checks.training_bytes(architecture, size)


def count_gpus(driver: Path = Path("/proc/driver/nvidia")) -> int:
    """How many GPUs of NVIDIA's a worker may find, looked up without touching one; 0 without a driver."""
    if not (driver / "version").exists():
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # CUDA takes the devices before the first that is none: "-1", "" and "NoDevFiles" hide all.
        is_device = re.compile(r"\d+|(GPU|MIG)-.+", re.IGNORECASE).fullmatch
        return len(list(itertools.takewhile(lambda device: is_device(device.strip()), visible.split(","))))
    # Without the folder (WSL) there is a driver all the same, and one GPU at least.
    return max(1, len(list((driver / "gpus").glob("*"))))

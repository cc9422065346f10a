"""Everything that is decided before anything is trained: which trials there are, which are done, on which images.

`make_plan` writes nothing, loads no TensorFlow and prints nothing.
"""

import dataclasses
import fnmatch
import itertools
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fmnist_mlp.data.source import DataInfo, DataSource, describe, find_data
from fmnist_mlp.engines.machine import available_cores, available_memory_bytes
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results import ranking
from fmnist_mlp.results.record import MOST_MACHINE_FAILURES, DamagedRecord, Latency, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile import checks
from fmnist_mlp.sweepfile import sweep as sweep_module
from fmnist_mlp.sweepfile import trials as trials_module
from fmnist_mlp.sweepfile.checks import check_shapes, find_doubts
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS
from fmnist_mlp.sweepfile.settings import Training
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.steps import has_open_size
from fmnist_mlp.sweepfile.sweep import Architecture, Baseline, Sweep
from fmnist_mlp.sweepfile.trials import Trial, canonical_settings, list_refits, list_trials
from fmnist_mlp.words import quoted

# A worker with TensorFlow, the images and a compiled program, in the default sweep (TensorFlow 2.21, Linux).
WORKER_BYTES = 1_200_000_000

# What a core does of an architecture's operations, in the default sweep (docs/speed.md).
_FLOPS_PER_SECOND = 1.3e11

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


@dataclass
class Plan:
    """What a sweep asks for and what of it is done.

    Args:
        trials: all that choose among the architectures, in the table's order.
        refits: those that train on all training images after the choice; empty until it can be made.
        records: by fingerprint, of those trained before (done or failed), in short.
        to_train: those that this run will train, refits too where they are known already.
        sizes: `stacks.StackSize` by architecture name.
        over_budget: names of the architectures that are larger than their `max_params` and have no trials.
        latencies: by architecture name, those that are known.
        to_measure: architectures whose latency this run will measure, by what the latency is remembered by: those with
            the same layers are as quick.
        damaged: one line for each record that had to be passed over.
        doubts: what the sweep file says and hardly means, by `checks.find_doubts`.
        changes: one line for each architecture that the last run knew with other settings and this run trains again.
        stamps: by fingerprint, what `Results.stamp` said before the records were looked up; of those that have one.
        jobs: workers that this run will use; 0 is this process.
        results: where the records lie; it knows what it has verified of them.
    """

    sweep: Sweep
    source: DataSource
    info: DataInfo
    trials: list[Trial]
    refits: list[Trial]
    records: dict[str, Record]
    to_train: list[Trial]
    sizes: Mapping[str, StackSize]
    over_budget: frozenset[str]
    latencies: dict[str, Latency]
    to_measure: dict[str, list[Architecture]]
    damaged: list[str]
    changes: list[str]
    doubts: list[str]
    stamps: dict[str, tuple[int, int]]
    results: Results
    jobs: int
    jobs_note: str | None = None
    data_memory: dict | None = None  # to be saved, where the images had to be read to make the plan

    @property
    def all_trials(self) -> list[Trial]:
        return [*self.trials, *self.refits]

    @property
    def done(self) -> int:
        return sum(t.fingerprint in self.records and self.records[t.fingerprint].is_done for t in self.all_trials)

    @property
    def failed(self) -> list[Trial]:
        return [t for t in self.all_trials if t.fingerprint in self.records and not self.records[t.fingerprint].is_done]

    @property
    def state(self) -> ranking.SweepState:
        """What the table is made of."""
        return ranking.SweepState(
            self.sweep,
            self.trials,
            self.records,
            self.sizes,
            self.info.dataset,
            self.over_budget,
            self.latencies,
            self.refits,
            self.info.warnings,
            self.info.class_names,
        )

    def train_cost(self, trial: Trial) -> float:
        """What a trial costs, in floating point operations: forward, and twice that backward, for every image.

        A baseline's cost is a rule of thumb, in the operations that a core would do for an architecture meanwhile.
        """
        validation = 1 / self.sweep.folds if self.sweep.folds else trial.architecture.training.validation_split
        validation = 0.0 if trial.is_refit else validation
        images = (self.sweep.limit or self.info.train_images) * (1 - validation)
        if isinstance(trial.architecture, Baseline):
            return _FLOPS_PER_SECOND * trial.architecture.classifier.rough_cost(images)
        return 3.0 * self.sizes[trial.architecture.name].flops * images * trial.architecture.training.epochs


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
    over_budget = sweep_module.over_budget(sweep, sizes)
    trials = list_trials(sweep, data_identity=info.identity, plain_fit=options.plain_fit, skip=over_budget)
    stamps = _stamps(results, trials)
    records, damaged = _load_records(results, trials)
    wanted = _wanted(sweep, options) - over_budget
    to_train = _to_train(trials, wanted, records, options)
    latencies, to_measure = _latencies(results, sweep, wanted, info, options)
    plan = Plan(
        sweep=sweep,
        source=source,
        info=info,
        trials=trials,
        refits=[],
        records=records,
        to_train=to_train,
        sizes=sizes,
        over_budget=over_budget,
        latencies=latencies,
        to_measure=to_measure,
        damaged=damaged,
        changes=_changes(results.last_plan(sweep), to_train),
        doubts=find_doubts(sweep, info.image_shape, info.num_classes),
        stamps=stamps,
        results=results,
        jobs=0,
        data_memory=memory if memory != before else None,
    )
    add_refits(plan, options)
    decide_jobs(plan, options)
    return plan


def _keep_what_is_real(results: Results, sweep: Sweep, fallback_reason: str) -> None:
    """Results on real images stay where the stand-in came unasked, since the others cannot be had today."""
    identities = {str(one.get("data")) for one in results.last_plan(sweep).values() if isinstance(one, dict)}
    if any(not identity.startswith("synthetic-") for identity in identities):
        raise SweepError(
            f"{results.sweep_folder(sweep)} holds results on real images, and the generated stand-in would take their "
            f"place: {fallback_reason}; to train on the stand-in, take another --results-dir"
        )


def _is_contradicted(plan: Plan) -> bool:
    """Whether a finished trial had another number of parameters than what is remembered of the images says."""
    if plan.data_memory is not None:  # nothing was remembered
        return False
    return any(
        record.is_done and not record.is_baseline and record.params != plan.sizes[trial.architecture.name].params
        for trial in plan.trials
        if (record := plan.records.get(trial.fingerprint)) and not has_open_size(trial.architecture.training.preprocess)
    )


def _stamps(results: Results, trials: list[Trial]) -> dict[str, tuple[int, int]]:
    kept = results.kept()
    stamps = {t.fingerprint: results.stamp(t.fingerprint) for t in trials if t.fingerprint in kept}
    return {fingerprint: stamp for fingerprint, stamp in stamps.items() if stamp is not None}


def _load_records(results: Results, trials: list[Trial]) -> tuple[dict[str, Record], list[str]]:
    records, damaged, kept = {}, [], results.kept()
    for trial in trials:
        if trial.fingerprint not in kept:
            continue
        try:
            record = results.load_record(trial.fingerprint)
        except DamagedRecord as error:
            damaged.append(f"{error}; its trial ({trial.in_words}) is trained again")
            continue
        if record is not None:
            records[trial.fingerprint] = record.in_short(trial)
    return records, damaged


def _wanted(sweep: Sweep, options: Options) -> set[str]:
    """Names of the architectures that `--only` asks for; all without it."""
    names = [architecture.name for architecture in sweep.architectures]
    for pattern in options.only:
        if not fnmatch.filter(names, pattern):
            shown = quoted(pattern)[1:-1]
            raise SweepError(f"--only {shown}: no architecture of that name; there are {', '.join(names[:20])}")
    return {name for name in names if not options.only or any(fnmatch.fnmatchcase(name, p) for p in options.only)}


def _to_train(trials: list[Trial], wanted: set[str], records: Mapping[str, Record], options: Options) -> list[Trial]:
    def is_missing(trial: Trial) -> bool:
        record = records.get(trial.fingerprint)
        if record is None or options.fresh:
            return True
        return not record.is_done and (options.retry_failed or record.is_tried_again(options.trial_timeout))

    return [trial for trial in trials if trial.architecture.name in wanted and is_missing(trial)]


def add_refits(plan: Plan, options: Options) -> list[Trial]:
    """Put the refits that are known by now into the plan; those of the best wait until all that choose are trained.

    Returns:
        Those of them that this run will train.
    """
    if plan.sweep.refit is None or plan.refits:
        return []
    if plan.sweep.refit.which == "all":
        chosen = [item for item in plan.sweep.architectures if item.name not in plan.over_budget]
    else:
        to_come = {trial.fingerprint for trial in plan.to_train}
        is_open = any(t.fingerprint in to_come or t.fingerprint not in plan.records for t in plan.trials)
        best = None if is_open else ranking.rank(plan.state).best
        chosen = [item for item in plan.sweep.architectures if item.name == best]
    results, identity = plan.results, plan.info.identity
    plan.refits = list_refits(plan.sweep, chosen, data_identity=identity, plain_fit=options.plain_fit)
    plan.stamps |= _stamps(results, plan.refits)
    records, damaged = _load_records(results, plan.refits)
    plan.records |= records
    plan.damaged += damaged
    wanted = _wanted(plan.sweep, options)
    to_train = _to_train(plan.refits, wanted, records, options)
    plan.to_train += to_train
    return to_train


def decide_jobs(plan: Plan, options: Options) -> None:
    to_hold = {trial.architecture.name: trial.architecture for trial in plan.to_train}
    largest = max((training_bytes(item, plan.sizes[name], plan.info) for name, item in to_hold.items()), default=0)
    calls = len(plan.to_train) or min(1, len(plan.to_measure))
    plan.jobs, plan.jobs_note = _how_many_jobs(options, calls, largest)


def training_bytes(architecture: Architecture | Baseline, size: StackSize, info: DataInfo) -> int:
    if isinstance(architecture, Baseline):
        return _BASELINE_BYTES_A_PIXEL * info.train_images * math.prod(info.image_shape)
    return checks.training_bytes(architecture, size)


def _latencies(
    results: Results, sweep: Sweep, wanted: set[str], info: DataInfo, options: Options
) -> tuple[dict[str, Latency], dict[str, list[Architecture]]]:
    """The latencies that are known, by architecture name, and the architectures to measure, by the key of a latency."""
    known, to_measure = {}, {}
    for architecture in sweep.architectures:
        if architecture.name not in wanted or isinstance(architecture, Baseline):
            continue
        key = _latency_key(architecture, info)
        latency = results.load_latency(key)
        if latency is not None:
            known[architecture.name] = latency
        is_tried_again = latency is not None and 0 < latency.machine_failures < MOST_MACHINE_FAILURES
        if latency is None or options.fresh or is_tried_again or (options.retry_failed and latency.error):
            to_measure.setdefault(key, []).append(architecture)
    return known, to_measure


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


def _changes(last_plan: Mapping[str, dict], to_train: list[Trial]) -> list[str]:
    """What is different where a name's trials are trained again: `128-64: learning_rate 0.001 -> 0.0005`."""
    lines = []
    for architecture, settings in {t.architecture.name: (t.architecture, t.settings) for t in to_train}.values():
        before = last_plan.get(architecture.name)
        if not isinstance(before, dict):
            continue
        old, new = _flat(before), _flat(settings)
        different = [key for key in {**old, **new} if key != "seed" and old.get(key) != new.get(key)]
        if different:
            told = (f"{key} {_in_short(key, old)} -> {_in_short(key, new)}" for key in different)
            lines.append(f"{architecture.name}: {', '.join(told)}")
    return lines


def _flat(settings: dict) -> dict:
    """Training settings and a baseline's arguments beside the others, by the names that the sweep file gives them."""
    nested = [settings[key] for key in ("training", "arguments") if isinstance(settings.get(key), dict)]
    flat = {key: value for key, value in settings.items() if key not in ("training", "arguments")}
    return flat | {key: value for those in nested for key, value in those.items()}


def _in_short(key: str, settings: dict) -> str:
    """A value as a person would write it; what stands nowhere is at its default."""
    classifier = CLASSIFIERS.get(str(settings.get("baseline")))
    fields = Training.model_fields if classifier is None else classifier.model_fields
    value = settings.get(key, fields[key].default if key in fields else None)
    if key == "layers" and isinstance(value, list) and all(map(_is_layer, value)):
        return "-".join(str(next(iter(layer.values())).get("units", next(iter(layer)))) for layer in value)
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _is_layer(value) -> bool:
    """Whether it is a layer as `read` writes it; what a last run left may be damaged."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), dict)


def _how_many_jobs(options: Options, trials: int, largest_bytes: int) -> tuple[int, str | None]:
    """As many workers as asked for, else one a core; no more than trials, or than memory holds, with a word on that."""
    if options.jobs == 0:
        return 0, None
    if options.engine == "ray":
        return max(1, min(options.jobs or trials, trials)), None  # until the cluster says what it holds
    wanted = options.jobs
    if wanted is None:
        wanted = (options.device != "cpu" and count_gpus()) or available_cores()
    wanted = max(1, min(wanted, trials))
    memory = available_memory_bytes()
    needed = WORKER_BYTES + largest_bytes
    fits = wanted if memory is None else max(1, memory // needed)
    if fits >= wanted:
        return wanted, None
    return fits, f"{fits} workers, not {wanted}: a worker needs about {needed / 1e9:.1f} GB of memory"


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

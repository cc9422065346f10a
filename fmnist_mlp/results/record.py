"""What is kept of one trial, as an object and as the text of `record.json`."""

import datetime
import errno
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

import pydantic

from fmnist_mlp.sweepfile import trials
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.words import harmless

RECORD_FORMAT = 3

FORMAT_WITHOUT_SEAL = 2  # the same but for the seal

MOST_MACHINE_FAILURES = 3  # runs in a row; after them a trial that the machine fails is tried again only when asked

METRICS = tuple(
    f"{part}_{name}"
    for part in ("test", "val")
    for name in ("loss", "accuracy", "macro_precision", "macro_recall", "macro_f1", "ece")
)

# What a baseline without probabilities has none of: they stand in its record as null.
_NEED_PROBABILITIES = frozenset(name for name in METRICS if name.endswith(("_loss", "_ece")))


class ClassScores(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Scores of each class, None for one that does not occur; the confusion matrix has a row for each true class."""

    precision: list[pydantic.FiniteFloat | None]
    recall: list[pydantic.FiniteFloat | None]
    f1: list[pydantic.FiniteFloat | None]
    confusion_matrix: list[list[int]]

    @pydantic.model_validator(mode="after")
    def _has_every_class(self) -> Self:
        parts = (self.recall, self.f1, self.confusion_matrix, *self.confusion_matrix)
        if any(len(part) != len(self.precision) for part in parts):
            raise ValueError("classes are missing")
        return self


class Record(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What is kept of one trial. Everything but `environment` and `measured` is decided by the fingerprint.

    Args:
        settings: the dict whose hash is the fingerprint.
        dataset: `fashion_mnist`, `synthetic`, `idx:<folder>` or `npz:<file>`.
        params, trainable_params, flops: None for a baseline where there is nothing to count.
        size: of a baseline, where parameters do not say it: `200 trees, 1,234,567 nodes`.
        model_bytes: size of the exported model's file; 0 for a baseline, which has none.
        status: `done`; `failed`; of a candidate that its search stopped before its last epoch `stopped early`, of one
            that was trained to its end `only validated`. How far these two are trained says their history.
        metrics: those of `METRICS` as the exported model gives them; empty where the trial failed or was not scored.
            None are the losses and calibration errors of a baseline that gives no probabilities. A refit has no
            `val_*`.
        classes: scores by class, for `test` and, but for a refit, `val`.
        history: what Keras's `History` held, a list of numbers (null where not finite) for each name; empty for a
            baseline.
        weights: which weights were scored: those of the last epoch or of the best one; empty for a baseline, or
            where nothing was scored.
        notes: what scikit-learn warned of while a baseline was fitted, a line each; of a network, that its curves were
            deleted while it trained, or that another loop trained it than its settings name.
        error: of a failed trial: `type`, `message`, `traceback`; `limit_seconds` where it took longer than allowed.
        machine_failures: in how many runs in a row the machine failed (memory, disk, a killed worker), this one among
            them; 0 where the trial itself did.
        environment: library versions, device, commit.
        measured: clocks and memory; differs from run to run.
    """

    format: Literal[2, 3] = RECORD_FORMAT
    fingerprint: str
    status: Literal["done", "failed", "stopped early", "only validated"]
    settings: dict[str, Any]
    dataset: str
    params: int | None
    trainable_params: int | None
    flops: int | None
    size: str = ""
    model_bytes: int = 0
    train_images: int = 0
    val_images: int = 0
    metrics: dict[str, pydantic.FiniteFloat | None] = {}
    classes: dict[str, ClassScores] = {}
    class_names: tuple[str, ...] = ()
    history: dict[str, list[float | None]] = {}
    weights: str = ""
    notes: tuple[str, ...] = ()
    error: dict[str, str] | None = None
    machine_failures: pydantic.NonNegativeInt = 0
    environment: dict[str, str] = {}
    measured: dict[str, Any] = {}

    @property
    def is_done(self) -> bool:
        return self.status == "done"

    @property
    def is_failed(self) -> bool:
        return self.status == "failed"

    @property
    def is_unscored(self) -> bool:
        """Whether it is a candidate's: curves, but no figures on test images, no model and no predictions."""
        return self.status in ("stopped early", "only validated")

    @property
    def epochs_done(self) -> int:
        """How many epochs were trained; 0 for a baseline, and of a failed trial."""
        return len(self.history.get("loss", ()))

    @property
    def keeps_checkpoint(self) -> bool:
        """Whether its trial may go on later: a search stopped it, or the machine failed it."""
        return self.status == "stopped early" or self.machine_failures > 0

    def has_enough(self, until: int | None) -> bool:
        """Whether it holds what its trial is trained for: all of it, or for a candidate so many epochs."""
        if self.is_unscored and until is not None:
            return self.status == "only validated" or self.epochs_done >= until
        return self.is_done

    def is_tried_again(self, limit_seconds: float | None = None) -> bool:
        """Whether the next run trains this trial again, unasked: what failed is no result yet.

        Args:
            limit_seconds: how long a trial may take now, where somebody has set a limit.
        """
        if not self.is_failed:
            return False
        before = self.error.get("limit_seconds")
        if before is not None and limit_seconds is not None:
            return limit_seconds > float(before)
        # Records from before failures were counted have 0.
        failures = self.machine_failures or is_of_the_machine(self.error["type"], self.error["message"])
        return 0 < failures < MOST_MACHINE_FAILURES

    @property
    def is_baseline(self) -> bool:
        """Whether this is a classifier of scikit-learn: without epochs, model file and FLOPs."""
        return "baseline" in self.settings

    @property
    def is_refit(self) -> bool:
        """Whether it was trained on all training images, with none for validation."""
        return "refit" in self.settings

    def in_short(self, trial: Trial) -> Self:
        """Half the memory, for a parent that holds thousands: settings are the trial's own, scores by class are left
        out; `Results.load_record` has them."""
        return self.model_copy(update={"settings": trial.settings, "classes": {}, "class_names": ()})

    @pydantic.model_validator(mode="after")
    def _has_what_the_tables_show(self) -> Self:
        if self.is_done:
            empty = {name for name, value in self.metrics.items() if value is None}
            parts = {"test"} if self.is_refit else {"test", "val"}
            metrics = {name for name in METRICS if name.partition("_")[0] in parts}
            lacking = metrics - {*self.metrics} | (empty - _NEED_PROBABILITIES if self.is_baseline else empty)
            if not self.is_baseline:
                lacking |= {name for name in ("params", "trainable_params", "flops") if getattr(self, name) is None}
                lacking |= {name for name in ("loss", "accuracy") if not self.history.get(name)}
            lacking |= parts - {*self.classes}
            if lacking:
                raise ValueError(f"a finished trial without {', '.join(sorted(lacking))}")
            if any(len(scores.precision) != len(self.class_names) for scores in self.classes.values()):
                raise ValueError("a finished trial without the names of its classes")
        elif self.is_unscored:
            curves = [self.history.get(name, []) for name in ("loss", "accuracy", "val_loss", "val_accuracy")]
            if not self.epochs_done or any(len(c) != self.epochs_done or None in c for c in curves):
                raise ValueError("a trial without scores that lacks a curve")
            if self.metrics or self.classes:
                raise ValueError("a trial without scores that has some")
        elif not {"type", "message"} <= {*(self.error or {})}:
            raise ValueError("a failed trial without its error")
        else:
            float(self.error.get("limit_seconds", 0))
        return self

    @pydantic.model_validator(mode="after")
    def _says_what_it_took(self) -> Self:
        if not self.is_failed:
            if not _is_duration(self.measured.get("train_seconds")):
                raise ValueError("a trained trial without its seconds")
            if not isinstance(self.measured.get("peak_memory_bytes"), int | None):
                raise ValueError("a trained trial whose memory is no number")
            seconds = self.measured.get("epoch_seconds")
            is_list = isinstance(seconds, list) and all(map(_is_duration, seconds))
            if not is_list or not (seconds or self.is_baseline):
                raise ValueError("a trained trial without the seconds of its epochs")
        started = self.measured.get("started_at_seconds", 0.0)
        if not (isinstance(started, int | float) and math.isfinite(started)):
            raise ValueError("a trial that began at no moment")
        return self


class Latency(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Seconds that an architecture's model takes for one image and for a batch of 1,000; None where it failed."""

    latency_seconds: pydantic.PositiveFloat | None = None
    latency_1000_seconds: pydantic.PositiveFloat | None = None
    environment: dict[str, str] = {}
    error: str = ""
    machine_failures: pydantic.NonNegativeInt = 0  # as in `Record`


def started_at(seconds: float) -> dict[str, str | float]:
    """The beginning of a trial as its record has it: for people, and as seconds since 1970."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return {"started_at": moment.isoformat(timespec="seconds"), "started_at_seconds": seconds}


def failed_record(
    trial: Trial,
    size,
    dataset: str,
    failure,
    *,
    environment: Mapping[str, str],
    started: float,
    seconds: float,
    failures_before: int = 0,
    limit_seconds: float | None = None,
) -> Record:
    """The record of a trial that failed.

    Args:
        size: `stacks.StackSize`.
        failure: `calls.Failure`.
        started: seconds since 1970.
        seconds: how long it ran.
        failures_before: `Record.machine_failures` of the run before.
        limit_seconds: how long it was given, where that was too little.
    """
    error = {"type": failure.type, "message": failure.message, "traceback": failure.traceback}
    return Record(
        fingerprint=trial.fingerprint,
        status="failed",
        settings=trial.settings,
        dataset=dataset,
        params=size.params,
        trainable_params=size.trainable_params,
        flops=size.flops,
        error=error | ({} if limit_seconds is None else {"limit_seconds": str(limit_seconds)}),
        machine_failures=failures_before + 1 if is_of_the_machine(failure.type, failure.message) else 0,
        environment=dict(environment),
        measured=started_at(started) | {"seconds": seconds},
    )


def is_of_the_machine(error_type: str, message: str) -> bool:
    """Whether an error says that memory, disk or process gave out, and so nothing about the trial."""
    return error_type in _MACHINE_ERRORS or re.search(_MACHINE_MESSAGES, message) is not None


# TensorFlow's is for memory and disks; a worker that dies does so by the kernel's hand or by a fault in C.
_MACHINE_ERRORS = ("MemoryError", "_ArrayMemoryError", "ResourceExhaustedError", "WorkerDied")

_ERROR_NUMBERS = "|".join(
    str(getattr(errno, name))
    for name in ("EIO", "EAGAIN", "ENOMEM", "ENFILE", "EMFILE", "ENOSPC", "EROFS", "EDQUOT", "ESTALE")
    if hasattr(errno, name)
)

_MACHINE_MESSAGES = (
    rf"^\[Errno ({_ERROR_NUMBERS})\]|can't start new thread|No space left on device|(?i:out of memory)"
    r"|RESOURCE_EXHAUSTED|std::bad_alloc|[Ff]ailed to allocate|CUDA_ERROR_|CU[A-Z]+_STATUS_(ALLOC|INTERNAL|NOT_)"
)


class DamagedRecord(Exception):
    """A record that cannot be used; the message names the file and the reason. Its trial is trained again."""


_MAY_BE_UNWRITABLE = re.compile(rb"\\ud|nan|infinity|e\+?\d{3}", re.IGNORECASE)


def parse_record(path: str, text: bytes, fingerprint: str) -> Record:
    try:
        content = json.loads(text)
        if isinstance(content, dict) and content.get("format", RECORD_FORMAT) not in (
            RECORD_FORMAT,
            FORMAT_WITHOUT_SEAL,
        ):
            shown = harmless(str(content["format"]))[:60]
            raise DamagedRecord(f"{path}: has format {shown}, this version reads {RECORD_FORMAT}")
        record = Record.model_validate(content)
        # Half a character (a lone surrogate) and numbers without end are valid JSON to Python, but no table and no log
        # could be written with them. Hardly any record needs the second look, which takes as long as the first.
        if not text.isascii() or _MAY_BE_UNWRITABLE.search(text):
            json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        if not record.fingerprint == fingerprint == trials.fingerprint(record.settings):
            raise DamagedRecord(f"{path}: belongs to another trial")
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(f"{path}: is not a whole record") from error
    return record


def _is_duration(seconds: Any) -> bool:
    return isinstance(seconds, float) and 0 <= seconds < math.inf

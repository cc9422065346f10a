"""The candidates of a search: what was proposed, how far each was trained, which go on, which are the finalists.

A search proposes candidates in rounds. Each round is a bracket of its own, by synchronous successive halving: its
candidates train up to the first rung, the better ones go on to the next, and so on; a candidate stopped there keeps the
figure that it had. All of this is replayed from the list of proposals and from the records, so it is the same for any
number of workers, killed or not. Who proposes is `runner/search`; here nothing is drawn and nothing trained.

Candidates train on a seed of their own, from a reserved stream. So the seeds of a sweep, by which finalists and what is
listed are compared, are fresh: nothing was chosen by them.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fmnist_mlp.files import made_of
from fmnist_mlp.results.record import Record, is_of_the_machine
from fmnist_mlp.sweepfile.layers import Dense
from fmnist_mlp.sweepfile.names import shorten_name
from fmnist_mlp.sweepfile.search import Search
from fmnist_mlp.sweepfile.seeds import reserved
from fmnist_mlp.sweepfile.settings import SelectBy
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.sweep import Architecture, Sweep
from fmnist_mlp.sweepfile.trials import NUMERICS_VERSION, Trial, canonical_settings, fingerprint

FORMAT = 1  # of a list of proposals, and of the rules below: raise it when the same list and records give others

Values = Mapping[str, int | float]


@dataclass(frozen=True)
class Candidate:
    """A stack that a search proposed, within its budget.

    Args:
        number: from 0, in the order of proposal.
        round: from 0.
        values: of every axis of the search.
        trial: its training on the seed of the search, whole.
        same_as: number of an earlier candidate that is the same trial; it is told of that one's figure, at no cost.
    """

    number: int
    round: int
    values: Values
    trial: Trial
    size: StackSize
    same_as: int | None = None

    @property
    def architecture(self) -> Architecture:
        return self.trial.architecture


@dataclass(frozen=True)
class Standing:
    """How far a candidate came.

    Args:
        epochs: that it was trained, as far as the search counts them.
        figure: what the search selects by, after these epochs; larger is better for `val_accuracy` alone. None of one
            that failed or waits.
        status: `whole` is a candidate that went through all rungs.
    """

    candidate: Candidate
    epochs: int
    figure: float | None
    status: Literal["waiting", "stopped early", "whole", "failed"]


@dataclass(frozen=True)
class Progress:
    """How far a search has come.

    Args:
        standings: of each candidate, in the order of proposal.
        asked: candidates that are to be trained next, and up to which epoch.
        halted: candidates that failed for want of memory, disk or a process; the search waits for a run that can.
        complete: rounds that are over.
        is_over: no candidate is missing, in as many rounds as the sweep file asks for.
    """

    standings: Sequence[Standing]
    asked: Sequence[tuple[Candidate, int]] = ()
    halted: Sequence[Candidate] = ()
    complete: int = 0
    is_over: bool = False

    @property
    def epochs(self) -> int:
        """What the candidates were trained in all; one that came twice was trained once."""
        return sum(standing.epochs for standing in self.standings if standing.candidate.same_as is None)


class SearchLog:
    """What a search has proposed so far. It grows, and is kept so that a rerun proposes the same.

    Args:
        sweep: with a `search`, and its images known.
        trial_arguments: `data_identity` and `plain_fit`, as for `list_trials`.
        size_of: counts a stack.
    """

    def __init__(self, sweep: Sweep, trial_arguments: Mapping[str, Any], size_of: Callable[[Architecture], StackSize]):
        self.search: Search = sweep.search
        self.select_by: SelectBy = sweep.select_by
        self._limit, self._arguments, self.size_of = sweep.limit, trial_arguments, size_of
        # How many rounds and finalists there are decides nothing of a round.
        design = [FORMAT, NUMERICS_VERSION, self.search.canonical(), self.select_by, self._limit, {**trial_arguments}]
        self.key = made_of(design)[:32]
        self.versions: list[str] = []  # of Optuna, a round
        self.proposed: list[list[tuple[Values, Candidate | None]]] = []  # a round each; None is over budget
        self._first: dict[str, int] = {}  # number of the first candidate of a fingerprint
        self._candidates = 0

    def restore(self, remembered: Any) -> None:
        """Take up what `content` gave; from the first round on that it does not hold whole, nothing."""
        rounds = remembered.get("rounds") if isinstance(remembered, dict) else None
        for one in rounds if isinstance(rounds, list) else ():
            values = one.get("proposed") if isinstance(one, dict) else None
            if not isinstance(values, list) or not all(map(self._is_sound, values)):
                return
            self.add(values, str(one.get("optuna")))

    def content(self) -> dict[str, Any]:
        """JSON values."""
        rounds = zip(self.proposed, self.versions, strict=True)
        return {"rounds": [{"proposed": [{**values} for values, _ in found], "optuna": v} for found, v in rounds]}

    def candidate(self, values: Values, round_number: int, before: int = 0) -> Candidate | None:
        """What these values make; None where it has too many parameters.

        Args:
            before: candidates of the round so far.
        """
        architecture = self.search.architecture(values)
        size = self.size_of(architecture)
        if self.search.max_params is not None and size.params > self.search.max_params:
            return None
        number = self._candidates + before
        widths = "-".join(str(layer.units) for layer in architecture.layers if isinstance(layer, Dense))
        # Short, for it stands in tables and plots; what else it is, search.csv and the column of its layers say.
        architecture = replace(architecture, name=shorten_name(f"{widths}-c{number}"))
        settings = canonical_settings(
            architecture, limit=self._limit, seed=reserved("search", self.search.seed), **self._arguments
        )
        trial = Trial(architecture, settings["seed"], None, fingerprint(settings), settings)
        same_as = self._first.get(trial.fingerprint)
        return Candidate(number, round_number, values, trial, size, same_as)

    def add(self, proposed: Iterable[Values], version: str) -> None:
        """A whole round, in the order of proposal, those over budget too."""
        found = []
        for values in proposed:
            candidate = self.candidate(values, len(self.proposed))
            if candidate is not None:
                self._first.setdefault(candidate.trial.fingerprint, candidate.number)
                self._candidates += 1
            found.append((values, candidate))
        self.proposed.append(found)
        self.versions.append(version)

    def rounds(self) -> Iterator[list[Candidate]]:
        """The candidates of each round that the sweep file asks for."""
        for found in self.proposed[: self.search.rounds]:
            yield [candidate for _, candidate in found if candidate is not None]

    def progress(self, records: Mapping[str, Record]) -> Progress:
        """How far it has come, by these records."""
        standings: dict[int, Standing] = {}
        complete = 0
        for candidates in self.rounds():
            new = [candidate for candidate in candidates if candidate.same_as is None]
            asked, halted = self._play(new, records, standings)
            for candidate in candidates:
                if candidate.same_as is not None:
                    first = standings.get(candidate.same_as)
                    figures = (0, None, "waiting") if first is None else (first.epochs, first.figure, first.status)
                    standings[candidate.number] = Standing(candidate, *figures)
            if asked or halted:
                return Progress(_in_order(standings), asked, halted, complete)
            complete += 1
        return Progress(_in_order(standings), complete=complete, is_over=complete == self.search.rounds)

    def _play(
        self, entered: Sequence[Candidate], records: Mapping[str, Record], standings: dict[int, Standing]
    ) -> tuple[list[tuple[Candidate, int]], list[Candidate]]:
        """Play one bracket as far as the records go; `standings` get those of its candidates."""
        for position, rung in enumerate(self.search.rungs):
            for candidate in entered:
                standings[candidate.number] = self._standing(candidate, records, position)
            missing = [candidate for candidate in entered if standings[candidate.number].status == "waiting"]
            halted = [one for one in missing if _is_machine_failure(records.get(one.trial.fingerprint))]
            if missing:
                return [(candidate, rung) for candidate in missing if candidate not in halted], halted
            alive = [one for one in entered if standings[one.number].figure is not None]
            kept = max(1, round(self.search.keep * len(entered)))
            entered = sorted(alive, key=lambda one: self.sort_key(standings[one.number]))[:kept]
        return [], []

    def _standing(self, candidate: Candidate, records: Mapping[str, Record], position: int) -> Standing:
        """A candidate that entered this rung, by its record."""
        record, rung = records.get(candidate.trial.fingerprint), self.search.rungs[position]
        if record is None or _is_machine_failure(record) or not (record.is_failed or record.has_enough(rung)):
            return Standing(candidate, self.search.rungs[position - 1] if position else 0, None, "waiting")
        if record.is_failed:
            return Standing(candidate, 0, None, "failed")
        epochs = min(rung, record.epochs_done)
        figure = figure_after(record, epochs, candidate.architecture.training, self.select_by)
        return Standing(candidate, epochs, figure, "whole" if rung == self.search.epochs else "stopped early")

    def sort_key(self, standing: Standing) -> tuple:
        """Better candidates first: those trained whole, then by the rung they reached, then by their figure."""
        worse = -standing.figure if self.select_by == "val_accuracy" else standing.figure
        how_far = math.inf if standing.status == "whole" else standing.epochs
        return -how_far, worse, standing.candidate.number

    def decided(self, records: Mapping[str, Record]) -> set[str]:
        """Fingerprints of the candidates of rounds that are over: nobody goes on with one that was stopped early."""
        complete = self.progress(records).complete
        return {one.trial.fingerprint for candidates in [*self.rounds()][:complete] for one in candidates}

    def finalists(self, progress: Progress) -> list[Candidate]:
        """The best candidates of a search that is over, no trial twice."""
        found = [one for one in progress.standings if one.figure is not None and one.candidate.same_as is None]
        return [one.candidate for one in sorted(found, key=self.sort_key)[: self.search.finalists]]

    def _is_sound(self, values: Any) -> bool:
        """Whether remembered values are those of a proposal of this search."""
        axes = self.search.axes
        if not isinstance(values, dict) or values.keys() != axes.keys():
            return False
        numbers = all(type(value) in (int, float) and math.isfinite(value) for value in values.values())
        return numbers and self.search.tidy(values) == values


def figure_after(record: Record, epochs: int, training, select_by: str) -> float | None:
    """What a training is selected by after so many epochs; of the weights that early stopping would restore then.

    None where it is not finite.
    """
    values, stopping = record.history[select_by][:epochs], training.early_stopping
    if stopping is None or not stopping.restore_best_weights:
        return values[-1]
    # As keras.callbacks.EarlyStopping decides what is an improvement.
    monitored, best = record.history[stopping.monitor][:epochs], 0
    sign = 1 if stopping.monitor == "val_accuracy" else -1
    for epoch, value in enumerate(monitored):
        if value is not None and sign * (value - monitored[best]) > stopping.min_delta:
            best = epoch
    return values[best]


def _is_machine_failure(record: Record | None) -> bool:
    if record is None or not record.is_failed:
        return False
    return bool(record.machine_failures) or is_of_the_machine(record.error["type"], record.error["message"])


def _in_order(standings: Mapping[int, Standing]) -> list[Standing]:
    return [standings[number] for number in sorted(standings)]

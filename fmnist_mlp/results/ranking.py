"""Which architecture is the best, in which order the others follow, what is decided, and which trial stands for each.

A `SweepState` is what a sweep asks for and what of it is done; `rank` makes its `Ranking`, and everybody asks that: the
table and its verdicts, refits, the exported models, the report, TensorBoard. Whoever has only the rows of a finished
table reads the same order from them with `best_first`. Nobody else compares means.

The rules. `select_by` decides, over validation images; test images are never looked at. Means are over seeds, and with
folds a seed's figure is the mean over its folds (`SweepState.figures_by_seed`). Means are compared as if every
architecture had been trained with every seed, so that a trial that failed on a hard seed makes nobody better
(`verdicts.behind_best`). Of means that differ by rounding alone, the first in the sweep file is
better. An architecture without a figure to compare comes last. Order and best need numpy alone, so that a rerun with
nothing to do can ask for them; only verdicts need scipy.
"""

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fmnist_mlp.results import looks, verdicts
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.record import Latency, Record
from fmnist_mlp.results.registry import EarlierLooks
from fmnist_mlp.results.search import SearchLog
from fmnist_mlp.sweepfile.duplicates import new_trials
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.sweep import Sweep
from fmnist_mlp.sweepfile.trials import Trial, identity_of


@dataclass(frozen=True)
class SweepState:
    """What a sweep asks for and what of it is done.

    Args:
        trials: all that choose among the architectures, in the table's order.
        records: by fingerprint, done or failed; those of `refits` too.
        sizes: `stacks.StackSize` by architecture name.
        dataset: as in the `dataset` column.
        over_budget: names of the architectures that are larger than their `max_params`.
        latencies: by architecture name, where they are known.
        refits: trials that train an architecture again on all training images, after the choice.
        warnings: what is wrong with the images, a sentence each.
        class_names: as the classes are called now; none for what each record calls them.
        earlier: what this sweep compared in earlier runs.
        memory: what is remembered of the looks; it grows.
        search: what the search of this sweep has proposed; it grows. None where there is none.
        candidates: trials of that search, each as far as it is asked for by now; what they show stands in no table.
    """

    sweep: Sweep
    trials: Sequence[Trial]
    records: Mapping[str, Record]
    sizes: Mapping[str, StackSize]
    dataset: str
    over_budget: frozenset[str] = frozenset()
    latencies: Mapping[str, Latency] = field(default_factory=dict)
    refits: Sequence[Trial] = ()
    warnings: Sequence[str] = ()
    class_names: Sequence[str] = ()
    earlier: EarlierLooks = field(default_factory=EarlierLooks)
    memory: looks.Memory = field(default_factory=looks.Memory, compare=False)
    search: SearchLog | None = field(default=None, compare=False)
    candidates: Sequence[Trial] = ()

    @property
    def asked_for(self) -> list[Trial]:
        """All trials, refits too, but no candidates."""
        return [*self.trials, *self.refits]

    def with_finalists(self) -> "SweepState":
        """With the finalists of the search among the architectures, as soon as it is over."""
        progress = self.search.progress(self.records) if self.search is not None else None
        if progress is None or not progress.is_over:
            return self
        listed = self.sweep.architectures
        found = new_trials([one.architecture for one in self.search.finalists(progress)], [*listed])
        if not found:
            return self
        sizes = {architecture.name: self.search.size_of(architecture) for architecture in found}
        sweep = self.sweep.model_copy(update={"architectures": (*listed, *found)})
        return dataclasses.replace(self, sweep=sweep, sizes={**self.sizes, **sizes})

    @property
    def done(self) -> list[Trial]:
        return [trial for trial, record in self._with_records(self.asked_for) if record.is_done]

    @property
    def failed(self) -> list[Trial]:
        return [trial for trial, record in self._with_records(self.asked_for) if not record.is_done]

    @property
    def select_by(self) -> str:
        return self.sweep.select_by

    def by_architecture(self) -> dict[str, list[tuple[Trial, Record]]]:
        """The trials that have a record, by architecture name, in the order of seeds and folds; refits are apart."""
        return self._by_name(self.trials)

    def refits_by_architecture(self) -> dict[str, list[tuple[Trial, Record]]]:
        """The refits that have a record, by architecture name, in the order of seeds."""
        return self._by_name(self.refits)

    @cached_property
    def identities(self) -> dict[str, str]:
        """What each architecture that may be compared is apart from its name, by name: `trials.identity_of`."""
        first = {trial.architecture.name: trial for trial in reversed(self.trials)}
        return {name: identity_of(trial) for name, trial in first.items()}

    @property
    def compared(self) -> list[str]:
        """The identities of the architectures that have a figure."""
        return [
            self.identities[name] for name, pairs in self.by_architecture().items() if any(r.is_done for _, r in pairs)
        ]

    def ended_seeds(self) -> dict[str, set[int]]:
        """The seeds of each architecture of which every trial has a record, by name."""
        ended: dict[str, Counter[int]] = {}
        for name, pairs in self.by_architecture().items():
            ended[name] = Counter(trial.seed for trial, _ in pairs)
        needed = self.sweep.folds or 1
        return {name: {seed for seed, n in counts.items() if n == needed} for name, counts in ended.items()}

    def figure(self, name: str, record: Record) -> float | None:
        """A figure of a finished trial by its column's name; None where it has none."""
        if name == "cv_accuracy":  # each image validates one of the folds
            return record.metrics["val_accuracy"] if self.sweep.folds else None
        return record.metrics[name]

    def done_by_seed(self, pairs: Sequence[tuple[Trial, Record]]) -> dict[int, list[Record]]:
        """The finished trials of an architecture by seed, with folds in their order; in the order of the seeds.

        A seed that lacks a fold, since this failed or is not trained yet, is left out: folds are not equally hard, so
        its mean over the others would be one of something else.
        """
        by_seed: dict[int, list[Record]] = {}
        for trial, record in pairs:
            if record.is_done:
                by_seed.setdefault(trial.seed, []).append(record)
        has_folds = any(trial.fold is not None for trial, _ in pairs)
        needed = self.sweep.folds if has_folds else 1
        return {seed: records for seed, records in by_seed.items() if len(records) == needed}

    def figures_by_seed(self, name: str, pairs: Sequence[tuple[Trial, Record]]) -> dict[int, float | None]:
        """A figure of an architecture for each of its seeds, with folds the mean over them.

        Everything in the table is of this procedure on these training images, over seeds. So a seed is what means,
        spreads, intervals and verdicts count: its folds share that seed's randomness and the images.
        """
        return {
            seed: mean_or_none([self.figure(name, record) for record in records])
            for seed, records in self.done_by_seed(pairs).items()
        }

    def _by_name(self, trials: Sequence[Trial]) -> dict[str, list[tuple[Trial, Record]]]:
        by_name = {architecture.name: [] for architecture in self.sweep.architectures}
        for trial, record in self._with_records(trials):
            by_name[trial.architecture.name].append((trial, record))
        return by_name

    def _with_records(self, trials: Sequence[Trial]) -> list[tuple[Trial, Record]]:
        """But for unscored records, which a search left on its way: there is no figure in them, and no failure."""
        pairs = ((trial, self.records.get(trial.fingerprint)) for trial in trials)
        return [(trial, record) for trial, record in pairs if record is not None and not record.is_unscored]


def rank(state: SweepState) -> "Ranking":
    """What of this sweep is best; computed when it is asked for."""
    return Ranking(state)


@dataclass(frozen=True, eq=False)
class Ranking:
    """What is best, and in which order the others follow."""

    state: SweepState

    @property
    def best(self) -> str | None:
        """Name of the best architecture; None before any has a figure."""
        return next(iter(self.order), None)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Names of the architectures that have a figure, best first."""
        return tuple(sorted(self.behind, key=self.behind.get))

    @cached_property
    def behind(self) -> dict[str, float]:
        """How far behind the best, by name, in the sweep file's order; 0 for what is level with it.

        After several looks as these found it: what was dropped stays where it was. Only then is scipy needed.
        """
        if len(self.design.looks) == 1 or not self.progress.look:
            return verdicts.behind_best(self._values, self._higher_is_better)
        return {name: found.behind for name, found in self.comparisons.items()}

    @property
    def comparisons(self) -> Mapping[str, verdicts.Comparison]:
        """Whether each can be told from the best, by name, in the sweep file's order. Needs scipy."""
        return self.progress.comparisons

    @cached_property
    def progress(self) -> looks.Progress:
        """How far the looks have come, and what they found."""
        names = [item.name for item in self.state.sweep.architectures if item.name not in self.state.over_budget]
        return looks.replay(
            names, self._values, self.state.ended_seeds(), self.design, self._higher_is_better, self.state.memory
        )

    @cached_property
    def design(self) -> looks.Design:
        """When verdicts are drawn, and how strict they are."""
        sweep = self.state.sweep
        compared = self.state.earlier.compared.union(self.state.identities.values())
        return looks.Design(sweep.seeds, sweep.looks or (len(sweep.seeds),), len(compared), sweep.margin)

    @cached_property
    def best_trials(self) -> dict[str, Trial]:
        """The finished trial with the best validation of each architecture that has one; of equals, the first seed's.

        Of a baseline without a loss it is the one with the best `val_accuracy`, whatever `select_by` says.
        """
        best = {}
        for name, found in self.state.by_architecture().items():
            done = [(trial, record) for trial, record in found if record.is_done]
            by_loss = not self._higher_is_better and bool(done) and done[0][1].metrics["val_loss"] is not None
            figures = [-r.metrics["val_loss"] if by_loss else r.metrics["val_accuracy"] for _, r in done]
            if done:
                best[name] = done[figures.index(max(figures))][0]
        return best

    @cached_property
    def exported_trials(self) -> dict[str, Trial]:
        """The trial whose model stands for each architecture: its first refit, where there is one, else `best_trials`.

        Among refits nothing chooses: they have no validation, and test images decide nothing.
        """
        found = self.state.refits_by_architecture()
        refits = {name: [trial for trial, record in those if record.is_done] for name, those in found.items()}
        return self.best_trials | {name: those[0] for name, those in refits.items() if those}

    @property
    def _higher_is_better(self) -> bool:
        return self.state.select_by != "val_loss"

    @cached_property
    def _values(self) -> dict[str, dict[int, float | None]]:
        """What decides, of each architecture, by seed."""
        pairs_by_name = self.state.by_architecture()
        return {name: self.state.figures_by_seed(self.state.select_by, pairs) for name, pairs in pairs_by_name.items()}


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean, exactly rounded; None where a value is missing."""
    return None if None in values else statistics.mean(values)


def best_first(rows: Sequence[TableRow]) -> list[TableRow]:
    """The rows of a final table in the order of their ranking, those without a figure last."""
    return sorted(rows, key=lambda row: math.inf if row.behind_best.mean is None else row.behind_best.mean)

"""The looks of a sweep: after how many seeds verdicts are drawn, and who is trained on.

A sweep of a fixed number of seeds has one look. One with `until: decided` has several, fixed beforehand: after each the
architectures that are still open, and the best, get the seeds up to the next. Those found worse are dropped, with their
figures as that look found them; all other verdicts are drawn anew at each look, against the then best. It ends when
nobody is open, or with the last look.

Everything is replayed from the records, so it is the same for any number of workers, killed or not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fmnist_mlp.files import made_of
from fmnist_mlp.results import boundaries
from fmnist_mlp.results.verdicts import Comparison, Figures, Look, compare_with_best


@dataclass(frozen=True)
class Design:
    """When verdicts are drawn, and how strict they are.

    Args:
        seeds: all that may be asked for, in the order in which they are.
        looks: how many of them are there at each look, rising; one look is a fixed number of seeds.
        stacks: architectures that were ever compared in this sweep, those of today among them.
        margin: the difference that matters; None where none is named.
    """

    seeds: Sequence[int]
    looks: tuple[int, ...]
    stacks: int
    margin: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far a sweep has come, and what its last look found.

    Args:
        look: how many looks were taken.
        comparisons: the latest word on each architecture, by name.
        asked: how many of the seeds each architecture is asked for by now, by name.
        still_open: names that the next look trains on to decide them.
        without_figures: names of those of which no trial of a look gave a figure: they get no more seeds.
    """

    look: int
    comparisons: Mapping[str, Comparison]
    asked: Mapping[str, int]
    still_open: tuple[str, ...] = ()
    without_figures: frozenset[str] = field(default_factory=frozenset)


FORMAT = 1  # of remembered comparisons: raise it when the same figures give other verdicts


class Memory:
    """What was simulated and compared before, so that a rerun with nothing to do needs no scipy.

    It is a memory only: without it the same is computed again.

    Args:
        remembered: what `content` gave at the end of an earlier run; anything else is nothing.
    """

    def __init__(self, remembered: Any = None):
        remembered = _dict_of(remembered)
        self.boundaries: dict[str, list] = _dict_of(remembered.get("boundaries"))
        self._before, self._compared = _dict_of(remembered.get("compared")), {}

    def content(self) -> dict[str, Any]:
        """JSON values: boundaries, and the comparisons that were asked for since this was made."""
        return {"boundaries": self.boundaries, "compared": self._compared}

    def compare(self, figures: Figures, look: Look, **arguments: Any) -> dict[str, Comparison]:
        """`compare_with_best`, once for the same figures."""
        by_number = {name: [*map(list, by_seed.items())] for name, by_seed in figures.items()}
        key = made_of([FORMAT, by_number, look, arguments])
        remembered = self._compared.get(key) or self._before.get(key)
        if remembered is None:
            found = compare_with_best(figures, look, **arguments)
            remembered = {name: list(vars(comparison).values()) for name, comparison in found.items()}
        self._compared[key] = remembered
        return {name: Comparison(*values) for name, values in remembered.items()}


def _dict_of(remembered: Any) -> dict[str, Any]:
    return {**remembered} if isinstance(remembered, dict) else {}


def replay(
    names: Sequence[str],
    figures: Figures,
    ended: Mapping[str, Collection[int]],
    design: Design,
    higher_is_better: bool,
    memory: Memory,
) -> Progress:
    """Take one look after the other, as far as the records go.

    The only look of a fixed number of seeds waits for nothing: a sweep that was stopped has verdicts too.

    Args:
        names: of the architectures that are to be compared.
        figures: of each by seed, of what is done.
        ended: the seeds of each of which every trial has a record, done or failed.
        memory: of what it needs; it grows.
    """
    asked, to_train, rivals = dict.fromkeys(names, 0), [*names], [*names]
    latest, comparisons, still_open, without_figures = {}, {}, [*names], set()
    taken = 0
    while still_open and taken < len(design.looks):
        new = {name: design.seeds[asked[name] : design.looks[taken]] for name in to_train}
        asked |= dict.fromkeys(to_train, design.looks[taken])
        if len(design.looks) > 1 and any({*seeds} - {*ended.get(name, ())} for name, seeds in new.items()):
            break  # it waits for records

        levels = boundaries.levels(max(2, design.stacks), (max(2, look) for look in design.looks), memory.boundaries)
        look = Look(levels.stacks, levels.range[taken], levels.pair[taken])
        seen = {name: _of(figures, name, design.seeds[: asked[name]]) for name in rivals}
        latest = memory.compare(seen, look, higher_is_better=higher_is_better, margin=design.margin)
        comparisons |= latest
        taken += 1

        rivals = [name for name in rivals if name not in latest or latest[name].verdict != "worse"]
        without_figures |= {name for name, seeds in new.items() if seeds and not _of(figures, name, seeds)}
        trainable = [name for name in latest if name not in without_figures]
        still_open = [name for name in trainable if latest[name].is_open]
        to_train = [name for name in trainable if latest[name].is_open or latest[name].verdict == "best"]
    in_order = {name: comparisons[name] for name in names if name in comparisons}
    return Progress(taken, in_order, asked, tuple(still_open), frozenset(without_figures))


def _of(figures: Figures, name: str, seeds: Sequence[int]) -> dict[int, float]:
    """The figures of an architecture on these seeds, where it has one."""
    by_seed = figures.get(name, {})
    return {seed: by_seed[seed] for seed in seeds if by_seed.get(seed) is not None}

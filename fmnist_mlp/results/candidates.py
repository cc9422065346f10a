"""The table of a search, `search.csv`: a row a candidate, in the order of proposal; and the search in sentences."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from fmnist_mlp.results.columns import Column
from fmnist_mlp.results.ranking import SweepState
from fmnist_mlp.results.search import Progress, SearchLog, Standing
from fmnist_mlp.sweepfile.search import ROUND
from fmnist_mlp.words import counted

_SHOWN = 10  # of the best candidates, to people


class CandidateRow(NamedTuple):
    """A candidate, how far it came, and what was the best by then.

    Args:
        values: what was proposed, in words, by key.
        best_so_far: the best figure of a candidate that went through all rungs, up to this one.
        epochs_so_far: of all candidates up to this one.
        finalist: its place among the finalists, from 1; None of all others.
    """

    standing: Standing
    values: dict[str, Any]
    best_so_far: float | None
    epochs_so_far: int
    finalist: int | None


def candidate_rows(log: SearchLog, progress: Progress) -> list[CandidateRow]:
    """A row a candidate, in the order of proposal."""
    finalists = [one.number for one in log.finalists(progress)] if progress.is_over else []
    better = max if log.select_by == "val_accuracy" else min
    rows, best, epochs = [], None, 0
    for standing in progress.standings:
        candidate = standing.candidate
        epochs += standing.epochs if candidate.same_as is None else 0
        if standing.status == "whole" and standing.figure is not None:
            best = standing.figure if best is None else better(best, standing.figure)
        place = finalists.index(candidate.number) + 1 if candidate.number in finalists else None
        rows.append(CandidateRow(standing, log.search.in_words(candidate.values), best, epochs, place))
    return rows


def candidate_columns(log: SearchLog) -> list[Column]:
    """The columns of `search.csv`: those of every search, then one for each axis of this one."""

    def of(name: str, read, title: str = "", words=str) -> Column:
        return Column(name, read, title=title, words=words)

    def of_an_axis(name: str) -> Column:
        return of(name, lambda row: row.values.get(name), name, lambda row: _in_words(row.values.get(name)))

    select_by = log.select_by
    return [
        of("candidate", lambda row: row.standing.candidate.number, "candidate", _number),
        of("round", lambda row: row.standing.candidate.round),
        of("status", _status, "status", _status),
        of("epochs", lambda row: row.standing.epochs, "epochs", lambda row: str(row.standing.epochs)),
        of(select_by, lambda row: row.standing.figure, f"{select_by}, the search's seed", _figure),
        of("best_so_far", lambda row: row.best_so_far),
        of("epochs_so_far", lambda row: row.epochs_so_far),
        of("finalist", lambda row: row.finalist, "finalist", lambda row: str(row.finalist or "")),
        of("params", lambda row: row.standing.candidate.size.params, "params", _params),
        of("flops", lambda row: row.standing.candidate.size.flops),
        of("layers", lambda row: row.standing.candidate.architecture.in_short, "layers", _layers),
        *map(of_an_axis, log.search.in_words(log.search.tidy(_lowest(log)))),
        of("fingerprint", lambda row: row.standing.candidate.trial.fingerprint),
    ]


def best_candidates(log: SearchLog, rows: Sequence[CandidateRow]) -> list[CandidateRow]:
    """The rows of the best, for people; no trial twice."""
    found = [row for row in rows if row.standing.figure is not None and row.standing.candidate.same_as is None]
    return sorted(found, key=lambda row: log.sort_key(row.standing))[:_SHOWN]


def of_the_search(state: SweepState) -> list[str]:
    """The search so far, a sentence or two; none without one."""
    log = state.search
    if log is None:
        return []
    progress, search = log.progress(state.records), log.search
    asked = search.rounds * ROUND
    new = [standing for standing in progress.standings if standing.candidate.same_as is None]
    failed = sum(standing.status == "failed" for standing in new)
    whole = sum(standing.status == "whole" and standing.figure is not None for standing in new)
    sentences = [
        f"Search: {len(progress.standings):,} of {counted(asked, 'candidate')}, {whole:,} of them trained whole"
        f"{f', {failed:,} failed' if failed else ''}; {progress.epochs:,} epochs, where all of them whole take "
        f"{search.epochs * asked:,}."
    ]
    sentences += _versions(log)
    if progress.halted:
        names = ", ".join(candidate.architecture.name for candidate in progress.halted[:3])
        sentences.append(f"The search halts: the machine failed (memory, disk, a killed worker) in {names}; run again.")
    if progress.is_over:
        names = ", ".join(one.architecture.name for one in log.finalists(progress))
        sentences.append(f"Its finalists, trained again with the seeds of the sweep: {names or 'none'}.")
    return sentences


def _versions(log: SearchLog) -> list[str]:
    """Who proposed which, where that was more than one version of Optuna: another may propose others."""
    parts, first = [], 0
    for version, rounds in itertools.groupby(log.versions[: log.search.rounds]):
        last = first + ROUND * len([*rounds]) - 1
        parts.append(
            f"{first:,} to {last:,}{' were proposed' if not parts else ''} by {'' if parts else 'Optuna '}{version}"
        )
        first = last + 1
    return [f"Candidates {', '.join(parts)}."] if len(parts) > 1 else []


def is_halted(state: SweepState) -> bool:
    """Whether the search waits for a run in which the machine does not fail."""
    return state.search is not None and bool(state.search.progress(state.records).halted)


def most_epochs(log: SearchLog) -> int:
    """What the rest of a search may take at most: every candidate new, none over before its rung."""
    entered, before, epochs = ROUND, 0, 0
    for rung in log.search.rungs:
        epochs += entered * (rung - before)
        entered, before = max(1, round(log.search.keep * entered)), rung
    return epochs * log.search.rounds


def _lowest(log: SearchLog) -> dict[str, float]:
    return {name: getattr(axis, "low", 0) for name, axis in log.search.axes.items()}


def _status(row: CandidateRow) -> str:
    same_as = row.standing.candidate.same_as
    return row.standing.status if same_as is None else f"same as {same_as}"


def _number(row: CandidateRow) -> str:
    return str(row.standing.candidate.number)


def _figure(row: CandidateRow) -> str:
    return "" if row.standing.figure is None else f"{row.standing.figure:.4f}"


def _params(row: CandidateRow) -> str:
    return f"{row.standing.candidate.size.params:,}"


def _layers(row: CandidateRow) -> str:
    return row.standing.candidate.architecture.in_short


def _in_words(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

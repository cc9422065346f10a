"""What a sweep found, in sentences that a second-year student understands: screen, report and `results.md` say them.

The figures behind them are the table's; what they promise is explained in `docs/statistics.md`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.ranking import SweepState, rank
from fmnist_mlp.words import counted, listed

_GOOD_ENOUGH = ("best", "equivalent", "not worse than the margin")
_MOST_RATIO = 3.0  # of spreads: beyond it the shared spread says little of either
_LEAST_SEEDS = 5  # of an estimated spread, for such a ratio to mean anything


def found(state: SweepState, rows: Sequence[TableRow]) -> list[str]:
    """The head of everything: what is best, what is cheapest, how far the looks have come; none before a verdict."""
    best = next((row for row in rows if row.verdict == "best"), None)
    if best is None:
        return []
    compared = Counter(row.verdict for row in rows if row.behind_best.mean is not None and row is not best)
    return [*_of_the_best(state, best, compared), *_of_the_cheapest(state, best, rows), *of_the_looks(state)]


def _of_the_best(state: SweepState, best: TableRow, compared: Counter) -> list[str]:
    margin = "" if state.sweep.margin is None else f"{state.sweep.margin:g}"
    words = {
        "worse": "shown to be worse",
        "not worse than the margin": f"worse, but by less than {margin}",
        "equivalent": f"as good, but for less than {margin}",
        "undecided": "undecided",
        "too few seeds": "judged by too few seeds",
    }
    others = compared.total()
    if not others:
        return []
    parts = [f"{number:,} {_is_or_are(number)} {words[verdict]}" for verdict in words if (number := compared[verdict])]
    said = f"of {others:,} others, {', '.join(parts)}"
    if len(parts) == 1:
        (verdict,) = (verdict for verdict in words if compared[verdict])
        who = {1: "the other", 2: "both others"}.get(others, f"all {others:,} others")
        said = f"{who} {_is_or_are(others)} {words[verdict]}"
    is_decided = not compared["undecided"] and not compared["too few seeds"]
    return [f"The {'best' if is_decided else 'first'} by {state.select_by} is {best.architecture}; {said}."]


def _of_the_cheapest(state: SweepState, best: TableRow, rows: Sequence[TableRow]) -> list[str]:
    margin, names = state.sweep.margin, cheapest(rows)
    if margin is None or not names:
        return []
    by_name = {row.architecture: row for row in rows}
    costs = {"params": "parameters", "flops": "FLOPs"}
    if {*names.values()} == {best.architecture}:
        return [f"No cheaper one is shown to be less than {margin:g} behind it."]
    parts = [
        f"{names[cost]} by {word} ({by_name[names[cost]][cost]:,})" for cost, word in costs.items() if cost in names
    ]
    if len({*names.values()}) == 1:
        figures = " and ".join(f"{by_name[name][cost]:,} {costs[cost]}" for cost, name in names.items())
        parts = [f"{next(iter(names.values()))}, with {figures}"]
    return [f"The cheapest that is less than {margin:g} behind: {'; '.join(parts)}."]


def cheapest(rows: Sequence[TableRow]) -> dict[str, str]:
    """Of the best and all that are shown to be less than the margin behind it, the name of the cheapest, by cost."""
    names = {}
    for cost in ("params", "flops"):
        good = [row for row in rows if row.verdict in _GOOD_ENOUGH and row[cost] is not None]
        if good:
            names[cost] = min(good, key=lambda row, cost=cost: row[cost]).architecture
    return names


def of_the_looks(state: SweepState) -> list[str]:
    """`Look 2 of 4 (10 seeds): 3 architectures are still open; at most 90 trainings more.`"""
    ranking = rank(state)
    looks = ranking.design.looks
    if len(looks) < 2 or not ranking.progress.look:
        return []
    progress = ranking.progress
    seeds, still_open = looks[progress.look - 1], len(progress.still_open)
    where = f"Look {progress.look} of {len(looks)} ({seeds} seeds)"
    if not still_open:
        return [f"{where}: every architecture has its verdict."]
    are_open = f"{where}: {counted(still_open, 'architecture')} {_is_or_are(still_open)} still open"
    if progress.look == len(looks):
        return [f"{are_open}; it was the last."]
    return [f"{are_open}; at most {counted(trainings_left(state), 'training')} more."]


def trainings_left(state: SweepState) -> int:
    """How many trials may follow those that are asked for by now."""
    return sum(left_by_architecture(state).values())


def left_by_architecture(state: SweepState) -> Mapping[str, int]:
    """The same by name: of all that are not found worse, since a new best may open what was equivalent to the old."""
    ranking = rank(state)
    progress, looks = ranking.progress, ranking.design.looks
    if progress.look == len(looks) or not progress.still_open:
        return {}
    by_now = looks[progress.look - 1] if progress.look else 0
    return {
        name: (looks[-1] - min(asked, by_now)) * (state.sweep.folds or 1)
        for name, asked in progress.asked.items()
        if name not in progress.without_figures
        and (name not in progress.comparisons or progress.comparisons[name].verdict != "worse")
    }


# ---- what is promised ---------------------------------------------------------------------------------------------


def promised(state: SweepState, rows: Sequence[TableRow]) -> list[str]:
    """What verdicts mean, and what of the promise is left where somebody looked before in another way."""
    compared = [row for row in rows if row.behind_best.mean is not None]
    if len(compared) < 2 or not {row.verdict for row in compared} - {"best", "too few seeds"}:
        return []
    design = rank(state).design
    looks = f" and all {len(design.looks)} looks" if len(design.looks) > 1 else ""
    said = [
        "Verdicts are read from the interval of how far behind the best a row is. In 95 of 100 sweeps all of these "
        f"intervals hold, for all architectures{looks} together."
    ]
    gone = design.stacks - len(state.identities)
    if gone > 0:
        others = f"{counted(gone, 'other')} {'was' if gone == 1 else 'were'} compared here before"
        said.append(f"They are as wide as {design.stacks} architectures need: {others}.")
    return said + _of_other_designs(state) + _of_spreads(state, compared)


def _of_other_designs(state: SweepState) -> list[str]:
    """Whoever changes seeds, or what is selected by, and looks again has another chance to be wrong."""
    sweep = state.sweep
    *_, today = designs = state.earlier.and_now(sweep, state.compared).designs
    others = dict.fromkeys(_in_words(one, today) for one in designs if _way(one) != _way(today))
    said = []
    if others:
        total = min(100, 5 * (len(others) + 1))
        said.append(
            f"Verdicts were drawn before in another way ({listed([*others], 5)}): each way is wrong in 5 of 100 "
            f"sweeps, all of them together in up to {total}."
        )
    margins = [design.get("margin") for design in state.earlier.designs]
    margins = [m for k, m in enumerate(margins) if isinstance(m, float) and m not in margins[:k] and m != sweep.margin]
    if margins and sweep.margin is not None:
        before = listed([f"{margin:g}" for margin in margins], 5)
        said.append(
            f"The margin was {before} before: what is within a margin is promised for one that is named beforehand."
        )
    return said


def _way(design: Mapping[str, Any]) -> list[Any]:
    return [design.get(key) for key in ("seeds", "looks", "select_by")]


def _in_words(design: Mapping[str, Any], today: Mapping[str, Any]) -> str:
    """`5 seeds by val_accuracy`, `5 other seeds by val_accuracy`, `looks at 5, 10, 20, 40 seeds by val_accuracy`."""
    (seeds, looks, select_by), now = _way(design), today["seeds"]
    number, which = seeds if isinstance(seeds, list) and len(seeds) == 2 else ("?", "")
    other = " other" if number == now[0] and which != now[1] else ""
    how = f"looks at {', '.join(map(str, looks))}" if looks else f"{number}{other}"
    return f"{how} seeds by {select_by}"


def _of_spreads(state: SweepState, compared: Sequence[TableRow]) -> list[str]:
    stds = {row.architecture: getattr(row, state.select_by).std for row in compared if row.trials >= _LEAST_SEEDS}
    stds = {name: std for name, std in stds.items() if std}
    if not stds:
        return []
    widest, narrowest = max(stds, key=stds.get), min(stds, key=stds.get)
    ratio = stds[widest] / stds[narrowest]
    if ratio <= _MOST_RATIO:
        return []
    return [
        f"Spreads over seeds differ: that of {widest} is {ratio:.1f} times that of {narrowest}. Verdicts allow for it: "
        "each pair is judged by its own spread too."
    ]


def _is_or_are(count: int) -> str:
    return "is" if count == 1 else "are"

"""Do the table's verdicts keep their promise? Simulated sweeps, judged by the functions that judge the real ones.

    python benchmarks/verdicts.py alarms [--repeats 4000] [--stacks 2 4 10 20 50]
    python benchmarks/verdicts.py power [--repeats 4000]
    python benchmarks/verdicts.py coverage [--repeats 4000]
    python benchmarks/verdicts.py boundaries

Every figure is architecture + seed + error; a sweep is judged by `looks.replay`, look by look, and whoever is found
worse is dropped. `alarms` has two kinds of sweeps in each cell. All equal: the share in which anything is called worse.
One best, the others behind it by exactly the margin (1.5 of the average spread): the share in which any of them is
called equivalent, or not worse than the margin. Both are promised to be at most 5 %. Spreads are equal; one of them is
5 times the others; they grow from 1 to 4; or they are those that we measured (the nine stacks of
`sweeps/pca_dense.yaml`, in docs/results.md). There is one look at 5 seeds, or four at 5, 10, 20, 40. Errors are normal,
or t with 5 degrees of freedom (outliers).

`power` puts one of four architectures a known amount, in units of the spread, above the other three, which are equal.
It shows how often any is told from the best, how often a given one, how often all three, and how many seeds that took.

`coverage` asks whether intervals hold the truth, where stacks are equal, or half a spread apart from each other: all
intervals of how far behind the best a row is, at every look, at once; and the plain 95 % interval of a mean over seeds,
of any stack with a fixed number of seeds, then of the best and of the dropped ones after the looks.

`boundaries` simulates all usual designs anew and writes `fmnist_mlp/results/boundaries.json` (some 40 minutes).

A share of 5 % has a standard error of 0.34 points at the 4,000 repeats of the default. Needs neither images nor
TensorFlow.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from measure import ROOT, describe_machine, markdown_table, write_report

from fmnist_mlp.results import boundaries
from fmnist_mlp.results.looks import Design, Memory, Progress, replay
from fmnist_mlp.results.statistics import mean_interval
from fmnist_mlp.results.verdicts import Comparison, compare_with_best

STACKS = (2, 4, 10, 20, 50)
LOOKS = {"one": (5,), "four": boundaries.USUAL_LOOKS}
MEASURED = np.array([0.0016, 0.0012, 0.0022, 0.0009, 0.0015, 0.0013, 0.0030, 0.0013, 0.0014])
SPREADS: dict[str, Callable[[int], np.ndarray]] = {
    "equal": np.ones,
    "one wide": lambda stacks: np.array([5.0] + [1.0] * (stacks - 1)),
    "graded": lambda stacks: np.geomspace(1, 4, stacks),
    "measured": lambda stacks: np.resize(MEASURED / MEASURED.mean(), stacks),
}
ERRORS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t": lambda rng, shape: rng.standard_t(5, size=shape) / np.sqrt(5 / 3),  # 5 degrees of freedom, of variance 1 too
}
MARGIN = 1.5
DIFFERENCES = (0.5, 0.75, 1.0, 1.5)


def main() -> None:
    options = _options()
    options.measure(options)


class _Forgetful(Memory):
    """Compares every time: no sweep comes twice, and a memory of thousands would cost more than it saves.

    `found` is what every look found, since it was last emptied.
    """

    def compare(self, figures, look, **arguments):
        self.found.append(compare_with_best(figures, look, **arguments))
        return self.found[-1]

    def __init__(self):
        super().__init__()
        self.found = []


def judge(values: np.ndarray, looks: tuple[int, ...], margin: float | None, memory: "_Forgetful") -> Progress:
    """What a sweep finds that trains what is asked for, and ends when nobody is open.

    Args:
        values: `(stacks, seeds)`.
    """
    names, seeds = [str(i) for i in range(len(values))], range(looks[-1])
    memory.found.clear()
    figures = {name: dict(enumerate(row)) for name, row in zip(names, values[:, : looks[-1]].tolist(), strict=True)}
    design = Design(seeds, looks, len(names), margin)
    return replay(names, figures, dict.fromkeys(names, seeds), design, higher_is_better=True, memory=memory)


# ---- alarms -------------------------------------------------------------------------------------------------------


def _alarms(options: argparse.Namespace) -> None:
    rows = []
    for errors, name, spreads, stacks in itertools.product(ERRORS, LOOKS, SPREADS, options.stacks):
        if errors in options.errors and name in options.looks:
            cell = [list(those).index(one) for those, one in ((ERRORS, errors), (LOOKS, name), (SPREADS, spreads))]
            rng = np.random.default_rng([options.seed, *cell, stacks])  # of its own: cells can be drawn one by one
            spread = SPREADS[spreads](stacks)
            shares = _false_alarms(rng, ERRORS[errors], spread, LOOKS[name], options.repeats)
            rows.append([errors, name, spreads, str(stacks), *(f"{share:.2%}" for share in shares)])
            print(*rows[-1], sep="\t", file=sys.stderr, flush=True)
    header = ["errors", "looks", "spreads", "stacks", "any called worse", "any called within the margin"]
    notes = [
        f"{options.repeats:,} sweeps a cell, twice. Called worse: all are equal. Called within the margin: the first "
        f"is ahead of all others by exactly the margin, {MARGIN} average spreads."
    ]
    write_report("False verdicts", describe_machine(), markdown_table(header, rows), notes, options.output)


def _false_alarms(rng, draw, spread: np.ndarray, looks: tuple[int, ...], repeats: int) -> tuple[float, float]:
    memory, shape, margin = _Forgetful(), (len(spread), looks[-1]), MARGIN * float(spread.mean())
    behind = np.full((len(spread), 1), margin)
    behind[0] = 0.0
    worse = within = 0
    for _ in range(repeats):
        values = spread[:, None] * draw(rng, shape) + rng.normal(size=looks[-1])
        worse += any(c.verdict == "worse" for c in judge(values, looks, None, memory).comparisons.values())
        values = spread[:, None] * draw(rng, shape) + rng.normal(size=looks[-1]) - behind
        found = judge(values, looks, margin, memory).comparisons
        within += any(
            comparison.verdict in ("equivalent", "not worse than the margin")
            for name, comparison in found.items()
            if name != "0"
        )
    return worse / repeats, within / repeats


# ---- power --------------------------------------------------------------------------------------------------------


def _power(options: argparse.Namespace) -> None:
    rng, rows, looks = np.random.default_rng(options.seed), [], boundaries.USUAL_LOOKS
    for difference in DIFFERENCES:
        told, seeds, until_told, memory = [], [], [], _Forgetful()
        for _ in range(options.repeats):
            values = rng.normal(size=(4, looks[-1])) + rng.normal(size=looks[-1])
            values[1:] -= difference
            progress = judge(values, looks, None, memory)
            is_right = progress.comparisons["0"].verdict == "best"
            told.append([is_right and progress.comparisons[name].verdict == "worse" for name in "123"])
            seeds.append(np.mean([*progress.asked.values()]))
            dropped = [progress.asked[name] for name in "123" if progress.comparisons[name].verdict == "worse"]
            until_told.append(min(dropped, default=looks[-1]))
        told = np.array(told)
        shares = [told.any(axis=1).mean(), told[:, 0].mean(), told.all(axis=1).mean()]
        numbers = [f"{np.mean(until_told):.0f}", f"{np.mean(seeds):.0f}"]
        rows.append([f"{difference:g}", *(f"{share:.1%}" for share in shares), *numbers])
        print(*rows[-1], sep="\t", file=sys.stderr, flush=True)
    header = [
        "ahead by, spreads",
        "any told",
        "a given one told",
        "all three told",
        "seeds until the first",
        "seeds a stack",
    ]
    notes = [f"{options.repeats:,} sweeps a row; four looks at 5, 10, 20, 40 seeds; told: best and worse are right."]
    write_report("Power", describe_machine(), markdown_table(header, rows, left=0), notes, options.output)


# ---- coverage -----------------------------------------------------------------------------------------------------


def _coverage(options: argparse.Namespace) -> None:
    rng, rows = np.random.default_rng(options.seed), []
    for stacks in (4, 10):
        for apart in (0.0, 0.5):
            means = -apart * np.arange(stacks)
            for name, looks in LOOKS.items():
                shares = _share_that_holds(rng, means, looks, options.repeats)
                rows.append(
                    [str(stacks), f"{apart:g}", name, *("" if np.isnan(share) else f"{share:.1%}" for share in shares)]
                )
                print(*rows[-1], sep="\t", file=sys.stderr, flush=True)
    plain = ["any stack, fixed seeds", "the best, after the looks", "the dropped"]
    header = ["stacks", "spreads apart", "looks", "all of how far behind", *plain]
    notes = [f"{options.repeats:,} sweeps a row; the last three are of plain 95 % intervals of a mean. Normal errors."]
    write_report("Coverage", describe_machine(), markdown_table(header, rows, left=0), notes, options.output)


def _share_that_holds(rng, means: np.ndarray, looks: tuple[int, ...], repeats: int) -> list[float]:
    memory, all_hold, plain = _Forgetful(), [], {"fixed": [], "best": [], "dropped": []}
    for _ in range(repeats):
        values = means[:, None] + rng.normal(size=(len(means), looks[-1])) + rng.normal(size=looks[-1])
        progress = judge(values, looks, None, memory)
        all_hold.append(all(_all_hold(of_look, means) for of_look in memory.found))
        found, best = progress.comparisons, _best_of(progress.comparisons)
        plain["fixed"].append(_holds(values[0], means[0]))
        plain["best"].append(_holds(values[best, : progress.asked[str(best)]], means[best]))
        dropped = [name for name, c in found.items() if c.verdict == "worse" and progress.asked[name] < looks[-1]]
        plain["dropped"] += [_holds(values[int(name), : progress.asked[name]], means[int(name)]) for name in dropped]
    return [float(np.mean(holds)) if holds else float("nan") for holds in (all_hold, *plain.values())]


def _all_hold(found: Mapping[str, Comparison], means: np.ndarray) -> bool:
    """Whether the intervals that one look finds hold how far each is truly behind the one that it calls best."""
    best = _best_of(found)
    ends = ((c.low, means[best] - means[int(name)], c.high) for name, c in found.items() if c.low is not None)
    return all(low <= behind <= high for low, behind, high in ends)


def _best_of(found: Mapping[str, Comparison]) -> int:
    return next(int(name) for name, comparison in found.items() if comparison.verdict == "best")


def _holds(values: np.ndarray, mean: float) -> bool:
    interval = mean_interval(values.tolist())
    return interval.low <= mean <= interval.high


# ---- boundaries ---------------------------------------------------------------------------------------------------


def _boundaries(options: argparse.Namespace) -> None:
    simulated = {}
    for stacks in boundaries.STACKS:
        for looks in (boundaries.USUAL_LOOKS, *((number,) for number in boundaries.SINGLE_LOOKS)):
            if stacks > 2 or len(looks) > 1:
                key = boundaries.design_key(stacks, looks)
                simulated[key] = boundaries.simulate(stacks, looks)
                print(key, simulated[key], file=sys.stderr, flush=True)
    path = options.output or ROOT / "fmnist_mlp" / "results" / "boundaries.json"
    path.write_text(boundaries_text(simulated), encoding="utf-8")


def boundaries_text(simulated: Mapping[str, list]) -> str:
    """A line a design."""
    lines = (f" {json.dumps(key)}: {json.dumps(levels)}" for key, levels in simulated.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="alarms|power|coverage|boundaries")
    verbs.add_parser("alarms", help="how often verdicts are wrong").set_defaults(measure=_alarms)
    verbs.add_parser("power", help="how often a known difference is told").set_defaults(measure=_power)
    verbs.add_parser("coverage", help="how often intervals hold").set_defaults(measure=_coverage)
    verbs.add_parser("boundaries", help="simulate the usual designs anew").set_defaults(measure=_boundaries)
    for name, verb in verbs.choices.items():
        verb.add_argument("--output", type=Path, metavar="FILE", help="write the report here too (Markdown)")
        if name != "boundaries":
            verb.add_argument("--repeats", type=int, default=4000, metavar="N", help="sweeps; default: %(default)s")
            verb.add_argument(
                "--seed", type=int, default=0, metavar="N", help="of the simulation; default: %(default)s"
            )
    alarms = verbs.choices["alarms"]
    alarms.add_argument("--stacks", type=int, nargs="+", default=STACKS, metavar="N", help="default: 2 4 10 20 50")
    alarms.add_argument("--errors", nargs="+", default=[*ERRORS], choices=ERRORS, help="default: all")
    alarms.add_argument("--looks", nargs="+", default=[*LOOKS], choices=LOOKS, help="default: all")
    return parser.parse_args()


if __name__ == "__main__":
    main()

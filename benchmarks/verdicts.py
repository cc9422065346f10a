"""Do the table's verdicts keep their promise? Simulated sweeps, judged by the functions that judge the real ones.

    python benchmarks/verdicts.py alarms [--repeats 4000]
    python benchmarks/verdicts.py power [--repeats 4000]

`alarms` makes sweeps of architectures that are all equal: value = block + error, with 3, 5 and 10 seeds. It shows the
share of sweeps in which any row is called "worse", which `compare_with_best` promises to be 5 %, beside what
t-tests in pairs of the best seen against each other row would do, with Holm's correction for their number, and without.
Those forget that the best was picked after looking. Errors are normal, then t with 5 degrees of freedom (outliers),
then normal again with seeds that differ twenty times as much as architectures do within one.

`power` puts one architecture a known amount, in units of the standard deviation within a seed, above another. It shows
the number of seeds that `seeds_for_power` asks for, and the share of sweeps of so many seeds in which the first
is "best" and the second "worse": promised are 80 %, or more where a whole seed is a large step.

Each share has a standard error of 0.3 points (alarms) and 0.6 points (power) at the 4,000 repeats of the default.
About four minutes and one on one core; needs neither images nor TensorFlow.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measure import describe_machine, markdown_table, write_report
from scipy.special import stdtr

from fmnist_mlp.results.statistics import compare_with_best, seeds_for_power

ARCHITECTURES = (2, 3, 4, 5, 10, 20, 50)
SEEDS = (3, 5, 10)
ALPHA = 0.05
POWER = 0.8

Draw = Callable[[np.random.Generator, int, int], np.ndarray]  # architectures, seeds -> values (architectures, seeds)


def main() -> None:
    options = _options()
    rng = np.random.default_rng(options.seed)
    title, table, notes = options.measure(rng, options.repeats)
    write_report(title, describe_machine(), table, notes, options.output)


# ---- alarms -------------------------------------------------------------------------------------------------------


def _normal(rng: np.random.Generator, architectures: int, seeds: int) -> np.ndarray:
    return rng.normal(size=seeds) + rng.normal(size=(architectures, seeds))


def _with_outliers(rng: np.random.Generator, architectures: int, seeds: int) -> np.ndarray:
    return rng.normal(size=seeds) + rng.standard_t(5, size=(architectures, seeds))


def _with_far_blocks(rng: np.random.Generator, architectures: int, seeds: int) -> np.ndarray:
    return 20 * rng.normal(size=seeds) + rng.normal(size=(architectures, seeds))


ERRORS: dict[str, Draw] = {"normal": _normal, "t, 5 df": _with_outliers, "seeds far apart": _with_far_blocks}


def _alarms(rng: np.random.Generator, repeats: int) -> tuple[str, str, list[str]]:
    rows = []
    for name, draw in ERRORS.items():
        for architectures in ARCHITECTURES:
            for seeds in SEEDS:
                alarms = np.zeros(3)
                for _ in range(repeats):
                    values = draw(rng, architectures, seeds)
                    alarms += [_any_is_worse(values), *_any_t_test_rejects(values)]
                rows.append([name, str(architectures), str(seeds), *(f"{share:.1%}" for share in alarms / repeats)])
            print(f"{name}, {architectures} architectures", file=sys.stderr, flush=True)
    header = ["errors", "architectures", "seeds", "any row worse", "t-tests, Holm", "t-tests"]
    return "False alarms among equal architectures", markdown_table(header, rows), [f"{repeats:,} sweeps a row."]


def _any_is_worse(values: np.ndarray) -> bool:
    comparisons = compare_with_best(_by_name(values), alpha=ALPHA)
    return any(comparison.verdict == "worse" for comparison in comparisons.values())


def _any_t_test_rejects(values: np.ndarray) -> tuple[bool, bool]:
    """Best against each other, two-sided, in pairs by seed: with Holm's correction for their number, and without."""
    best = values.mean(axis=1).argmax()
    differences = values[best] - np.delete(values, best, axis=0)  # (architectures - 1, seeds)
    seeds = differences.shape[1]
    t = differences.mean(axis=1) / (differences.std(axis=1, ddof=1) / np.sqrt(seeds))
    lowest = 2 * stdtr(seeds - 1, -t.max())
    # Holm's procedure rejects something exactly if its first step, Bonferroni's, does.
    return lowest <= ALPHA / len(differences), lowest <= ALPHA


def _by_name(values: np.ndarray) -> dict[str, dict[int, float]]:
    return {str(i): dict(enumerate(row)) for i, row in enumerate(values.tolist())}


# ---- power --------------------------------------------------------------------------------------------------------


def _power(rng: np.random.Generator, repeats: int) -> tuple[str, str, list[str]]:
    rows = []
    for architectures in ARCHITECTURES:
        for difference in (3.0, 1.5, 1.0):
            seeds = seeds_for_power(difference, 1.0, architectures, power=POWER, alpha=ALPHA)
            found = sum(_is_found(rng, difference, architectures, seeds) for _ in range(repeats))
            rows.append([str(architectures), f"{difference:g}", str(seeds), f"{found / repeats:.1%}"])
        print(f"{architectures} architectures", file=sys.stderr, flush=True)
    header = ["architectures", "difference, std", "seeds asked for", "found"]
    return "Power", markdown_table(header, rows, left=0), [f"{repeats:,} sweeps a row."]


def _is_found(rng: np.random.Generator, difference: float, architectures: int, seeds: int) -> bool:
    """Whether the first architecture is called best and the second, truly behind by `difference`, worse."""
    values = _normal(rng, architectures, seeds)
    values[1] -= difference
    # The rest count for the critical value and the spread, which their means do not enter: kept out of the way.
    values[2:] -= 10 * difference
    comparisons = compare_with_best(_by_name(values), alpha=ALPHA)
    return comparisons["0"].verdict == "best" and comparisons["1"].verdict == "worse"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="alarms|power")
    verbs.add_parser("alarms", help="false alarms among equal architectures").set_defaults(measure=_alarms)
    verbs.add_parser("power", help="how often a known difference is found").set_defaults(measure=_power)
    for verb in verbs.choices.values():
        verb.add_argument("--repeats", type=int, default=4000, metavar="N", help="sweeps a row; default: %(default)s")
        verb.add_argument("--seed", type=int, default=0, metavar="N", help="of the simulation; default: %(default)s")
        verb.add_argument("--output", type=Path, metavar="FILE", help="write the report here too (Markdown)")
    return parser.parse_args()


if __name__ == "__main__":
    main()

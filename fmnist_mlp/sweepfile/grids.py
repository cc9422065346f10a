"""Stacks of Dense layers that a grid expands to, counted before any is made."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

MAX_GRID_STACKS = 10_000


@dataclass(frozen=True)
class DenseStacks:
    """The units of the Dense layers of a grid; its three arguments are lists, as `Grid` explains their values."""

    depths: list[int]
    shapes: list[str]
    units: list[int]

    def expand(self) -> Iterator[tuple[int, ...]]:
        """By depth, then shape, then units."""
        for depth in self.depths:
            for shape in self.shapes:
                if shape == "all":
                    yield from itertools.product(self.units, repeat=depth)
                    continue
                for first in self.units:
                    if shape == "constant":
                        yield (first,) * depth
                    elif _funnel_reaches(depth, first):
                        yield tuple(first >> halvings for halvings in range(depth))

    def count(self) -> dict[str, int]:
        """How many there are of each shape, without expanding them."""
        counts = dict.fromkeys(self.shapes, 0)
        shapes, depths = Counter(self.shapes), Counter(self.depths)  # as a file may repeat them thousands of times
        for (shape, times), (depth, times_depth) in itertools.product(shapes.items(), depths.items()):
            if shape == "all":
                found = len(self.units) ** depth
            elif shape == "constant":
                found = len(self.units)
            else:
                found = sum(_funnel_reaches(depth, first) for first in self.units)
            counts[shape] += found * times * times_depth
        return counts


def _funnel_reaches(depth: int, first_units: int) -> bool:
    """Whether halving leaves at least one unit for the last layer."""
    return first_units >> (depth - 1) >= 1


def size_problem(dense: DenseStacks, training_axes: dict[str, int], others: int) -> str | None:
    """Why a grid expands to no stack, or with the `others` above it to too many; None where it does not.

    Args:
        training_axes: how many values there are of each key of training.
    """
    counts = dense.count()
    factors = {key: values for key, values in training_axes.items() if values > 1}
    total = sum(counts.values()) * math.prod(factors.values())
    if total == 0:
        most = max(dense.units)
        return (
            f"grid has no stack: a funnel halves its units from layer to layer, and {most:,} of them are enough "
            f"for {most.bit_length()} layers; use a smaller depth or more units"
        )
    if others + total <= MAX_GRID_STACKS:
        return None
    made_of = " + ".join(f"{_count_in_words(n)} {shape}" for shape, n in counts.items())
    made_of = f"({made_of})" if factors and len(counts) > 1 else made_of
    made_of = " x ".join([made_of, *(f"{n:,} {key}" for key, n in factors.items())])
    beside = f" ({others:,} come from the grids above)" if others else ""
    return (
        f"grid expands to {_count_in_words(total)} stacks: {made_of}; at most {MAX_GRID_STACKS:,} are "
        f"allowed{beside}, list fewer values"
    )


def _count_in_words(n: int) -> str:
    return f"{n:,}" if n < 10**12 else f"about 10^{len(str(n)) - 1}"

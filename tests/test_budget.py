"""A limit of parameters in a sweep file, against counts made by hand: who is over it, and what it decides."""

import pytest
from sweep_files import complain, load

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.sweep import over_budget
from fmnist_mlp.sweepfile.trials import list_trials

__all__ = ["complain", "load"]  # fixtures, used by name


def test_an_architectures_own_limit_stands_over_the_sweeps_and_null_lifts_it(load):
    sweep = load(
        "max_params: 60000\narchitectures:\n- [64, 32]\n- [64, 128, 64, 32]\n- {layers: [128, 64], max_params: null}\n"
        "- {name: at, layers: [4], max_params: 3190}\n- {name: above, layers: [4, 4], max_params: 3189}\n"
        "grid:\n- {depth: 1, units: [75, 76]}\n- {depth: 1, units: 100, max_params: 1000000}\n"
    )
    assert [item.max_params for item in sweep.architectures] == [
        60_000,
        60_000,
        None,
        3190,
        3189,
        60_000,
        60_000,
        10**6,
    ]
    sizes = check_shapes(sweep, (28, 28), 10)
    # By hand, with the output layer: 52,650 and 69,226 (as published), 784*4+4 + 4*10+10, that + 4*4+4, 795*units + 10.
    assert [size.params for size in sizes.values()] == [52_650, 69_226, 109_386, 3_190, 3_210, 59_635, 60_430, 79_510]
    over = over_budget(sweep, sizes)
    assert over == {"64-128-64-32", "above", "76"}
    left = list_trials(sweep, data_identity="d", skip=over)
    assert left == [trial for trial in list_trials(sweep, data_identity="d") if trial.architecture.name not in over]
    assert len(left) == 5 * 5


def test_no_memory_is_needed_for_what_is_over_its_budget(load):
    text = "architectures:\n- {name: huge, layers: [1000000, 1000000], max_params: 60000}\n"
    sizes = check_shapes(load(text), (28, 28), 10, memory_limit_bytes=2**20)
    assert sizes["huge"].params == 1_000_796_000_010
    with pytest.raises(SweepError, match="parameters need about"):
        check_shapes(load(text.replace("60000", "null")), (28, 28), 10, memory_limit_bytes=2**20)


def test_two_architectures_that_differ_in_their_limit_only_are_the_same_trials(complain):
    lines = complain("architectures:\n- [8]\n- {name: b, layers: [8], max_params: 60000}\n")
    assert "would be the same trials as '8' in line 2" in lines[0]

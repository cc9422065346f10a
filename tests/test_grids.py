# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""`grid:` in a sweep file: every stack of it against loops by hand, and what a wrong one is told."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import anything, values
from sweep_files import complain, fingerprints, load

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.names import MAX_NAME_LENGTH, name_problem
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.sweep import Overrides

__all__ = ["complain", "load"]  # fixtures, used by name


# ---- what a grid expands to


def expanded(load, grid, before=""):
    return load(f"{before}grid: {grid}\n").architectures


@pytest.mark.parametrize(
    ("phrase", "grid", "names"),
    [
        ("one value each", "{depth: 2, units: 32}", ["32-32"]),
        ("depth by depth", "{depth: [2, 1], units: [8, 4]}", ["8-8", "4-4", "8", "4"]),
        ("funnel", "{depth: [1, 3], units: [64, 9], shape: funnel}", ["64", "9", "64-32-16", "9-4-2"]),
        ("a funnel that would come to 0", "{depth: [2, 3], units: [4, 3], shape: funnel}", ["4-2", "3-1", "4-2-1"]),
        ("all", "{depth: [1, 2], units: [8, 4], shape: all}", ["8", "4", "8-8", "8-4", "4-8", "4-4"]),
        ("shapes inside depth", "{depth: [1, 2], units: [8, 4], shape: [constant, funnel]}", ["8", "4", "8-8", "4-4", "8-4", "4-2"]),
        ("layers after each Dense", "{depth: 2, units: 8, after_each: [BatchNormalization, {Dropout: 0.2}]}", ["8-bn-drop0.2-8-bn-drop0.2"]),
        ("one layer after each Dense", "{depth: 2, units: 8, after_each: {Dropout: 0.2}}", ["8-drop0.2-8-drop0.2"]),
        ("nothing after each Dense", "[{depth: 1, units: 8, after_each: []}, {depth: 1, units: 4, after_each: }]", ["8", "4"]),
        ("training keys, in the order of Training", "{learning_rate: [0.1, 0.2], optimizer: [sgd, lion], units: [8, 4], depth: 1}",
         [f"{units}-{optimizer}-learning_rate{rate}" for units in (8, 4) for optimizer in ("sgd", "lion") for rate in (0.1, 0.2)]),
        ("activation", "{depth: 1, units: 8, activation: [tanh, swish]}", ["8-tanh", "8-silu"]),
        ("early stopping", "{depth: 1, units: 8, early_stopping: [null, {patience: 3}]}", ["8-early_stopping_none", "8-early_stopping3"]),
        ("several grids", "[{depth: 1, units: 8}, {depth: 2, units: 4}]", ["8", "4-4"]),
        ("an alias", "[{depth: &d [1, 2], units: 8}, {depth: *d, units: 4}]", ["8", "8-8", "4", "4-4"]),
        ("a merge key", "[&g {depth: 1, units: 8}, {<<: *g, units: 4}]", ["8", "4"]),
    ],
)  # fmt: skip
def test_a_grid_is_every_combination_in_a_readable_order(load, phrase, grid, names):
    assert [item.name for item in expanded(load, grid)] == names, phrase


def test_in_a_grid_a_list_of_steps_stands_in_a_list_of_values(load):
    names = [item.name for item in expanded(load, "{depth: 1, units: 8, preprocess: [null, standardize, [standardize, {pca: 9}]], augment: [null, {shift: 1}]}")]  # fmt: skip
    assert names == [
        f"8-{steps}-augment{augment}"
        for steps in ("preprocess_none", "standardize", "standardize-pca9")
        for augment in ("_none", ".shift1")
    ]


def test_a_grid_sets_what_a_listed_architecture_sets(load):
    first, second = expanded(
        load,
        "\n  depth: 1\n  units: 8\n  after_each:\n  - {Activation: gelu}\n  activation: tanh\n  epochs: [3, 4]\n  max_params: 7",
        before="training: {batch_size: 8}\n",
    )
    assert [layer.activation for layer in first.layers] == ["tanh", "gelu"]
    assert (first.training.epochs, second.training.epochs, first.training.batch_size) == (3, 4, 8)
    assert (first.line, first.layer_lines, first.max_params) == (2, (4, 6), 7)


@pytest.mark.parametrize("name", ["quick", "plain"])
def test_a_stack_moved_from_a_grid_to_the_list_keeps_its_name_and_its_trials(load, name):
    overrides = Overrides(epochs=1) if name == "quick" else None
    stops = ["{patience: 3}", "{patience: 3, monitor: val_accuracy, min_delta: 0.01}", "null"]
    rates, after = ["1e-3", "0.1000000000000001", "0.1"], "BatchNormalization"
    grid = f"{{depth: 2, units: [8, 64], shape: funnel, after_each: {after}, learning_rate: [{', '.join(rates)}], early_stopping: [{', '.join(stops)}], epochs: 7}}"
    listed = [
        f"- {{layers: [{units}, {after}, {units // 2}, {after}], learning_rate: {rate}, early_stopping: {stop}, epochs: 7}}\n"
        for units in (8, 64) for rate in rates for stop in stops
    ]  # fmt: skip
    from_grid = load(f"training: {{schedule: cosine}}\ngrid: {grid}\n", overrides)
    from_list = load("training: {schedule: cosine}\narchitectures:\n" + "".join(listed), overrides)
    assert fingerprints(from_grid) == fingerprints(from_list)
    assert list(fingerprints(from_grid)) == list(fingerprints(from_list))
    assert len(fingerprints(from_grid)) == from_grid.grid_stacks == 18


@pytest.mark.parametrize(
    ("phrase", "text", "names", "stacks_and_duplicates"),
    [
        ("constant and funnel are one at depth 1", "grid: {depth: [1, 2], units: [8, 4], shape: [constant, funnel]}", ["8", "4", "8-8", "4-4", "8-4", "4-2"], (8, 2)),
        ("a value listed twice", "grid: {depth: [1, 1], units: [8, 8], shape: all}", ["8"], (4, 3)),
        ("a default written out", "grid: {depth: 1, units: 8, learning_rate: [1e-3, 0.001, 2e-3]}", ["8-learning_rate0.001", "8-learning_rate0.002"], (3, 1)),
        ("two grids", "grid: [{depth: 1, units: [8, 4]}, {depth: 1, units: [4, 2]}]", ["8", "4", "2"], (4, 1)),
        ("the listed one wins", "architectures:\n- {name: mine, layers: [8]}\ngrid: {depth: 1, units: [8, 4]}", ["mine", "4"], (2, 1)),
        ("whatever its limit of parameters", "architectures:\n- [8]\ngrid: {depth: 1, units: [8, 4], max_params: 5}", ["8", "4"], (2, 1)),
        ("no grid", "architectures:\n- [8]", ["8"], (0, 0)),
    ],
)  # fmt: skip
def test_what_a_grid_gives_twice_is_dropped_and_counted(load, phrase, text, names, stacks_and_duplicates):
    sweep = load(text + "\n")
    assert [item.name for item in sweep.architectures] == names, phrase
    assert (sweep.grid_stacks, sweep.grid_duplicates) == stacks_and_duplicates, phrase


def test_a_quick_look_at_a_grid_over_epochs_drops_what_becomes_the_same(load):
    sweep = load("grid: {depth: 1, units: 8, epochs: [5, 10]}\n", Overrides(epochs=2))
    assert [(item.name, item.training.epochs) for item in sweep.architectures] == [("8-epochs5", 2)]
    assert sweep.grid_duplicates == 1


def test_different_stacks_of_grids_that_come_to_one_name_stay_apart(load):
    """The later one gets a hash; the name of one listed or expanded before never changes."""
    sweep = load(
        "architectures:\n- {name: 4-4, layers: [4]}\n"
        "grid:\n- {depth: 1, units: 8, activation: tanh}\n- {depth: 1, units: 8, after_each: {Activation: tanh}}\n"
        "- {depth: 2, units: 4}\n"
    )
    names = [item.name for item in sweep.architectures]
    assert names[:2] == ["4-4", "8-tanh"]
    assert re.fullmatch(r"8-tanh-[0-9a-f]{8}", names[2])
    assert re.fullmatch(r"4-4-[0-9a-f]{8}", names[3])
    assert len(set(fingerprints(sweep).values())) == 4


def test_long_names_of_grids_are_short_different_and_the_same_again(load, monkeypatch):
    grid = "{depth: [9, 10], units: [100, 101, 102], shape: [constant, funnel], after_each: [BatchNormalization, {Dropout: 0.25}]}"
    names = [item.name for item in expanded(load, grid)]
    assert len(set(names)) == len(names) == 6  # no funnel: one of 100 units comes to 0 after seven layers
    assert all(name_problem(name) is None for name in names)
    assert names == [item.name for item in expanded(load, grid)]
    # Shortened names that coincide, as two hashes of 32 bits can: made certain by taking the hash away.
    for module in ("sweepfile.stacks", "sweepfile.names"):
        monkeypatch.setattr(f"fmnist_mlp.{module}.shorten_name", lambda name: name[:MAX_NAME_LENGTH].rstrip("-._"))
    collided = expanded(load, "{depth: [40, 41], units: 100, after_each: Flatten}")
    assert len({item.name for item in collided}) == len(collided) == 2
    assert all(name_problem(item.name) is None for item in collided)


grids = st.fixed_dictionaries(
    {"depth": st.lists(st.integers(1, 4), min_size=1, max_size=3), "units": values},
    optional={
        "shape": st.lists(st.sampled_from(["constant", "funnel", "all"]), min_size=1, max_size=4),
        "learning_rate": st.lists(st.sampled_from([0.1, 0.001, 1.0]), min_size=1, max_size=3),
        "batch_size": st.lists(st.integers(1, 3), min_size=1, max_size=2),
    },
)


def by_hand(grid):
    """The stacks of a grid as `(units, batch_size, learning_rate)`, those that come twice as often as they come."""
    found = []
    for depth in grid["depth"]:
        for shape in grid.get("shape", ["constant"]):
            stacks_of_shape = [[]] if shape == "all" else [[units] for units in grid["units"]]
            for _ in range(depth if shape == "all" else depth - 1):
                if shape == "all":
                    stacks_of_shape = [[*stack, units] for stack in stacks_of_shape for units in grid["units"]]
                else:
                    stacks_of_shape = [
                        [*stack, stack[-1] // 2 if shape == "funnel" else stack[-1]] for stack in stacks_of_shape
                    ]
            found += [tuple(stack) for stack in stacks_of_shape if 0 not in stack]
    return [
        (stack, batch_size, rate)
        for stack in found
        for batch_size in grid.get("batch_size", [32])
        for rate in grid.get("learning_rate", [0.001])
    ]


@pytest.mark.slow
@anything
@given(grids)
def test_a_grid_is_what_loops_by_hand_make_of_it(tmp_path, grid):
    path, expected = tmp_path / "architectures.yaml", by_hand(grid)
    path.write_text(json.dumps({"grid": grid}))
    if not expected:
        with pytest.raises(SweepError, match="grid has no stack"):
            load_sweep(path)
        return
    sweep = load_sweep(path)
    found = [
        (tuple(layer.units for layer in item.layers), item.training.batch_size, item.training.learning_rate)
        for item in sweep.architectures
    ]
    assert found == list(dict.fromkeys(expected))
    assert (sweep.grid_stacks, sweep.grid_duplicates) == (len(expected), len(expected) - len(found))
    assert len({item.name.lower() for item in sweep.architectures}) == len(found)


# ---- what wrong keys and values are told

GRID = "grid:\n  depth: 2\n  units: 8\n  {}\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("unit: 3", "unknown key 'unit' in grid; did you mean 'units'?"),
        ("widths: 3", "unknown key 'widths' in grid; did you mean 'units'?"),
        ("lr: 3", "unknown key 'lr' in grid; did you mean 'learning_rate'?"),
        ("seeds: 3", "unknown key 'seeds' in grid; it stands at the top of the file"),
        ("shape: cone", "grid shape must be constant, funnel or all, got 'cone'"),
        ("shape: [constant, funel]", "grid shape must be constant, funnel or all, got 'funel'; did you mean 'funnel'?"),
        ("shape: []", "grid shape must list at least one value, got []"),
        ("learning_rate: [1e-3, 0]", "grid learning_rate must be above 0 and at most 1,000, got 0"),
        ("learning_rate: [[1e-3]]", "grid learning_rate must be a number above 0 and at most 1,000, got a list"),
        ("epochs: []", "grid epochs must list at least one value, got []"),
        ("early_stopping: [{patience: 3}, 4]", "grid early_stopping must be a mapping such as {patience: 5}, got 4"),
        ("early_stopping: [{patence: 3}]", "grid early_stopping has no key 'patence'; did you mean 'patience'?"),
        ("after_each: [{Dropout: 2}]", "dropout rate must be at least 0 and below 1, got 2 (after_each of grid)"),
        ("after_each: batchnorm", "unknown layer 'batchnorm'; did you mean 'BatchNormalization'? (after_each of grid)"),
        ("max_params: 0", "grid max_params must be at least 1, got 0"),
        ("max_params: [60000]", "grid max_params must be a whole number at least 1, got a list"),
        ("momentum: 0.9", "momentum is for optimizer: sgd only, here it is adam; set it to 0 (in grid)"),
        ("momentum: [0.7, 0.8, 0.9]", "momentum is for optimizer: sgd only, here it is adam; set it to 0 (in grid, which combines all values; write two grids)"),
        ("warmup_epochs: [30, 40, 50]", "warmup_epochs must be below epochs (20), got 30 (in grid, which combines all values; write two grids)"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_grid_gets_one_message(complain, line, message):
    shown, echo = complain(GRID.format(line))
    assert shown == f"architectures.yaml:4: {message}"
    assert echo == "    " + line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("5", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, got 5"),
        ("", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, got nothing"),
        ("{}", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, got {}"),
        ("[]", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, or a list of them, got []"),
        ("[[8]]", "grid must be a mapping such as {depth: [1, 2], units: [32, 64]}, got a list"),
        ("{units: 8}", "grid needs depth: write grid: {depth: [1, 2], units: [32, 64]}"),
        ("{shape: all}", "grid needs depth and units: write grid: {depth: [1, 2], units: [32, 64]}"),
        ("{depth: 1, unit: 8}", "unknown key 'unit' in grid; did you mean 'units'?"),
        ("{depth: 0, units: 8}", "grid depth must be from 1 to 200, got 0"),
        ("{depth: [1, x], units: 8}", "grid depth must be a whole number from 1 to 200, got 'x'"),
        ("{depth: [1, true], units: 8}", "grid depth must be a whole number from 1 to 200, got true"),
        ("{depth: 1, units: [8, 4.0]}", "grid units must be a whole number from 1 to 1,000,000, got 4.0"),
        ("{depth: 1, units: [8, null]}", "grid units must be a whole number from 1 to 1,000,000, got null"),
        ("{depth: 101, units: 8, after_each: Flatten}", "at most 200 layers are allowed, got 202 (grid depth 101 with 1 after each Dense)"),
        ("{depth: [4, 9], units: [7, 5], shape: funnel}", "grid has no stack: a funnel halves its units from layer to layer, and 7 of them are enough for 3 layers; use a smaller depth or more units"),
        ("{depth: [1, 5, 2], units: [9, 8, 7, 6, 5, 4, 3], shape: [funnel, all], batch_size: [1, 2]}", "grid expands to 33,754 stacks: (14 funnel + 16,863 all) x 2 batch_size; at most 10,000 are allowed, list fewer values"),
        ("{depth: 200, units: [8, 4], shape: all}", "grid expands to about 10^60 stacks: about 10^60 all; at most 10,000 are allowed, list fewer values"),
        ("[{depth: 13, units: [2, 1], shape: all}, {depth: 11, units: [2, 1], shape: all}]", "grid expands to 2,048 stacks: 2,048 all; at most 10,000 are allowed (8,192 come from the grids above), list fewer values"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be_expanded_gets_one_message(complain, grid, message):
    shown, _ = complain(f"grid: {grid}\n")
    assert shown == f"architectures.yaml:1: {message}"


def test_each_value_of_a_grid_is_judged_at_its_own_line(complain):
    lines = complain("grid:\n  depth:\n  - 1\n  - 0\n  units:\n  - 8\n  - x\n  epochs:\n  - 0\n  - 1\n")
    assert [line.split(":")[1] for line in lines[::2]] == ["4", "7", "9"]


def test_a_grid_inherits_a_conflict_of_the_whole_file_once(complain):
    lines = complain("training: {momentum: 0.9}\narchitectures:\n- [8]\ngrid: {depth: [1, 2], units: [8, 4]}\n")
    assert lines[0] == "architectures.yaml:1: momentum is for optimizer: sgd only, here it is adam; set it to 0"
    assert len(lines) == 2


def test_a_grid_with_thousands_of_values_is_counted_before_it_is_expanded(complain):
    """Counted value by value, these would be 10^10."""
    depths, units = ", ".join(["200"] * 3000), ", ".join(["3"] * 3000)
    lines = complain(
        f"grid: {{depth: [{depths}],\n units: [{units}],\n shape: [funnel, {', '.join(['all'] * 3000)}]}}\n"
    )
    assert lines[0].startswith("architectures.yaml:1: grid expands to about 10^")


def test_shapes_of_a_grid_that_do_not_fit_are_named_with_the_line_of_the_layer(load):
    sweep = load("grid:\n  depth: 1\n  units: 8\n  after_each:\n  - {Conv2D: {filters: 3, kernel_size: 3}}\n")
    with pytest.raises(SweepError, match=r"architectures\.yaml:5: Conv2D needs an image"):
        check_shapes(sweep, (28, 28), 10)

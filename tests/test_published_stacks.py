"""Of the mistakes of published systems: parameters typed by hand (A), a layer lost to a duplicate key (B)."""

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
from sweeping import ROOT

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.steps import input_shape_of

# ---- A: parameters typed by hand -----------------------------------------------------------------------------------


def dense(*widths):
    """Parameters of Dense layers between these numbers of values: a kernel and a bias each."""
    return sum(inputs * units + units for inputs, units in pairwise(widths))


def convolutions(side, *filters):
    """Parameters of convolutions of side x side on one gray channel."""
    return sum(side * side * inputs * outputs + outputs for inputs, outputs in pairwise((1, *filters)))


CNN = convolutions(3, 16, 32, 64, 128) + dense(2 * 2 * 128, 256, 128, 10)  # 28, 14, 7, 4 and 2 pixels wide
UNDER_100K = convolutions(5, 12, 30) + dense(4 * 4 * 30, 150, 85, 10)  # 28 - 4, 12, 12 - 4, 4 pixels wide
# Batch normalisation has four numbers a channel, of which two are moving averages.
PUBLISHED = [
    ("architectures.yaml", "64-128-64-32", dense(784, 64, 128, 64, 32, 10), 69_226, 0),
    ("architectures.yaml", "64-128-32", dense(784, 64, 128, 32, 10), 63_018, 0),
    ("architectures.yaml", "64-32", dense(784, 64, 32, 10), 52_650, 0),
    ("architectures.yaml", "128-64", dense(784, 128, 64, 10), 109_386, 0),
    ("sweeps/fully_connected.yaml", "published-392-196-98-49", dense(784, 392, 196, 98, 49, 10), 409_405, 0),
    ("sweeps/pca_dense.yaml", "64", dense(187, 64, 10), 12_682, 0),
    ("sweeps/cnn.yaml", "published-16-32-64-128", CNN + 4 * (16 + 32 + 64), 263_114, 2 * (16 + 32 + 64)),
    ("sweeps/cnn_under_100k.yaml", "published-12-30", UNDER_100K + 4 * (12 + 30), 95_355, 2 * (12 + 30)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name", "by_hand", "params", "averages"), PUBLISHED)
def test_a_parameter_counts_are_never_typed_by_hand(file, name, by_hand, params, averages):
    """A states 260k for 69,226. The plan, Keras's own count of the built model and a formula by hand agree."""
    from fmnist_mlp.training import models, preprocess

    sweep = load_sweep(ROOT / file)
    size = check_shapes(sweep, (28, 28), 10)[_name_of(sweep, name)]
    architecture = next(item for item in sweep.architectures if item.name == _name_of(sweep, name))
    steps = architecture.training.preprocess
    assert input_shape_of(steps, (28, 28)) == ((187,) if file.endswith("pca_dense.yaml") else (28, 28))
    unfitted = preprocess.unfitted(steps, (28, 28)) if steps else None
    model = models.build_model(architecture.layers, (28, 28), 10, 0, unfitted)
    assert by_hand == params == size.params == model.count_params()
    assert size.trainable_params == params - averages == sum(math.prod(w.shape) for w in model.trainable_weights)


def _name_of(sweep, name):
    """Of the grid the first stack of so many units: its name has what it is trained with behind them."""
    return next(item.name for item in sweep.architectures if item.name == name or item.name.startswith(f"{name}-"))


def test_a_parameter_counts_in_the_readme_are_those_of_the_plan():
    sweep = load_sweep(ROOT / "architectures.yaml")
    sizes = check_shapes(sweep, (28, 28), 10)
    rows = re.findall(r"^\| ([\d-]+) \| ([\d,]+) \|", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    assert {name: int(count.replace(",", "")) for name, count in rows} == {n: size.params for n, size in sizes.items()}


def test_a_parameter_count_cannot_be_written_into_a_sweep_file(tmp_path):
    path = tmp_path / "typed.yaml"
    path.write_text("architectures:\n  - name: first\n    layers: [64, 128, 64, 32]\n    params: 260000\n")
    with pytest.raises(SweepError, match=r"typed.yaml:4: .*'params'"):
        load_sweep(path)


# ---- B: a layer lost to a duplicate key ----------------------------------------------------------------------------

TWICE = [
    ("layers: [392, {Dropout: 0.25,\n             Dropout: 0.3}]", 4, "'Dropout' is given in line 3 and in line 4"),
    ("layers: [392]\n    layers: [196]", 4, "'layers' is given in line 3 and in line 4"),
    (
        "layers:\n      - Dropout:\n          rate: 0.1\n          rate: 0.2",
        6,
        "'rate' is given in line 5 and in line 6",
    ),
]


@pytest.mark.parametrize(("stack", "line", "message"), TWICE, ids=["two dropouts", "two lists of layers", "two rates"])
def test_b_a_key_given_twice_is_an_error_that_names_both_lines(tmp_path, monkeypatch, stack, line, message):
    """B names its layers by keys, two dropouts by the same: the second took the place of the first in silence."""
    monkeypatch.chdir(tmp_path)
    Path("b.yaml").write_text(f"architectures:\n  - name: theirs\n    {stack}\n")
    with pytest.raises(SweepError) as raised:
        load_sweep("b.yaml")
    assert f"b.yaml:{line}: the key {message}; keep one" in str(raised.value)


def test_b_every_layer_that_is_listed_is_built(tmp_path):
    """Four equal dropouts, of which B's own network has three; and equal layers side by side."""
    from fmnist_mlp.training import models

    listed = (
        "[392, {Dropout: 0.25}, 196, {Dropout: 0.25}, 98, {Dropout: 0.25}, 98, 98, {Dropout: 0.25}, {Dropout: 0.25}]"
    )
    (tmp_path / "b.yaml").write_text(f"architectures:\n  - {listed}\n")
    (ours,) = load_sweep(tmp_path / "b.yaml").architectures
    built = models.build_model(ours.layers, (28, 28), 10, seed=0).layers
    expected = [392, 0.25, 196, 0.25, 98, 0.25, 98, 98, 0.25, 0.25, 10]
    assert [type(layer).__name__ for layer in built[:2]] == ["Rescaling", "Flatten"]
    assert [layer.rate if type(layer).__name__ == "Dropout" else layer.units for layer in built[2:]] == expected


def test_b_the_shipped_stack_is_theirs_as_it_really_was():
    sweep = load_sweep(ROOT / "sweeps" / "fully_connected.yaml")
    (theirs,) = (item for item in sweep.architectures if item.name == "published-392-196-98-49")
    assert [type(layer).__name__ for layer in theirs.layers].count("Dropout") == 3

# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""What is allowed in a sweep file and hardly meant: a warning by line, and none for what is meant or shipped."""

import pytest
from sweep_files import load
from sweeping import ROOT

from fmnist_mlp.sweepfile.checks import find_doubts
from fmnist_mlp.sweepfile.read import load_sweep

__all__ = ["load"]  # fixtures, used by name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("architectures:\n- [64, 10]\n", "2: the last hidden layer has 10 units, one for each class. If it is the output layer: that is added for you, remove it; to keep it, write {Dense: {units: 10, activation: relu}} (architecture '64-10')"),
        ("architectures:\n- [64, 1]\n", "2: the last hidden layer has 1 unit, of which all classes would have to be told. If it is the output layer: that is added for you, remove it; to keep it, write {Dense: {units: 1, activation: relu}} (architecture '64-1')"),
        ("architectures:\n- {layers: [784, 64], activation: tanh}\n", "2: the first hidden layer has 784 units, as many as an image has pixels. If it is the input: that is known from the images, remove it; to keep it, write {Dense: {units: 784, activation: tanh}} (architecture '784-64-tanh')"),
        ("architectures:\n- [64, BatchNormalization, {Activation: relu}]\n", "2: this Dense has relu of its own, as Dense without a word has here, and relu follows; for the second alone give it activation: linear (architecture '64-bn-relu')"),
        ("architectures:\n- [{Dense: 64}, LeakyReLU]\n", "2: this Dense has relu of its own, as Dense without a word has here, and LeakyReLU follows; for the second alone give it activation: linear (architecture '64-leakyrelu0.3')"),
        ("architectures:\n- [64, {BatchNormalization: {momentum: 0.1}}]\n", "2: BatchNormalization keeps 0.1 of its averages at each step, as Keras counts; PyTorch's momentum 0.1 is written momentum: 0.9 here (architecture '64-bn.momentum0.1')"),
        ("training:\n  preprocess: {center: 127.5, scale: 127.5}\narchitectures:\n- [8]\n- [9]\n", "2: preprocess gets pixels between 0 and 1, not 0 to 255: to bring them to [-1, 1] write preprocess: {center: 0.5, scale: 0.5}"),
        ("architectures:\n- [64, 10, {Dropout: 0.2}]\n", "2: the last hidden layer has 10 units, one for each class. If it is the output layer: that is added for you, remove it; to keep it, write {Dense: {units: 10, activation: relu}} (architecture '64-10-drop0.2')"),
        ("training: {preprocess: {scale: 0.00392}}\narchitectures:\n- [8]\n", "1: preprocess gets pixels between 0 and 1, not 0 to 255: to bring them to [-1, 1] write preprocess: {center: 0.5, scale: 0.5}"),
        ("training: {validation_split: 0.8}\narchitectures:\n- [8]\n", "1: validation_split is the share of the images that validates: 0.8 leaves 0.2 to train on; for the other way round write validation_split: 0.2"),
        ("training: {learning_rate: 10}\narchitectures:\n- [8]\n", "1: learning_rate: 10 moves every weight by about so much in a step of adam; usual are 1e-4 to 1e-2"),
        ("class_names: [Trouser, T-shirt/top, c, d, e, f, g, h, i, j]\narchitectures:\n- [8]\n", "1: class_names calls class 0 'Trouser', which is class 1 of Fashion-MNIST; its names are known: remove the key"),
        ("seeds: until decided\narchitectures:\n- [8]\n", "1: seeds: until decided has nothing to decide of one architecture: it is trained with 5 seeds"),
        ("seeds: 42\narchitectures:\n- [8]\n", "1: seeds: 42 asks for 42 trainings of each architecture, with seeds 0 to 41; for the one seed 42 write seeds: [42]"),
    ],
)  # fmt: skip
def test_what_is_allowed_and_hardly_meant_is_a_warning_by_line(load, text, words):
    (said,) = find_doubts(load(text), (28, 28), 10)
    assert said.split("\n")[0] == f"architectures.yaml:{words}"


@pytest.mark.parametrize(
    "text",
    [
        "- [64, {Dense: {units: 10, activation: relu}}]", "- [64, 10, 64]", "- [64, {Activation: relu}]", "- [{Dense: {units: 64, activation: linear}}, BatchNormalization, {Activation: relu}]",
        "- [{Dense: {units: 784, activation: relu}}, 64]", "- {layers: [64, BatchNormalization, {Activation: relu}], activation: linear}", "- [MaxPooling2D, {Activation: tanh}, 64]",
        "- {layers: [64], preprocess: [standardize, {center: 3, scale: 5}]}", "- {layers: [64], preprocess: {center: 0.2860, scale: 0.3530}}", "- [64, 11]",
        "- {layers: [64], optimizer: sgd, learning_rate: 1}", "- {layers: [64], validation_split: 0.5}",
    ],
)  # fmt: skip
def test_what_is_meant_gets_no_warning(load, text):
    assert find_doubts(load(f"architectures:\n{text}\ngrid: {{depth: 1, units: [10, 784]}}\n"), (28, 28), 10) == []


@pytest.mark.parametrize(
    "path", sorted([ROOT / "architectures.yaml", *(ROOT / "sweeps").glob("*.yaml")]), ids=lambda path: path.stem
)
def test_nothing_in_the_shipped_files_is_doubtful(path):
    assert find_doubts(load_sweep(path), (28, 28), 10) == []

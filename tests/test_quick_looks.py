# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""What the command line replaces of a sweep file, and what then makes a quick look with a folder of its own."""

import pytest
from sweep_files import STACK, complain, load

from fmnist_mlp.sweepfile.sweep import Overrides, read_folder_name

__all__ = ["complain", "load"]  # fixtures, used by name


def test_overrides_replace_what_the_file_says(load):
    text = "seeds: [3, 4]\nlimit: 5\n" + STACK + "  - {layers: [8], epochs: 40}\n"
    sweep = load(text, Overrides(epochs=2, seeds=1, limit=100))
    assert (sweep.seeds, sweep.limit, [item.training.epochs for item in sweep.architectures]) == ((0,), 100, [2, 2])
    names = [item.name for item in sweep.architectures]
    assert names == [item.name for item in load(text).architectures] == ["64-32", "8-epochs40"]


@pytest.mark.parametrize(
    ("more", "overrides", "folder_name", "words"),
    [
        ("", Overrides(), "mine", ""),
        ("", Overrides(epochs=20), "mine", ""),
        ("training: {epochs: 2}\n", Overrides(epochs=2), "mine", ""),
        ("", Overrides(epochs=1), "mine+epochs-1", ", a quick look (1 epoch)"),
        ("", Overrides(epochs=50), "mine+epochs-50", ", a quick look (50 epochs)"),
        ("limit: 9\n", Overrides(limit=9), "mine", ""),
        ("", Overrides(limit=1000), "mine+limit-1000", ", a quick look (1,000 training images)"),
        ("limit: 9\n", Overrides(limit=1), "mine+limit-1", ", a quick look (1 training image)"),
        ("", Overrides(seeds=5), "mine", ""),
        ("", Overrides(seeds=10), "mine", " (10 seeds, the file asks for 5)"),
        ("", Overrides(seeds=1), "mine+seeds-1", ", a quick look (1 seed, the file asks for 5)"),
        ("seeds: [1, 0]\n", Overrides(seeds=2), "mine", ""),
        ("seeds: [1, 0]\n", Overrides(seeds=3), "mine", " (3 seeds, the file asks for 2)"),
        ("seeds: [7, 1]\n", Overrides(seeds=2), "mine+seeds-2", ", a quick look (2 seeds, the file asks for others: 7, 1)"),
        ("seeds: 2\nrefit: {seeds: 5}\n", Overrides(seeds=2), "mine", ""),
        ("seeds: 2\nrefit: {seeds: 5}\n", Overrides(seeds=3), "mine", " (3 seeds, the file asks for 2)"),
        ("seeds: 2\nrefit: {seeds: 5}\n", Overrides(seeds=5), "mine", " (5 seeds, the file asks for 2)"),
        ("", Overrides(epochs=2, limit=1000, seeds=1), "mine+epochs-2+limit-1000+seeds-1", ", a quick look (2 epochs, 1,000 training images, 1 seed, the file asks for 5)"),
        ("", Overrides(epochs=2, seeds=6), "mine+epochs-2", ", a quick look (2 epochs, 6 seeds, the file asks for 5)"),
    ],
)  # fmt: skip
def test_what_really_differs_from_the_file_makes_a_quick_look(load, more, overrides, folder_name, words):
    sweep = load(f"name: mine\n{more}{STACK}", overrides)
    assert (sweep.folder_name, sweep.title) == (folder_name, "mine" + words)
    assert read_folder_name(folder_name) == ("mine", sweep.quick_look)
    assert load(f"name: mine\n{more}{STACK}", sweep.quick_look).folder_name == folder_name


def test_epochs_that_any_architecture_has_otherwise_make_a_quick_look(load):
    text = "name: mine\ntraining: {epochs: 2}\narchitectures:\n  - [8]\n  - {layers: [4], epochs: 3}\n"
    assert load(text, Overrides(epochs=2)).folder_name == "mine+epochs-2"
    assert load("name: mine\ngrid: {depth: 1, units: 8, epochs: [5, 10]}\n", Overrides(epochs=5)).is_quick_look
    baselines = "name: mine\nbaselines: [LogisticRegression]\n"
    assert not load(baselines, Overrides(epochs=1)).is_quick_look, "a baseline has no epochs"


@pytest.mark.parametrize(
    "text", ["", "+epochs-1", "a+", "a+epochs-", "a+limit-1+epochs-1", "a+b", "../a", "a/b+seeds-1", "_a"]
)
def test_no_other_text_names_the_folder_of_a_sweep(text):
    assert read_folder_name(text) is None


def test_a_name_with_a_plus_is_no_name_of_a_sweep(complain):
    assert "name must be letters" in complain("name: mine+epochs-1\n" + STACK)[0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (Overrides(epochs=0), "--epochs must be a whole number from 1 to 100,000, got 0"),
        (Overrides(seeds=-1), "--seeds must be a whole number from 1 to 10,000, got -1"),
        (Overrides(limit=True), "--limit must be a whole number from 1 to 1,000,000,000, got True"),
    ],
)
def test_bad_overrides_name_their_option(complain, overrides, message):
    assert complain(STACK, overrides) == [message]

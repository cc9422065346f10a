# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""Preprocessing and augmentation in a sweep file: what is written, what it makes of names, trials and sizes."""

import pickle

import pytest
from sweep_files import STACK, complain, fingerprints, load

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.names import name_problem
from fmnist_mlp.sweepfile.trials import list_trials

__all__ = ["complain", "load"]  # fixtures, used by name


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        ("null", []),
        ("[]", []),
        ("standardize", ["standardize"]),
        ("{standardize: }", ["standardize"]),
        ("{pca: 187}", [{"pca": 187}]),
        ("{pca: 0.95, whiten: true}", [{"pca": 0.95, "whiten": True}]),
        ("{pca: 9, whiten: false}", [{"pca": 9}]),
        ("{center: 0.5, scale: 0.5}", [{"center": 0.5, "scale": 0.5}]),
        ("{center: 1}", [{"center": 1.0, "scale": 1.0}]),
        ("[standardize, {pca: 3}, standardize, {scale: 2}]", ["standardize", {"pca": 3}, "standardize", {"center": 0.0, "scale": 2.0}]),
    ],
)  # fmt: skip
def test_steps_in_front_of_a_stack(load, written, steps):
    """For the whole file or for one architecture; a step alone is a list of one."""
    for text in (f"training: {{preprocess: {written}}}\n{STACK}", f"architectures:\n- {{layers: [64, 32], preprocess: {written}}}\n"):  # fmt: skip
        (trial,) = list_trials(load("seeds: 1\n" + text), data_identity="d")
        assert trial.settings["training"].get("preprocess", []) == steps
        assert ("preprocess" in trial.settings["training"]) == bool(steps)
        assert pickle.loads(pickle.dumps(trial)) == trial
    own = load(
        f"seeds: 1\ntraining: {{preprocess: {{pca: 5}}}}\narchitectures:\n- {{layers: [64, 32], preprocess: {written}}}\n"
    )
    assert fingerprints(own) == fingerprints(load(f"seeds: 1\n{text}"))


def test_a_wrong_step_is_named_by_its_own_line(complain):
    shown, echo = complain("training:\n  preprocess:\n  - standardize\n  - {pca: 2.5}\n" + STACK)
    assert shown.startswith("architectures.yaml:4: preprocess pca must be a whole number")
    assert echo == "    - {pca: 2.5}"


def test_mixup_needs_two_images_in_a_batch(complain):
    shown, _ = complain("training: {batch_size: 1}\narchitectures:\n- layers: [8]\n  augment: {mixup: 0.2}\n")
    assert shown == (
        "architectures.yaml:4: mixup needs another image in the batch, but batch_size is 1; use 2 or more "
        "(architecture '8')"
    )


def test_names_say_what_is_done_to_the_images(load):
    sweep = load(
        "architectures:\n- {layers: [64], preprocess: {pca: 187}}\n- {layers: [64], preprocess: [standardize, {pca: 0.95, whiten: true}]}\n"
        "- {layers: [64], preprocess: {center: 0.5, scale: 0.5}}\n- {layers: [64], preprocess: null}\n"
        "- {layers: [64], augment: {horizontal_flip: true, shift: 2, mixup: 0.2}, epochs: 3}\n"
        "- {layers: [64], augment: null, epochs: 4}\n"
    )
    names = [architecture.name for architecture in sweep.architectures]
    assert names == [
        "64-pca187", "64-standardize-pca0.95.whiten", "64-center0.5-scale0.5", "64-preprocess_none",
        "64-epochs3-augment.horizontal_flip.shift2.mixup0.2", "64-epochs4-augment_none",
    ]  # fmt: skip
    assert all(name_problem(name) is None for name in names)


def test_augmentation_that_changes_nothing_is_no_part_of_a_trial(load):
    idle = load("seeds: 1\ntraining: {augment: {horizontal_flip: false, shift: 0, mixup: 0}}\n" + STACK)
    assert fingerprints(idle) == fingerprints(load("seeds: 1\n" + STACK))
    (trial,) = list_trials(load("seeds: 1\ntraining: {augment: {erase: 1}}\n" + STACK), data_identity="d")
    assert trial.settings["training"]["augment"] == {"erase": 1.0}


def test_every_change_of_steps_or_augmentation_is_another_trial(load):
    values = [
        "", "preprocess: standardize", "preprocess: [standardize, standardize]", "preprocess: {pca: 9}", "preprocess: {pca: 0.9}",
        "preprocess: {pca: 9, whiten: true}", "preprocess: {center: 0.5}", "preprocess: {scale: 0.5}", "augment: {shift: 1}",
        "augment: {shift: 2}", "augment: {horizontal_flip: true}", "augment: {vertical_flip: true}", "augment: {erase: 0.1}", "augment: {mixup: 0.1}",
    ]  # fmt: skip
    found = {
        each for value in values for each in fingerprints(load(f"seeds: 1\ntraining: {{{value}}}\n{STACK}")).values()
    }
    assert len(found) == len(values)


def test_sizes_are_those_behind_the_steps(load):
    sweep = load(
        "architectures:\n- {layers: [64], preprocess: {pca: 187}}\n- {layers: [64], preprocess: [standardize, {pca: 0.95}]}\n"
        "- {layers: [64], preprocess: standardize}\n"
    )
    sizes = list(check_shapes(sweep, (28, 28), 10, class_counts=(6000,) * 10).values())
    assert [size.params for size in sizes] == [12_682, 50_890, 50_890]  # a share: at most 784 components
    assert sizes[0].flops == 187 * (2 * 784 + 1) + 64 * (2 * 187 + 1) + 10 * (2 * 64 + 1)
    assert sizes[2].flops == 2 * 784 + 64 * (2 * 784 + 1) + 10 * (2 * 64 + 1)
    (size,) = check_shapes(load("training: {preprocess: {pca: 0.95}}\nlimit: 50\n" + STACK), (28, 28), 10, class_counts=(6000,) * 10).values()  # fmt: skip
    assert size.params == 41 * 64 - 64 + 64 + 65 * 32 + 33 * 10  # 40 images to train on, so at most 40 components


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("training:\n  preprocess: {pca: 785}\narchitectures:\n- [8]\n- [4]\n", ["2: preprocess pca can have at most 784 components, for 784 values, got 785"]),
        ("limit: 100\narchitectures:\n- [8]\n- layers: [4]\n  preprocess:\n  - {pca: 81}\n", ["5: preprocess pca can have at most 80 components, for 80 training images, got 81"]),
        ("limit: 100\nfolds: 3\ntraining: {preprocess: {pca: 67}}\narchitectures:\n- [8]\n", ["3: preprocess pca can have at most 66 components, for 66 training images, got 67"]),
        ("training: {preprocess: {pca: 9}}\narchitectures:\n- layers:\n  - 8\n  - {Conv2D: {filters: 2, kernel_size: 3}}\n", ["5: Conv2D needs an image of height x width x channels, but gets a vector of 8 values; put it before the Dense and Flatten layers, or a Reshape before it; pca leaves no image, only its components (architecture '8-conv2x3')"]),
        ("training: {preprocess: {pca: 9}}\narchitectures:\n- [MaxPooling2D]\n- [{Reshape: [3, 3, 1]}, MaxPooling2D]\n", ["3: MaxPooling2D needs an image of height x width x channels, but gets a vector of 9 values; put it before the Dense and Flatten layers, or a Reshape before it; pca leaves no image, only its components (architecture 'maxpool2')"]),
        ("limit: 80\ntraining: {validation_split: 0.5, preprocess: {pca: 40, whiten: true}}\narchitectures:\n- [8]\n", ["2: preprocess pca can whiten at most 39 components of 40 training images"]),
        ("limit: 10\ntraining: {epochs: 2}\narchitectures:\n- [8]\n- layers: [4]\n  validation_split: 0.3\n", ["4: validation_split 0.2 of 10 training images leaves none to validate with, for each class keeps one to train on; use 20 images or more (limit), or a larger share", "6: validation_split 0.3 of 10 training images leaves none to validate with, for each class keeps one to train on; use 20 images or more (limit), or a larger share"]),
        ("limit: 20\ntraining: {validation_split: 0.01}\narchitectures: [[8]]\n", ["2: validation_split 0.01 of 20 training images leaves none to validate with, for each class keeps one to train on; use 100 images or more (limit), or a larger share"]),
        ("limit: 20\nbaselines:\n- {KNeighborsClassifier: {n_neighbors: 17}}\n- {KNeighborsClassifier: {n_neighbors: 16}}\n", ["3: n_neighbors must be at most the 16 training images (baseline 'KNeighborsClassifier-n_neighbors17')"]),
        ("training: {augment: {shift: 28}}\n" + STACK, ["1: augment shift must be below the images' 28 pixels, got 28"]),
        ("training: {augment: {shift: 27}, preprocess: {pca: 784}}\n" + STACK, []),
    ],
)  # fmt: skip
def test_steps_that_do_not_fit_the_images_are_named_by_line(load, text, messages):
    sweep = load(text)
    if not messages:
        assert check_shapes(sweep, (28, 28), 10, class_counts=(6000,) * 10)
        return
    with pytest.raises(SweepError) as caught:
        check_shapes(sweep, (28, 28), 10, class_counts=(6000,) * 10)
    assert str(caught.value).split("\n")[::2] == [f"architectures.yaml:{message}" for message in messages]

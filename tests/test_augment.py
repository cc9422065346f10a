"""Augmented images against numpy, image by image, and both loops against Keras's `fit` on images augmented by hand."""

import keras
import numpy as np
import pytest
from learning import (
    TRAIN,
    VALIDATION,
    Interrupted,
    assert_agree,
    assert_same_bits,
    bits,
    interrupt_after,
    new_learner,
    new_model,
    start_again,
    train,
)

from fmnist_mlp.data.split import epoch_order
from fmnist_mlp.runner.cluster import read_files
from fmnist_mlp.sweepfile.layers import Conv2D, Dense, Dropout
from fmnist_mlp.sweepfile.settings import Augment, Training
from fmnist_mlp.sweepfile.steps import Pca, Standardize
from fmnist_mlp.training import preprocess
from fmnist_mlp.training.augment import Augmentation
from fmnist_mlp.training.checkpoint import Checkpoint

EVERYTHING = Augment(horizontal_flip=True, vertical_flip=True, shift=2, erase=0.5, mixup=0.4)
STACK = [Dense(units=16, activation="relu"), Dense(units=8, activation="tanh")]


def by_hand(images, draws):
    """Images flipped, shifted and erased one at a time, with slices."""
    changed = np.zeros_like(images)
    for i, image in enumerate(images):
        flip = draws["flip"][i] if "flip" in draws else 0
        image = image[:, ::-1] if flip & 1 else image
        image = image[::-1] if flip & 2 else image
        down, across = (int(draws[name][i]) if name in draws else 0 for name in ("down", "across"))
        height, width = image.shape
        moved = np.zeros_like(image)
        moved[max(0, down) : height + min(0, down), max(0, across) : width + min(0, across)] = image[
            max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)
        ]
        if "top" in draws:
            moved[draws["top"][i] : draws["bottom"][i], draws["left"][i] : draws["right"][i]] = 0
        changed[i] = moved
    return changed


@pytest.mark.parametrize(
    "settings",
    [
        Augment(horizontal_flip=True),
        Augment(vertical_flip=True),
        Augment(horizontal_flip=True, vertical_flip=True),
        Augment(shift=1),
        Augment(shift=6),
        Augment(erase=1.0),
        Augment(horizontal_flip=True, vertical_flip=True, shift=3, erase=0.5),
    ],
    ids=lambda settings: "-".join(settings.model_dump(exclude_defaults=True)),
)
def test_images_are_changed_as_by_hand(settings):
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (50, 7, 9)).astype(np.uint8)  # no zeros, so that what comes in is seen
    augmentation = Augmentation(settings, (7, 9), batch_size=8)
    indices = rng.integers(0, 50, 200).astype(np.int32)
    draws = augmentation.draw(200, seed=1, epoch=2)
    found = augmentation.change_images(augmentation.resident(images), indices, draws).numpy()
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found.reshape(200, 7, 9), by_hand(images[indices], draws))
    assert (found.reshape(200, 7, 9) != images[indices]).any(axis=(1, 2)).mean() > 0.4


def test_draws_are_a_function_of_seed_and_epoch_alone():
    def draw(seed, epoch, settings=EVERYTHING, batch_size=32):
        return Augmentation(settings, (28, 28), batch_size).draw(1000, seed, epoch)

    first = draw(3, 4)
    draw(8, 1)
    again = draw(3, 4)
    assert list(first) == ["flip", "down", "across", "top", "bottom", "left", "right", "partner", "share"]
    assert all(choices.shape == (1000,) for choices in first.values())
    for name, choices in first.items():
        np.testing.assert_array_equal(choices, again[name])
        for other in (draw(3, 5), draw(4, 4), draw(4, 3)):
            assert not np.array_equal(choices, other[name]), name
    # What else is switched on changes nothing of a choice, nor does the size of the batch, but for partners.
    alone = draw(3, 4, Augment(shift=2), batch_size=7)
    assert list(alone) == ["down", "across"]
    np.testing.assert_array_equal(alone["down"], first["down"])
    np.testing.assert_array_equal(draw(3, 4, Augment(erase=0.5))["left"], first["left"])
    one_way = draw(3, 4, Augment(vertical_flip=True))["flip"]
    np.testing.assert_array_equal(one_way, first["flip"] & 2)


def test_choices_are_as_likely_as_they_should_be():
    """48,000 draws: five standard deviations are 0.0114 of a coin; of Zhong's rectangles the bounds."""
    draws = Augmentation(EVERYTHING, (28, 28), 32).draw(48_000, seed=0, epoch=0)
    assert np.abs(np.bincount(draws["flip"]) / 48_000 - 0.25).max() < 0.01
    for name in ("down", "across"):
        values, counts = np.unique(draws[name], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert np.abs(counts / 48_000 - 0.2).max() < 0.01
    height, width = draws["bottom"] - draws["top"], draws["right"] - draws["left"]
    erased = height > 0
    assert abs(erased.mean() - 0.5) < 0.0115
    np.testing.assert_array_equal(erased, width > 0)
    assert min(draws["top"].min(), draws["left"].min()) >= 0
    assert max(draws["bottom"].max(), draws["right"].max()) <= 28
    # Sides are whole: half a pixel more or less on each.
    least, most = ((height + d) * (width + d) / 784 for d in (-0.5, 0.5))
    assert (most[erased] >= 0.02).all()
    assert (least[erased] <= 1 / 3).all()
    assert ((height + 0.5) / np.maximum(width - 0.5, 0.5) >= 0.3)[erased].all()
    assert ((width + 0.5) / np.maximum(height - 0.5, 0.5) >= 0.3)[erased].all()
    assert abs(draws["share"].mean() - 0.5) < 0.01
    assert draws["share"].var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.03)  # of Beta(a, a)


@pytest.mark.parametrize(("images", "batch_size"), [(100, 32), (97, 32), (64, 32), (5, 2), (20, 50)])
def test_the_partner_of_an_image_is_another_one_of_its_batch(images, batch_size):
    partner = Augmentation(Augment(mixup=1.0), (4, 4), batch_size).draw(images, seed=0, epoch=0)["partner"]
    for start in range(0, images, batch_size):
        ours = partner[start : start + batch_size]
        positions = np.arange(len(ours))
        assert sorted(ours) == positions.tolist()
        assert len(ours) == 1 or (ours != positions).all()


def test_mixup_mixes_images_and_targets_as_by_hand():
    rng = np.random.default_rng(0)
    x, targets = rng.random((9, 16)), np.eye(3)[rng.integers(0, 3, 9)]
    draws = {"partner": rng.permutation(9).astype(np.int32), "share": rng.random(9)}
    mixed, rows = Augmentation(Augment(mixup=0.2), (4, 4), 9).mix(x, targets, draws)
    for i, (partner, share) in enumerate(zip(draws["partner"], draws["share"], strict=True)):
        np.testing.assert_allclose(mixed[i], share * x[i] + (1 - share) * x[partner], rtol=1e-12)
        np.testing.assert_allclose(rows[i], share * targets[i] + (1 - share) * targets[partner], rtol=1e-12)


def test_a_shift_of_nearly_the_whole_image_and_the_smallest_alpha_are_sound():
    settings = Augment(shift=3, erase=1.0, mixup=1e-300)
    draws = Augmentation(settings, (4, 4), 2).draw(100, seed=0, epoch=0)
    assert np.isfinite(draws["share"]).all()
    for shape in ((1, 1), (1, 28), (28, 1)):
        rectangles = Augmentation(Augment(erase=1.0), shape, 2).draw(100, seed=0, epoch=0)
        assert (rectangles["bottom"] > rectangles["top"]).all()


# ---- in training


def reference(layers, settings, images, fitted, seed=3):
    """Keras's `fit` on numpy arrays that were augmented by hand, an epoch at a time; a validation without any of it."""
    x, y = images
    model = new_learner(layers, settings, seed, fitted=fitted).model
    history = {name: [] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    augmentation = Augmentation(settings.augment, x.shape[1:], settings.batch_size)
    smoothing, is_mixed = settings.label_smoothing, bool(settings.augment.mixup)
    rows = np.eye(4) * (1 - smoothing) + smoothing / 4

    def inputs(pixels):
        pixels = pixels.reshape(len(pixels), -1).astype(np.float64)
        return fitted.apply(pixels, fitted.arrays(np.float64)).reshape(-1, *fitted.input_shape)

    for epoch in range(settings.epochs):
        order = TRAIN[epoch_order(len(TRAIN), seed, epoch)]
        draws = augmentation.draw(len(order), seed, epoch)
        pixels, targets = by_hand(x[order], draws).astype(np.float64), rows[y[order]]
        if is_mixed:
            unmixed, unmixed_targets = pixels.copy(), targets.copy()
            for i, (partner, share) in enumerate(zip(draws["partner"], draws["share"], strict=True)):
                other = i // settings.batch_size * settings.batch_size + partner
                pixels[i] = share * unmixed[i] + (1 - share) * unmixed[other]
                targets[i] = share * unmixed_targets[i] + (1 - share) * unmixed_targets[other]
        is_categorical = is_mixed or smoothing
        targets = targets if is_categorical else y[order]
        logs = model.fit(inputs(pixels), targets, batch_size=settings.batch_size, shuffle=False, verbose=0).history
        val_targets = np.eye(4)[y[VALIDATION]] if is_categorical else y[VALIDATION]
        val_loss, val_accuracy = model.evaluate(inputs(x[VALIDATION]), val_targets, verbose=0)
        for name, value in zip(history, (logs["loss"][0], logs["accuracy"][0], val_loss, val_accuracy), strict=True):
            history[name].append(value)
    return model, history


@pytest.mark.slow
@pytest.mark.parametrize(
    ("augment", "steps", "more"),
    [
        (Augment(horizontal_flip=True, shift=2), (), {"batch_size": 57}),  # no short batch: less to compile
        pytest.param(EVERYTHING, (Standardize(), Pca(20)), {}, marks=pytest.mark.slow),
        pytest.param(Augment(mixup=0.2), (), {"label_smoothing": 0.1, "batch_size": 57}, marks=pytest.mark.slow),
    ],
    ids=["flips and shifts", "everything in front of pca", "mixup of smoothed labels"],
)
def test_both_loops_train_on_the_images_augmented_by_hand_in_float64(augment, steps, more, tiny_images, float64):
    settings = Training(epochs=2, learning_rate=0.01, augment=augment, **more)
    fitted = preprocess.fit(steps, tiny_images[0][TRAIN])
    expected = reference(STACK, settings, tiny_images, fitted)
    for plain_fit in (False, True):
        learner = new_learner(STACK, settings, fitted=fitted, plain_fit=plain_fit)
        history = train(learner, tiny_images, fitted=fitted).history
        assert_agree(learner.model, history, *expected, rtol=1e-9)


@pytest.mark.slow
def test_a_convolution_in_the_plain_fit_sees_the_same_augmented_images(tiny_images, float64):
    layers = [Conv2D(filters=3, kernel_size=3, activation="relu")]
    settings = Training(epochs=2, learning_rate=0.01, augment=EVERYTHING)
    fitted = preprocess.fit((Standardize(),), tiny_images[0][TRAIN])
    learner = new_learner(layers, settings, fitted=fitted, plain_fit=True)
    history = train(learner, tiny_images, fitted=fitted).history
    assert_agree(learner.model, history, *reference(layers, settings, tiny_images, fitted), rtol=1e-9)


@pytest.mark.slow
def test_validation_images_are_never_augmented(tiny_images):
    x, y = tiny_images
    settings = Training(epochs=2, augment=EVERYTHING)
    fitted = preprocess.fit((), x[TRAIN])
    for plain_fit in (False, True):
        learner = new_learner(STACK, settings, fitted=fitted, plain_fit=plain_fit)
        history = train(learner, tiny_images, fitted=fitted).history
        logits = learner.model.predict(x[VALIDATION] / np.float32(255), verbose=0)
        loss = keras.losses.sparse_categorical_crossentropy(y[VALIDATION], logits, from_logits=True)
        assert history["val_loss"][-1] == pytest.approx(float(np.mean(loss)), rel=1e-5)
        assert history["val_accuracy"][-1] == pytest.approx((logits.argmax(axis=1) == y[VALIDATION]).mean())


@pytest.mark.slow
def test_no_seed_and_no_epoch_is_compiled_anew(tiny_images):
    """Another seed has other fitted steps; they and the choices come into the program from outside."""
    settings = Training(epochs=3, augment=EVERYTHING)
    first, second = (preprocess.fit((Standardize(), Pca(20)), tiny_images[0][part]) for part in (TRAIN, TRAIN[::2]))
    used = new_learner(STACK, settings, seed=4, fitted=first)
    train(used, tiny_images, seed=4, fitted=first)
    used.restart(new_model(STACK, 5, second), settings)
    again = train(used, tiny_images, seed=5, fitted=second).history
    assert used.programs.compilations == {"train": 1, "validate": 1}
    new = new_learner(STACK, settings, seed=5, fitted=second)
    assert train(new, tiny_images, seed=5, fitted=second).history == again
    assert_same_bits(used.model, new.model)


@pytest.mark.slow
@pytest.mark.parametrize("plain_fit", [False, True])
def test_a_resumed_training_sees_the_same_augmented_images(plain_fit, tiny_images, tmp_path):
    layers = [*STACK, Dropout(rate=0.3)]
    fitted = preprocess.fit((), tiny_images[0][TRAIN])
    learner = new_learner(layers, Training(epochs=4, augment=EVERYTHING), fitted=fitted, plain_fit=plain_fit)
    history = train(learner, tiny_images, fitted=fitted).history
    expected = bits(learner.model)
    start_again(learner, layers, fitted=fitted)
    with pytest.raises(Interrupted):
        train(learner, tiny_images, fitted=fitted, at_epoch_end=interrupt_after(2, tmp_path))
    start_again(learner, layers, fitted=fitted)
    checkpoint = Checkpoint.read(read_files(tmp_path), learner.model)
    assert train(learner, tiny_images, fitted=fitted, resume=checkpoint).history == history
    assert_same_bits(learner.model, expected)

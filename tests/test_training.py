"""Checkpoints: a resumed training ends with the same bits as one that was never interrupted."""

import functools
import math

import keras
import numpy as np
import pytest
from learning import (
    TRAIN,
    VALIDATION,
    Interrupted,
    assert_same_bits,
    bits,
    interrupt_after,
    new_learner,
    new_model,
    start_again,
    train,
)

from fmnist_mlp.runner.cluster import read_files
from fmnist_mlp.sweepfile.layers import BatchNormalization, Conv2D, Dense, Dropout
from fmnist_mlp.sweepfile.settings import EarlyStopping, Training
from fmnist_mlp.training import fit
from fmnist_mlp.training.checkpoint import BadCheckpoint, Checkpoint

LAYERS = [
    Dense(units=16, activation="relu"),
    BatchNormalization(),
    Dropout(rate=0.3),
    Dense(units=8, activation="relu"),
]
# Epoch 1 is the best by construction (min_delta out of reach), patience ends the training with epoch 3.
STOPS = Training(epochs=9, early_stopping=EarlyStopping(patience=2, min_delta=100))


@functools.cache
def _compiled(settings, plain_fit):
    return new_learner(LAYERS, settings, plain_fit=plain_fit)


def learner_for(settings, plain_fit=False):
    """At its start; the same one for all tests of these settings."""
    return start_again(_compiled(settings, plain_fit), LAYERS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "interrupt_epoch", "plain_fit"),
    [
        pytest.param(Training(epochs=4, schedule="one_cycle"), 2, False, id="compiled"),
        pytest.param(Training(epochs=3), 2, True, id="plain"),
        pytest.param(STOPS, 2, False, id="with patience left"),
        pytest.param(STOPS, 3, False, id="stopped"),
        *(
            pytest.param(
                Training(epochs=3, optimizer=name, warmup_epochs=1, gradient_clip=1.0, label_smoothing=0.1),
                1,
                False,
                id=name,
            )
            for name in ("sgd", "adamw", "rmsprop", "nadam", "lion")
        ),
    ],
)
def test_a_resumed_training_ends_with_the_same_bits(settings, interrupt_epoch, plain_fit, tiny_images, tmp_path):
    whole = learner_for(settings, plain_fit)
    expected, expected_bits = train(whole, tiny_images), bits(whole.model)
    with pytest.raises(Interrupted):
        train(learner_for(settings, plain_fit), tiny_images, at_epoch_end=interrupt_after(interrupt_epoch, tmp_path))
    resumed = learner_for(settings, plain_fit)
    checkpoint = Checkpoint.read(read_files(tmp_path), resumed.model)
    assert checkpoint.epochs_done == interrupt_epoch
    course = train(resumed, tiny_images, resume=checkpoint)
    assert course.history == expected.history
    assert course.best_epoch == expected.best_epoch
    assert len(course.epoch_seconds) == len(expected.epoch_seconds)
    assert_same_bits(resumed.model, expected_bits)


@pytest.mark.slow
def test_early_stopping_says_which_epoch_was_kept(tiny_images):
    learner = learner_for(STOPS)
    course = train(learner, tiny_images)
    assert len(course.history["loss"]) == 3
    assert course.best_epoch == 1
    x, y = tiny_images
    logits = learner.model.predict(x[VALIDATION], verbose=0)
    loss = keras.losses.sparse_categorical_crossentropy(y[VALIDATION], logits, from_logits=True)
    assert float(np.mean(loss)) == pytest.approx(course.history["val_loss"][0], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wait", "best_weights", "best_epoch"])
def test_early_stopping_that_hides_what_it_remembers_costs_the_checkpoint_alone(
    name, tiny_images, tmp_path, monkeypatch
):
    """As a later Keras may: the training is the same, and no checkpoint says half of it."""
    refusals, expected = [], train(learner_for(STOPS), tiny_images)

    class Hidden(keras.callbacks.EarlyStopping):
        def __getattribute__(self, attribute):
            if attribute == name and not is_keras:
                raise AttributeError(f"no {name}")
            return super().__getattribute__(attribute)

    def at_epoch_end(epochs_done, logs, write_checkpoint):
        nonlocal is_keras
        is_keras = False
        with pytest.raises(BadCheckpoint, match=f"cannot be taken with Keras {keras.__version__}: no {name}") as error:
            write_checkpoint(tmp_path)
        refusals.append(error)
        is_keras = True

    is_keras = True
    monkeypatch.setattr(keras.callbacks, "EarlyStopping", Hidden)
    assert train(learner_for(STOPS), tiny_images, at_epoch_end=at_epoch_end).history == expected.history
    assert len(refusals) == 3
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_never_unpickled(tmp_path):
    (tmp_path / "state.json").write_text('{"epochs_done": 1}')
    np.savez(tmp_path / "arrays.npz", evil=np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(BadCheckpoint, match="allow_pickle"):
        Checkpoint.read(read_files(tmp_path), new_model(LAYERS, seed=3))


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        (Training(epochs=4, learning_rate=0.1), [0.1, 0.1, 0.1]),
        (Training(epochs=4, learning_rate=0.1, warmup_epochs=2), [0.0, 0.1, 0.1]),
        (Training(epochs=4, learning_rate=0.1, schedule="cosine"), [0.1, 0.05, 0.0]),
        (Training(epochs=4, learning_rate=0.1, schedule="cosine", warmup_epochs=2), [0.0, 0.1, 0.0]),
        (
            Training(epochs=4, learning_rate=0.1, schedule="one_cycle"),
            [0.004, 0.1 * (1 + math.cos(math.pi * 8 / 28)) / 2, 0.1 / 250_000],
        ),
    ],
    ids=["constant", "warm-up", "cosine", "cosine after warm-up", "one cycle"],
)
def test_schedules_begin_pass_the_middle_and_end_where_they_should(settings, rates):
    """At steps 0, 20 and 40 of 40. One cycle: up to step 12 linearly, then a cosine over 28."""
    rate = fit._learning_rate(settings, steps_per_epoch=10)
    assert [float(rate(step)) if callable(rate) else rate for step in (0, 20, 40)] == pytest.approx(
        rates, rel=1e-3, abs=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize("images", [171, 160, 5])  # a short last batch, none, only one
def test_several_steps_before_python_are_the_same_steps(tiny_images, images, monkeypatch):
    """Convolutions take Keras's own loop, which is quicker when it comes back to Python less often."""
    layers = [Conv2D(filters=3, kernel_size=3, activation="relu"), BatchNormalization(), Dropout(rate=0.3)]
    settings, outcomes = Training(epochs=2, batch_size=2), []
    assert fit._STEPS_PER_EXECUTION > 1
    for steps in (1, fit._STEPS_PER_EXECUTION):
        monkeypatch.setattr("fmnist_mlp.training.fit._STEPS_PER_EXECUTION", steps)
        learner = new_learner(layers, settings, images=images, plain_fit=True, jit_compile=False)
        assert learner.model.steps_per_execution == steps
        course = train(learner, tiny_images, train_indices=TRAIN[:images])
        outcomes.append((learner.model, course.history))
    assert outcomes[0][1] == outcomes[1][1]
    assert_same_bits(outcomes[0][0], outcomes[1][0])

"""Checkpoints: a resumed training ends with the same bits as one that was never interrupted."""

import math

import keras
import numpy as np
import pytest

from fmnist_mlp.runner.cluster import read_files
from fmnist_mlp.sweepfile.layers import BatchNormalization, Conv2D, Dense, Dropout
from fmnist_mlp.sweepfile.settings import EarlyStopping, Training
from fmnist_mlp.training import fit, models
from fmnist_mlp.training.checkpoint import BadCheckpoint, Checkpoint
from fmnist_mlp.training.compiled_epoch import ResidentData
from fmnist_mlp.training.fit import compile_model, train

LAYERS = [
    Dense(units=16, activation="relu"),
    BatchNormalization(),
    Dropout(rate=0.3),
    Dense(units=8, activation="relu"),
]
TRAIN, VALIDATION = np.arange(0, 171), np.arange(171, 203)


def _new_model(settings):
    model = models.build_model(LAYERS, (8, 8), 4, seed=1)
    compile_model(model, settings, len(TRAIN))
    return model


class _Interrupted(Exception):
    pass


def _train(data, settings, *, folder=None, interrupt_after=None, resume=None, plain_fit=False):
    def at_epoch_end(epochs_done, logs, take_checkpoint):
        if epochs_done == interrupt_after:
            take_checkpoint().write(folder)
            raise _Interrupted

    model = _new_model(settings)
    history = train(
        model,
        data,
        settings,
        seed=1,
        train_indices=TRAIN,
        validation_indices=VALIDATION,
        resume=resume,
        at_epoch_end=at_epoch_end,
        plain_fit=plain_fit,
    )
    return model, history


def _same(ours, theirs):
    (model, history), (other, expected) = ours, theirs
    assert history.history == expected.history
    assert history.best_epoch == expected.best_epoch
    assert len(history.epoch_seconds) == len(expected.epoch_seconds)
    for a, b in zip(
        [*model.variables, *model.optimizer.variables], [*other.variables, *other.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)


def _check_resume(images, tmp_path, settings, interrupt_after, plain_fit=False):
    data = ResidentData(*images, 4)
    expected = _train(data, settings, plain_fit=plain_fit)
    with pytest.raises(_Interrupted):
        _train(data, settings, folder=tmp_path, interrupt_after=interrupt_after, plain_fit=plain_fit)
    checkpoint = Checkpoint.read(read_files(tmp_path))
    assert checkpoint.epochs_done == interrupt_after
    _same(_train(data, settings, resume=checkpoint, plain_fit=plain_fit), expected)


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_bits(tiny_images, tmp_path):
    _check_resume(tiny_images, tmp_path, Training(epochs=4, schedule="one_cycle"), interrupt_after=2)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop", "nadam", "lion"])
def test_a_resumed_training_ends_with_the_same_bits_with_every_optimizer(optimizer, tiny_images, tmp_path):
    settings = Training(epochs=3, optimizer=optimizer, warmup_epochs=1, gradient_clip=1.0, label_smoothing=0.1)
    _check_resume(tiny_images, tmp_path, settings, interrupt_after=1)


@pytest.mark.slow
def test_a_resumed_plain_fit_ends_with_the_same_bits(tiny_images, tmp_path):
    _check_resume(tiny_images, tmp_path, Training(epochs=3), interrupt_after=2, plain_fit=True)


@pytest.mark.slow
@pytest.mark.parametrize("interrupt_after", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_early_stopping_remembers_its_patience_and_its_best_weights(interrupt_after, tiny_images, tmp_path):
    """Epoch 1 is the best by construction (min_delta out of reach), patience ends the training with epoch 3."""
    stopping = EarlyStopping(patience=2, min_delta=100)
    settings = Training(epochs=9, early_stopping=stopping)
    _check_resume(tiny_images, tmp_path, settings, interrupt_after)


@pytest.mark.slow
def test_early_stopping_says_which_epoch_was_kept(tiny_images):
    settings = Training(epochs=9, early_stopping=EarlyStopping(patience=2, min_delta=100))
    model, history = _train(ResidentData(*tiny_images, 4), settings)
    assert len(history.history["loss"]) == 3
    assert history.best_epoch == 1
    x, y = tiny_images
    logits = model.predict(x[VALIDATION], verbose=0)
    loss = keras.losses.sparse_categorical_crossentropy(y[VALIDATION], logits, from_logits=True)
    assert float(np.mean(loss)) == pytest.approx(history.history["val_loss"][0], rel=1e-5)


def test_a_checkpoint_is_never_unpickled(tmp_path):
    (tmp_path / "state.json").write_text('{"epochs_done": 1}')
    np.savez(tmp_path / "arrays.npz", evil=np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(BadCheckpoint, match="allow_pickle"):
        Checkpoint.read(read_files(tmp_path))


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
    found = [float(rate(step)) if callable(rate) else rate for step in (0, 20, 40)]
    assert found == pytest.approx(rates, rel=1e-3, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("images", [171, 160, 5])  # a short last batch, none, only one
def test_several_steps_before_python_are_the_same_steps(tiny_images, images, monkeypatch):
    """Convolutions take Keras's own loop, which is quicker when it comes back to Python less often."""
    layers = [Conv2D(filters=3, kernel_size=3, activation="relu"), BatchNormalization(), Dropout(rate=0.3)]
    settings, outcomes = Training(epochs=2, batch_size=2), []
    for steps in (1, fit._STEPS_PER_EXECUTION):
        monkeypatch.setattr("fmnist_mlp.training.fit._STEPS_PER_EXECUTION", steps)
        model = models.build_model(layers, (8, 8), 4, seed=1)
        compile_model(model, settings, images, jit_compile=False)
        assert model.steps_per_execution == steps
        history = train(
            model,
            ResidentData(*tiny_images, 4),
            settings,
            seed=1,
            train_indices=TRAIN[:images],
            validation_indices=VALIDATION,
            plain_fit=True,
        )
        outcomes.append((model, history))
    assert fit._STEPS_PER_EXECUTION > 1
    _same(*outcomes)

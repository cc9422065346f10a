"""The compiled epoch against Keras's own `fit` on the same batches, and Keras's callbacks on top of it."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from learning import TRAIN, VALIDATION, assert_agree, assert_same_bits, new_learner, new_model, train

from fmnist_mlp.data.split import epoch_order
from fmnist_mlp.sweepfile.layers import BatchNormalization, Dense, Dropout, GaussianNoise, LayerNormalization
from fmnist_mlp.sweepfile.settings import EarlyStopping, Training
from fmnist_mlp.training import tracing
from fmnist_mlp.training.trainer import TrainingDiverged

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "nadam", "lion")
DENSE = [Dense(units=16, activation="relu"), Dense(units=8, activation="tanh")]
DROPOUT = [
    Dense(units=16, activation="relu"),
    Dropout(rate=0.3),
    GaussianNoise(stddev=0.1),
    Dense(units=8, activation="relu"),
]
EVERYTHING = [
    Dense(units=16, activation="relu"),
    BatchNormalization(),
    Dropout(rate=0.3),
    GaussianNoise(stddev=0.1),
    Dense(units=8, activation="gelu"),
    LayerNormalization(),
]
EPOCHS = 3
DIVERGES = [Dense(units=16, activation="linear"), Dense(units=16, activation="linear")]  # with sgd at 1000


def _reference(layers, settings, images, seed=3):
    """What anyone would write: Keras's `fit` on numpy arrays, an epoch at a time, in the order that a trial uses."""
    x, y = images
    model = new_learner(layers, settings, seed).model
    history = {name: [] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    for epoch in range(settings.epochs):
        order = TRAIN[epoch_order(len(TRAIN), seed, epoch)]
        logs = model.fit(x[order], y[order], batch_size=settings.batch_size, shuffle=False, verbose=0).history
        val_loss, val_accuracy = model.evaluate(x[VALIDATION], y[VALIDATION], verbose=0)
        for name, value in zip(history, (logs["loss"][0], logs["accuracy"][0], val_loss, val_accuracy), strict=True):
            history[name].append(value)
    return model, history


def _agree(layers, settings, images, rtol):
    learner = new_learner(layers, settings)
    history = train(learner, images).history
    assert_agree(learner.model, history, *_reference(layers, settings, images), rtol)


ADAM = Training(epochs=EPOCHS, optimizer="adam", learning_rate=0.01)
# 57 divides the 171 images: without a short batch there is less to compile.
CASES = {
    optimizer: (EVERYTHING, ADAM.model_copy(update={"optimizer": optimizer, "weight_decay": 0.01, "batch_size": 57}))
    for optimizer in OPTIMIZERS
}
CASES |= {
    str(changes): (DENSE, ADAM.model_copy(update={"batch_size": 57} | changes))
    for changes in (
        {"schedule": "cosine"},
        {"schedule": "cosine", "warmup_epochs": 1},
        {"schedule": "one_cycle"},
        {"warmup_epochs": 2},
        {"gradient_clip": 0.05},
        {"optimizer": "sgd", "momentum": 0.9},
        {"batch_size": 1},
        {"batch_size": 500},  # one short batch is all there is
    )
}
CASES["a short last batch"] = (EVERYTHING, ADAM)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case != "a short last batch")) for case in CASES]
)
def test_every_stack_optimizer_and_setting_gives_the_numbers_of_plain_fit_in_float64(case, tiny_images, float64):
    # Keras's schedules compute in float32 whatever the model does; the last digit of a rate is the compiler's.
    has_float32 = "schedule" in case or "warmup" in case
    _agree(*CASES[case], tiny_images, rtol=1e-7 if has_float32 else 1e-9)


@pytest.mark.slow
def test_float32_histories_agree_to_five_digits(tiny_images):
    """The same sums in another order: float32 keeps 7 digits a step, and three epochs of 6 steps lose at most two."""
    _agree(DENSE, Training(epochs=EPOCHS, learning_rate=0.01), tiny_images, rtol=1e-5)


@pytest.mark.slow
def test_label_smoothing_softens_training_targets_only(tiny_images, float64):
    """Against Keras's own `label_smoothing`: the same training, and a validation loss without it."""
    x, y = tiny_images
    settings = Training(epochs=2, learning_rate=0.01, label_smoothing=0.1)
    history = train(new_learner(DENSE, settings), tiny_images).history

    reference = new_model(DENSE, seed=3)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    reference.compile(keras.optimizers.Adam(0.01), loss=loss, jit_compile=True)
    for epoch in range(2):
        order = TRAIN[epoch_order(len(TRAIN), 3, epoch)]
        smoothed = reference.fit(x[order], np.eye(4)[y[order]], batch_size=32, shuffle=False, verbose=0).history["loss"]
        assert history["loss"][epoch] == pytest.approx(smoothed[0], rel=1e-9)
    logits = reference.predict(x[VALIDATION], verbose=0)
    plain = keras.losses.sparse_categorical_crossentropy(y[VALIDATION], logits, from_logits=True)
    assert history["val_loss"][-1] == pytest.approx(float(np.mean(plain)), rel=1e-9)


@pytest.mark.slow
def test_plain_fit_gives_the_numbers_of_the_compiled_epoch(tiny_images, float64):
    settings = Training(epochs=EPOCHS, learning_rate=0.01, label_smoothing=0.05)
    compiled, plain = (
        train(new_learner(DROPOUT, settings, plain_fit=plain_fit), tiny_images).history for plain_fit in (False, True)
    )
    assert compiled.keys() == plain.keys()
    for name, values in plain.items():
        np.testing.assert_allclose(compiled[name], values, rtol=1e-9, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "settings"),
    [
        # nadam, because one of its variables does not start at zero
        (Training(epochs=2, optimizer="nadam", schedule="cosine"), {}),
        (
            Training(epochs=3, optimizer="nadam"),
            {"epochs": 2, "learning_rate": 0.01, "early_stopping": EarlyStopping(patience=5)},
        ),
    ],
    ids=["another seed", "another seed, learning rate and end"],
)
def test_a_restarted_model_trains_to_the_same_bits_as_a_new_one(before, settings, tiny_images):
    settings = before.model_copy(update=settings)
    layers = [*DROPOUT, BatchNormalization()]
    new = new_learner(layers, settings, seed=5)
    expected = train(new, tiny_images, seed=5).history

    used = new_learner(layers, before, seed=4)
    train(used, tiny_images, seed=4)
    used.restart(new_model(layers, seed=5), settings)
    again = train(used, tiny_images, seed=5).history
    assert used.programs.compilations == {"train": 1, "validate": 1}
    assert again == expected
    assert_same_bits(used.model, new.model)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_variable_of_an_optimizer_starts_at_one_number(optimizer):
    """A restart rests on it."""
    for variable in new_learner(DROPOUT, Training(optimizer=optimizer)).model.optimizer.variables:
        assert variable.numpy().min() == variable.numpy().max()


@pytest.mark.slow
def test_dropout_draws_its_numbers_quickly_and_the_same(tiny_images, monkeypatch):
    """The barrier of `quick_random_numbers` is there in this TensorFlow, is used, and changes no bit."""
    settings = Training(epochs=2, learning_rate=0.01)
    barriers = []
    stock = tracing._gen_xla_ops.xla_optimization_barrier
    monkeypatch.setattr(
        tracing._gen_xla_ops, "xla_optimization_barrier", lambda input: barriers.append(1) or stock(input=input)
    )
    quick = train(new_learner(DROPOUT, settings), tiny_images).history
    assert barriers
    monkeypatch.setattr(tracing, "_random_ops_util", None)
    assert train(new_learner(DROPOUT, settings), tiny_images).history == quick


ANOTHER_TENSORFLOW = {
    "without the modules": {"_random_ops_util": None, "_gen_xla_ops": None},
    "without the function": {"_random_ops_util": types.SimpleNamespace()},
    "without the barrier": {"_gen_xla_ops": types.SimpleNamespace()},
    "with another barrier": {"_gen_xla_ops": types.SimpleNamespace(xla_optimization_barrier=lambda: None)},
    "with a barrier of one": {"_gen_xla_ops": types.SimpleNamespace(xla_optimization_barrier=lambda input: input[:1])},
}


@pytest.mark.parametrize("kind", ANOTHER_TENSORFLOW)
def test_random_numbers_come_slowly_where_tensorflow_is_another_one(kind, monkeypatch):
    def draw():
        @tf.function(jit_compile=True, autograph=False)
        def program():
            with tracing.quick_random_numbers():
                return tf.random.stateless_uniform((9,), (1, 2))

        return program().numpy().tolist()

    quick, stock = draw(), tracing._random_ops_util.get_key_counter_alg
    with monkeypatch.context() as patch:
        for name, stand_in in ANOTHER_TENSORFLOW[kind].items():
            patch.setattr(tracing, name, stand_in)
        assert draw() == quick
    assert tracing._random_ops_util.get_key_counter_alg is stock, "it was lent for a moment only"


@pytest.mark.slow
def test_a_keras_without_train_function_trains_by_its_own_loop(tiny_images, monkeypatch):
    """As a later one may be; that the loop is another one, the record's notes say."""
    settings = Training(epochs=2, learning_rate=0.01, batch_size=57)
    expected = train(new_learner(DROPOUT, settings, plain_fit=True), tiny_images).history
    monkeypatch.setattr("fmnist_mlp.training.compiled_epoch.FUNCTIONS_OF_FIT", ("renamed_function",))
    learner = new_learner(DROPOUT, settings)
    assert learner.plain_fit
    assert train(learner, tiny_images).history == expected


@pytest.mark.slow
def test_a_loss_that_goes_to_nan_is_an_error_that_names_the_epoch(tiny_images):
    settings = Training(epochs=5, optimizer="sgd", learning_rate=1000)
    with pytest.raises(TrainingDiverged, match=r"loss became (nan|inf) in epoch \d: .*learning_rate"):
        train(new_learner(DIVERGES, settings), tiny_images)

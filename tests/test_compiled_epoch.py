"""The compiled epoch against Keras's own `fit` on the same batches, and Keras's callbacks on top of it."""

import keras
import numpy as np
import pytest

from fmnist_mlp.data.split import epoch_order
from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.layers import BatchNormalization, Dense, Dropout, GaussianNoise, LayerNormalization
from fmnist_mlp.sweepfile.settings import Training
from fmnist_mlp.training import compiled_epoch, models
from fmnist_mlp.training.compiled_epoch import ResidentData
from fmnist_mlp.training.fit import TrainingDiverged, compile_model, restart, train

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "nadam", "lion")
STACKS = {
    "dense": [Dense(units=16, activation="relu"), Dense(units=8, activation="tanh")],
    "normalisation": [
        Dense(units=16, activation="relu"),
        BatchNormalization(),
        Dense(units=8, activation="gelu"),
        LayerNormalization(),
    ],
    "dropout": [
        Dense(units=16, activation="relu"),
        Dropout(rate=0.3),
        GaussianNoise(stddev=0.1),
        Dense(units=8, activation="relu"),
    ],
}
TRAIN, VALIDATION = np.arange(0, 171), np.arange(171, 203)  # 171 = 5 batches of 32 and one of 11
EPOCHS = 3
DIVERGES = [Dense(units=16, activation="linear"), Dense(units=16, activation="linear")]  # with sgd at 1000


@pytest.fixture
def float64():
    _compute_in("float64")
    yield
    _compute_in("float32")


def _compute_in(dtype):
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)  # Keras keeps the one that the first layer of the process was made with


def _model(layers, settings, seed=3):
    model = models.build_model(layers, (8, 8), 4, seed)
    compile_model(model, settings, len(TRAIN))
    return model


def _train(model, settings, images, seed=3, **options):
    x, y = images
    data = ResidentData(x, y, 4)
    return train(
        model, data, settings, seed=seed, train_indices=TRAIN, validation_indices=VALIDATION, **options
    ).history


def _reference(layers, settings, images, seed=3):
    """What anyone would write: Keras's `fit` on numpy arrays, an epoch at a time, in the order that a trial uses."""
    x, y = images
    model = _model(layers, settings, seed)
    history = {name: [] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    for epoch in range(settings.epochs):
        order = TRAIN[epoch_order(len(TRAIN), seed, epoch)]
        logs = model.fit(x[order], y[order], batch_size=settings.batch_size, shuffle=False, verbose=0).history
        val_loss, val_accuracy = model.evaluate(x[VALIDATION], y[VALIDATION], verbose=0)
        for name, value in zip(history, (logs["loss"][0], logs["accuracy"][0], val_loss, val_accuracy), strict=True):
            history[name].append(value)
    return model, history


def _agree(layers, settings, images, rtol):
    reference, expected = _reference(layers, settings, images)
    model = _model(layers, settings)
    history = _train(model, settings, images)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=rtol, err_msg=name)
    for ours, theirs in zip(model.variables, reference.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=rtol, atol=rtol, err_msg=ours.path)
    for ours, theirs in zip(model.optimizer.variables, reference.optimizer.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=rtol, atol=rtol, err_msg=ours.path)


@pytest.mark.parametrize("stack", STACKS)
def test_every_kind_of_stack_gives_the_numbers_of_plain_fit_in_float64(stack, tiny_images, float64):
    _agree(STACKS[stack], Training(epochs=EPOCHS, optimizer="adam", learning_rate=0.01), tiny_images, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_gives_the_numbers_of_plain_fit_in_float64(optimizer, stack, tiny_images, float64):
    settings = Training(epochs=EPOCHS, optimizer=optimizer, learning_rate=0.01, weight_decay=0.01)
    _agree(STACKS[stack], settings, tiny_images, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "cosine"},
        {"schedule": "cosine", "warmup_epochs": 1},
        {"schedule": "one_cycle"},
        {"warmup_epochs": 2},
        {"gradient_clip": 0.05},
        {"optimizer": "sgd", "momentum": 0.9},
        {"batch_size": 1},
        {"batch_size": 57},  # divides the 171 images: no short batch
        {"batch_size": 500},  # one short batch is all there is
    ],
    ids=str,
)
def test_every_setting_gives_the_numbers_of_plain_fit_in_float64(changes, tiny_images, float64):
    _agree(
        STACKS["dense"], Training(epochs=EPOCHS, learning_rate=0.01).model_copy(update=changes), tiny_images, rtol=1e-9
    )


@pytest.mark.slow
def test_float32_histories_agree_to_five_digits(tiny_images):
    """The same sums in another order: float32 keeps 7 digits a step, and three epochs of 6 steps lose at most two."""
    _agree(STACKS["dense"], Training(epochs=EPOCHS, learning_rate=0.01), tiny_images, rtol=1e-5)


@pytest.mark.slow
def test_label_smoothing_softens_training_targets_only(tiny_images, float64):
    """Against Keras's own `label_smoothing`: the same training, and a validation loss without it."""
    x, y = tiny_images
    settings = Training(epochs=2, learning_rate=0.01, label_smoothing=0.1)
    model = _model(STACKS["dense"], settings)
    history = _train(model, settings, tiny_images)

    reference = models.build_model(STACKS["dense"], (8, 8), 4, seed=3)
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
    compiled = _train(_model(STACKS["dropout"], settings), settings, tiny_images)
    plain = _train(_model(STACKS["dropout"], settings), settings, tiny_images, plain_fit=True)
    assert compiled.keys() == plain.keys()
    for name, values in plain.items():
        np.testing.assert_allclose(compiled[name], values, rtol=1e-9, err_msg=name)


@pytest.mark.slow
def test_a_restarted_model_trains_to_the_same_bits_as_a_new_one(tiny_images):
    # nadam, because one of its variables does not start at zero
    settings = Training(epochs=2, optimizer="nadam", learning_rate=0.01, schedule="cosine")
    layers = [*STACKS["dropout"], BatchNormalization()]
    x, y = tiny_images
    data = ResidentData(x, y, 4)
    arguments = {"train_indices": TRAIN, "validation_indices": VALIDATION}

    new = _model(layers, settings, seed=5)
    expected = train(new, data, settings, seed=5, **arguments).history

    used = _model(layers, settings, seed=4)
    train(used, data, settings, seed=4, **arguments)
    programs = used.compiled_epoch
    restart(used, models.build_model(layers, (8, 8), 4, seed=5))
    again = train(used, data, settings, seed=5, **arguments).history

    assert used.compiled_epoch is programs
    assert programs._train.experimental_get_tracing_count() == 1  # not compiled again
    assert again == expected
    for ours, theirs in zip(used.variables, new.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.slow
def test_dropout_draws_its_numbers_quickly_and_the_same(tiny_images, monkeypatch):
    """The barrier of `_quick_random_numbers` is there in this TensorFlow, is used, and changes no bit."""
    settings = Training(epochs=2, learning_rate=0.01)
    barriers = []
    stock = compiled_epoch._gen_xla_ops.xla_optimization_barrier
    monkeypatch.setattr(
        compiled_epoch._gen_xla_ops, "xla_optimization_barrier", lambda input: barriers.append(1) or stock(input=input)
    )
    quick = _train(_model(STACKS["dropout"], settings), settings, tiny_images)
    assert barriers
    monkeypatch.setattr(compiled_epoch, "_random_ops_util", None)
    assert _train(_model(STACKS["dropout"], settings), settings, tiny_images) == quick


@pytest.mark.slow
def test_seeds_give_different_weights_and_orders(tiny_images):
    settings = Training(epochs=1)
    histories = [_train(_model(STACKS["dense"], settings, seed), settings, tiny_images, seed) for seed in (0, 1)]
    assert histories[0]["loss"] != histories[1]["loss"]


def test_a_loss_that_goes_to_nan_is_an_error_that_names_the_epoch(tiny_images):
    settings = Training(epochs=5, optimizer="sgd", learning_rate=1000)
    with pytest.raises(TrainingDiverged, match=r"loss became (nan|inf) in epoch \d: .*learning_rate"):
        _train(_model(DIVERGES, settings), settings, tiny_images)


# ---- callbacks ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_keras_callbacks_work_unchanged(tiny_images, tmp_path):
    settings = Training(epochs=6, learning_rate=0.01)
    model = _model(STACKS["dense"], settings)
    callbacks = [
        keras.callbacks.TensorBoard(tmp_path / "logs", write_graph=True),
        keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=100),
        keras.callbacks.ModelCheckpoint(tmp_path / "model-{epoch}.keras"),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=100),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    history = _train(model, settings, tiny_images, callbacks=callbacks)
    # min_delta is out of reach: epoch 1 is the best, the rate is halved after epoch 2, training stops after epoch 3.
    assert len(history["loss"]) == 3
    assert history["learning_rate"] == pytest.approx([0.01, 0.01, 0.005])
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + 3
    assert {p.name for p in tmp_path.glob("model-*.keras")} == {"model-1.keras", "model-2.keras", "model-3.keras"}
    assert list((tmp_path / "logs").rglob("events.out.tfevents*"))
    restored = keras.models.load_model(tmp_path / "model-3.keras")
    x, _ = tiny_images
    np.testing.assert_array_equal(restored.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.slow
def test_learning_rate_scheduler_sets_the_rate_of_the_compiled_program(tiny_images):
    settings = Training(epochs=3, learning_rate=0.01)
    frozen = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.01 if epoch == 0 else 0.0)
    history = _train(_model(STACKS["dense"], settings), settings, tiny_images, callbacks=[frozen])
    assert history["val_loss"][0] == history["val_loss"][1] == history["val_loss"][2]
    assert history["learning_rate"] == pytest.approx([0.01, 0.0, 0.0])


@pytest.mark.slow
def test_terminate_on_nan_stops_the_epochs(tiny_images):
    settings = Training(epochs=5, optimizer="sgd", learning_rate=1000)
    seen = []
    counter = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    callbacks = [keras.callbacks.TerminateOnNaN(), counter]
    with pytest.raises(TrainingDiverged):
        _train(_model(DIVERGES, settings), settings, tiny_images, callbacks=callbacks)
    assert len(seen) < 5


class _ByBatches(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


class _Tolerant(_ByBatches):
    works_by_epoch = True


@pytest.mark.parametrize(
    ("callback", "reason"),
    [
        (lambda path: _ByBatches(), "on_train_batch_end"),
        (lambda path: keras.callbacks.LambdaCallback(on_train_batch_begin=print), "on_train_batch_begin"),
        (lambda path: keras.callbacks.TensorBoard(path, update_freq=10), "update_freq=10"),
        (lambda path: keras.callbacks.ModelCheckpoint(path / "m.keras", save_freq=100), "save_freq=100"),
    ],
)
def test_a_callback_that_lives_by_batches_is_refused(callback, reason, tiny_images, tmp_path):
    settings = Training(epochs=1)
    with pytest.raises(SweepError, match=rf"works by batches \({reason}\).*plain_fit=True"):
        _train(_model(STACKS["dense"], settings), settings, tiny_images, callbacks=[callback(tmp_path)])


@pytest.mark.slow
def test_a_callback_that_says_once_an_epoch_will_do_is_called_once_an_epoch(tiny_images):
    calls = []

    class Counter(_Tolerant):
        def on_train_batch_end(self, batch, logs=None):
            calls.append(batch)

    settings = Training(epochs=2)
    _train(_model(STACKS["dense"], settings), settings, tiny_images, callbacks=[Counter()])
    assert len(calls) == 2


@pytest.mark.slow
def test_plain_fit_takes_callbacks_that_live_by_batches(tiny_images):
    calls = []
    counter = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: calls.append(batch))
    settings = Training(epochs=1)
    _train(_model(STACKS["dense"], settings), settings, tiny_images, callbacks=[counter], plain_fit=True)
    assert len(calls) == 6

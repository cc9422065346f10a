"""A trial with preprocessing and augmentation: what its steps are fitted on, and the figures and model behind them."""

import dataclasses

import numpy as np
import pytest
from one_trial import BOTH, SWEEP, Asked, content, folder_of, run, run_first, source, tiny_trials, worker

from fmnist_mlp.data.source import load_data
from fmnist_mlp.data.split import stratified_split
from fmnist_mlp.engines.calls import Stopped
from fmnist_mlp.training import worker as worker_module
from fmnist_mlp.training.latency import LatencyTask, measure_latency

__all__ = ["source", "worker"]  # fixtures, used by name


@pytest.mark.slow
def test_the_exported_model_gives_the_figures_of_the_record_behind_its_steps(source, tmp_path):
    """Loaded by plain Keras and given raw images; parameters are those of the stack alone, on nine components."""
    import keras

    images = load_data(source)
    for number, text in enumerate((BOTH, BOTH.replace(", augment: {shift: 1, mixup: 0.4}", ""))):
        record = run_first(source, tmp_path / str(number), text)
        assert record.status == "done", record.error
        folder = folder_of(record, tmp_path / str(number))
        model = keras.models.load_model(folder / "model.keras")
        assert model.inputs[0].dtype == "float32"  # uint8 would cast images divided by 255 to 0 and 1
        probabilities = model.predict(images.x_test, batch_size=1000, verbose=0)
        assert record.metrics["test_accuracy"] == (probabilities.argmax(axis=1) == images.y_test).mean()
        assert record.metrics["val_loss"] == pytest.approx(record.history["val_loss"][-1], rel=1e-5)
        with np.load(folder / "predictions.npz") as predictions:
            np.testing.assert_array_equal(predictions["probabilities"], probabilities.astype(np.float16))
        assert record.params == 9 * 16 + 16 + 16 * 4 + 4
        assert record.flops == 2 * 64 + 9 * (2 * 64 + 1) + 16 * (2 * 9 + 1) + 4 * (2 * 16 + 1)


@pytest.mark.slow
def test_a_stopped_trial_with_fitted_steps_and_augmentation_goes_on_to_the_same_record(source, tmp_path):
    """As in a new process: nothing that the worker kept is left."""
    (one,) = tiny_trials(tmp_path, BOTH)
    expected = content(tmp_path / "whole", run(one, source, tmp_path / "whole"))
    with pytest.raises(Stopped):
        run(one, source, tmp_path / "halted", stop_after=2)
    worker_module.current().forget()
    assert content(tmp_path / "halted", run(one, source, tmp_path / "halted")) == expected


@pytest.mark.slow
def test_what_a_worker_keeps_of_other_seeds_and_stacks_changes_no_number(source, tmp_path):
    """Fitted steps are shared by the stacks of a seed, programs by the seeds of a stack; alone, each gives the same."""
    text = BOTH.replace("seeds: 1", "seeds: 2") + "  - name: other\n    layers: [5]\n    augment: null\n"
    trials = tiny_trials(tmp_path, text)
    together = [content(tmp_path / "together", run(one, source, tmp_path / "together")) for one in trials]
    assert len(worker_module.current()._fitted) == 2
    for one, expected in zip(trials, together, strict=True):
        worker_module.current().forget()
        assert content(tmp_path / "alone", run(one, source, tmp_path / "alone")) == expected


def test_steps_are_fitted_on_the_training_images_alone(source, tmp_path):
    """Other validation and test images: the same means, divisors and components."""
    images = load_data(source)
    (one,) = tiny_trials(tmp_path, BOTH)
    settings = one.architecture.training
    train_indices, validation_indices = stratified_split(images.y_train, 0.2, seed=0)
    x_train = images.x_train.copy()
    x_train[validation_indices] = 255 - x_train[validation_indices]
    others = dataclasses.replace(images, x_train=x_train, x_test=255 - images.x_test)
    x_other = images.x_train.copy()
    x_other[train_indices[0]] = 255 - x_other[train_indices[0]]

    def fitted(images):
        worker = worker_module.Worker({})
        maps = worker.preprocessing(images, settings, train_indices).maps
        return [array.tobytes() for step in maps for array in step.arrays]

    assert fitted(others) == fitted(images)
    assert fitted(dataclasses.replace(images, x_train=x_other)) != fitted(images)


@pytest.mark.slow
def test_the_number_of_components_behind_a_share_is_that_of_the_record(source, tmp_path):
    images = load_data(source)
    train_indices, _ = stratified_split(images.y_train, 0.2, seed=0)
    x = images.x_train[train_indices].reshape(len(train_indices), -1) / 255
    kept = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    components = int((np.cumsum(kept) / kept.sum() <= 0.5).sum()) + 1
    assert 1 < components < 64
    text = SWEEP.replace("epochs: 4", "epochs: 1, preprocess: {pca: 0.5}")
    assert run_first(source, tmp_path, text).params == components * 16 + 16 + 16 * 4 + 4


@pytest.mark.slow
def test_a_latency_is_that_of_the_model_with_its_steps(source, tmp_path, monkeypatch):
    from fmnist_mlp.training import models

    (one,) = tiny_trials(tmp_path, BOTH)
    run(one, source, tmp_path)  # starts this process as a worker
    timed = []
    stock = models.exported_model
    monkeypatch.setattr(models, "exported_model", lambda *arguments: timed.append(stock(*arguments)) or timed[-1])
    measure_latency(Asked(), LatencyTask("b" * 64, one.architecture, (8, 8), 4, tmp_path / "results"))
    assert [layer.name for layer in timed[0].layers][:4] == ["rescaling", "standardize_1", "pca_2_flatten", "pca_2"]

"""The same grid by other tuners, each around Keras's `fit`: rows of `compare.py`, one tuner a process.

    FASHION_MNIST_DIR=... python benchmarks/tuners.py optuna --split split.npz --output trials.json

- `kerastuner`: KerasTuner's GridSearch over stacks and seeds, one trial after the other.
- `optuna`: Optuna's GridSampler, one trial after the other.
- `ray`: Ray Tune's `grid_search`, a trial a core.

The models and images are those of `keras_fit.py`. None logs to TensorBoard; what a tuner writes by itself it writes.
"""

import json
import os
import tempfile
import time
from pathlib import Path

from keras_fit import Clock, build, keras, load_data, split
from measure import way_options


def main() -> None:
    options = way_options(__doc__, ["kerastuner", "optuna", "ray"])
    data = load_data(Path(os.environ["FASHION_MNIST_DIR"]))
    search = {"kerastuner": _kerastuner, "optuna": _optuna, "ray": _ray}[options.way]
    with tempfile.TemporaryDirectory() as folder:
        trials = search([((x / 255).astype("float32"), y) for x, y in data], options, folder)
    options.output.write_text(json.dumps(trials))


def _fit(model, stack: str, seed: int, images, options, callbacks=()):
    """Train and score one; what `compare.py` reads, and Keras's history."""
    started, clock = time.perf_counter(), Clock()
    (x_train, y_train), test = images
    training, validation = split(options.split, seed, len(x_train))
    history = model.fit(
        x_train[training],
        y_train[training],
        batch_size=32,
        epochs=options.epochs,
        validation_data=(x_train[validation], y_train[validation]),
        callbacks=[*callbacks, clock],
        verbose=0,
    )
    _, accuracy = model.evaluate(*test, verbose=0)
    seconds = time.perf_counter() - started
    trial = {"stack": stack, "seed": seed, "test_accuracy": accuracy, "epoch_seconds": clock.epoch_seconds}
    return trial | {"seconds": seconds}, history


def _kerastuner(images, options, folder: str) -> list[dict]:
    import keras_tuner

    trials = []

    class Model(keras_tuner.HyperModel):
        def build(self, hp):
            keras.utils.set_random_seed(hp.Int("seed", 0, options.seeds - 1))
            return build(hp.Choice("stack", options.stacks))

        def fit(self, hp, model, *args, callbacks=(), **kwargs):
            trial, history = _fit(model, hp.get("stack"), hp.get("seed"), images, options, callbacks)
            trials.append(trial)
            return history

    tuner = keras_tuner.GridSearch(Model(), "val_accuracy", directory=folder)
    tuner.search(verbose=0)
    return trials


def _optuna(images, options, folder: str) -> list[dict]:
    import optuna

    trials, grid = [], {"stack": options.stacks, "seed": [*range(options.seeds)]}

    def objective(trial) -> float:
        stack, seed = (trial.suggest_categorical(name, values) for name, values in grid.items())
        keras.utils.set_random_seed(seed)
        found, history = _fit(build(stack), stack, seed, images, options)
        trials.append(found)
        return history.history["val_accuracy"][-1]

    optuna.create_study(direction="maximize", sampler=optuna.samplers.GridSampler(grid)).optimize(objective)
    return trials


def _ray(images, options, folder: str) -> list[dict]:
    import ray
    from ray import tune

    def train(config: dict, images) -> None:
        keras.utils.set_random_seed(config["seed"])
        trial, _ = _fit(build(config["stack"]), **config, images=images, options=options)
        tune.report(trial)

    ray.init(include_dashboard=False, log_to_driver=False)
    grid = {"stack": tune.grid_search(options.stacks), "seed": tune.grid_search([*range(options.seeds)])}
    config = tune.RunConfig(storage_path=folder, verbose=0)
    found = tune.Tuner(tune.with_parameters(train, images=images), param_space=grid, run_config=config).fit()
    ray.shutdown()
    return [one.metrics for one in found]


if __name__ == "__main__":
    main()

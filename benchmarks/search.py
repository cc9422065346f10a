"""The search against what people would run instead, and against a search that trains every candidate whole.

    FASHION_MNIST_DIR=... python benchmarks/search.py peers [--limit 10000] [--search-seeds 0 1] [--fresh-seeds 10]
    FASHION_MNIST_DIR=... python benchmarks/search.py halving [--search-seeds 0 1 2]
    python benchmarks/search.py parent [--candidates 1000]

`peers`: the same space, images, epochs and cores for each: our search (100 candidates, three rungs), KerasTuner's
Hyperband (factor 3) and Optuna with Keras's `fit` (TPE, its successive halving as pruner, 100 trials). Both others
train one candidate at a time, by TensorFlow on all cores. Columns: epochs that all candidates were trained together;
seconds of the whole process; candidate-epochs a second; of these seconds those of epochs after a training's first, as
Keras and our records have them (the rest is starting, compiling, proposing, writing). The winner of each is then
trained by us with fresh seeds that nobody searched with, all in one sweep.

`halving`: our search with `stop_early` and without, the winners as above.

`parent`: milliseconds a candidate that proposing takes, with made-up results, TPE included.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import ROOT, clean_environment, describe_machine, markdown_table, run_measured, write_report

EPOCHS, BATCH_SIZE, CANDIDATES = 20, 32, 100
SPACE = """
  depth: {from: 1, to: 4}
  units: {from: 32, to: 512, log: true}
  dropout: {from: 0.0, to: 0.5}
  activation: [relu, gelu]
  optimizer: [adam, adamw]
  learning_rate: {from: 1e-4, to: 1e-2, log: true}
"""


def main() -> None:
    options = _options()
    options.measure(options)


# ---- our search ---------------------------------------------------------------------------------------------------


def _ours(folder: Path, options: argparse.Namespace, seed: int, stop_early: str) -> dict:
    """One search in a process of its own; what it cost, and its winner as a line of a sweep file."""
    text = f"""
name: search
limit: {options.limit}
seeds: 1
training: {{epochs: {EPOCHS}, batch_size: {BATCH_SIZE}}}
search:
  trials: {CANDIDATES}
  seed: {seed}
  stop_early: {stop_early}
  finalists: 1
{SPACE}"""
    file = folder / "search.yaml"
    file.write_text(text)
    run = _sweep(folder, file, options)
    rows = list(csv.DictReader((folder / "results/search/search.csv").open(newline="")))
    records = [json.loads(path.read_bytes()) for path in (folder / "results/_records").glob("*/record.json")]
    later = sum(sum(record["measured"]["epoch_seconds"][1:]) for record in records)
    (winner,) = (row for row in rows if row["finalist"] == "1")
    return {"seconds": run.seconds, "epochs": int(rows[-1]["epochs_so_far"]) + EPOCHS, "later": later, "winner": winner}


def _sweep(folder: Path, file: Path, options: argparse.Namespace):
    command = [sys.executable, str(ROOT / "sweep.py"), str(file), "--results-dir", str(folder / "results")]
    command += ["--logs-dir", str(folder / "logs"), *(["--jobs", str(options.jobs)] if options.jobs else [])]
    images = {"FASHION_MNIST_DIR": os.environ["FASHION_MNIST_DIR"]}  # no stand-in
    environment = clean_environment(programs=folder / "programs") | images
    return run_measured(command, environment, folder / "log")


def _entry(name: str, winner: dict) -> str:
    """A candidate as an architecture of a sweep file."""
    units = [int(width) for width in str(winner["units"]).split("-")]
    dropout = round(float(winner["dropout"]), 4)
    layers = [part for width in units for part in (str(width), *([f"{{Dropout: {dropout}}}"] if dropout else []))]
    return (
        f"  - {{name: {name}, layers: [{', '.join(layers)}], activation: {winner['activation']}, optimizer: "
        f"{winner['optimizer']}, learning_rate: {float(winner['learning_rate']):.6g}}}\n"
    )


def _retrain(folder: Path, entries: dict[str, dict], options: argparse.Namespace) -> dict[str, dict]:
    """The rows of a sweep that trains these winners with fresh seeds."""
    seeds = [*range(1000, 1000 + options.fresh_seeds)]
    text = f"name: winners\nlimit: {options.limit}\nseeds: {seeds}\n"
    text += f"training: {{epochs: {EPOCHS}, batch_size: {BATCH_SIZE}}}\narchitectures:\n"
    text += "".join(_entry(name, winner) for name, winner in entries.items())
    file = folder / "winners.yaml"
    file.write_text(text)
    _sweep(folder, file, options)
    return {row["architecture"]: row for row in csv.DictReader((folder / "results/winners/results.csv").open())}


# ---- peers --------------------------------------------------------------------------------------------------------


def _peers(options: argparse.Namespace) -> None:
    found, winners = [], {}
    with tempfile.TemporaryDirectory() as place:
        images = Path(place) / "images.npz"
        _write_images(images, options.limit)
        for seed in options.search_seeds:
            for way in ("ours", "kerastuner", "optuna"):
                folder = Path(place) / f"{way}-{seed}"
                folder.mkdir()
                if way == "ours":
                    one = _ours(folder, options, seed, "{rungs: 3, keep: 0.33}")
                else:
                    output = folder / "found.json"
                    command = [sys.executable, __file__, "one", way, str(images), str(seed), str(output)]
                    run = run_measured(command, clean_environment(), folder / "log", cwd=folder)
                    one = json.loads(output.read_text()) | {"seconds": run.seconds}
                found.append((way, seed, one))
                winners[f"{way}-{seed}"] = one["winner"]
                print(way, seed, json.dumps(one), file=sys.stderr, flush=True)
        rows = _retrain(Path(place), winners, options)
    header = ["search", "search seed", "candidate-epochs", "seconds", "a second", "in later epochs, s"]
    header += ["winner", "its val_accuracy, fresh seeds", "its test accuracy", "verdict"]
    table = []
    for way, seed, one in found:
        row, speed = rows[f"{way}-{seed}"], one["epochs"] / one["seconds"]
        cells = [way, str(seed), str(one["epochs"]), f"{one['seconds']:.0f}", f"{speed:.2f}", f"{one['later']:.0f}"]
        table.append([*cells, row["layers"], _with_spread(row, "val"), _with_spread(row, "test"), row["verdict"]])
    notes = [f"{options.limit:,} training images, {EPOCHS} epochs at most; winners: {options.fresh_seeds} fresh seeds."]
    write_report("Search", describe_machine(), markdown_table(header, table), notes, options.output)


def _with_spread(row: dict, part: str) -> str:
    return f"{float(row[f'{part}_accuracy']):.4f} ± {float(row[f'{part}_accuracy_std']):.4f}"


def _write_images(path: Path, limit: int) -> None:
    """The images and the split that our search trains on, for the others."""
    from fmnist_mlp.data.source import find_data, load_data
    from fmnist_mlp.data.split import limit_indices, stratified_split

    images = load_data(find_data("fashion_mnist", Path(os.environ["FASHION_MNIST_DIR"])))
    pool = limit_indices(images.y_train, limit)
    train, validation = stratified_split(images.y_train[pool], 0.2, 0)
    parts = {"train": pool[train], "val": pool[validation]}
    arrays = {f"x_{part}": (images.x_train[chosen] / 255).astype(np.float32) for part, chosen in parts.items()}
    np.savez(path, **arrays, **{f"y_{part}": images.y_train[chosen] for part, chosen in parts.items()})


def _one(options: argparse.Namespace) -> None:
    """A search by another tool, in this process; what it found goes into a file."""
    with np.load(options.images) as arrays:
        images = {name: arrays[name] for name in arrays.files}
    found = {"kerastuner": _kerastuner, "optuna": _optuna}[options.way](images, options.seed)
    Path(options.output).write_text(json.dumps(found))


def _build(values: dict):
    import keras

    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten()])
    for width in values["units"]:
        model.add(keras.layers.Dense(width, activation=values["activation"]))
        if values["dropout"]:
            model.add(keras.layers.Dropout(values["dropout"]))
    model.add(keras.layers.Dense(10))
    optimizers = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers[values["optimizer"]](values["learning_rate"]), loss, metrics=["accuracy"])
    return model


def _clock():
    import keras

    class Clock(keras.callbacks.Callback):
        epochs, later, begun = 0, 0.0, 0.0

        def on_epoch_begin(self, epoch, logs=None):
            self.begun, self.is_first = time.perf_counter(), not getattr(self.model, "has_begun", False)
            self.model.has_begun = True

        def on_epoch_end(self, epoch, logs=None):
            self.epochs += 1
            self.later += 0.0 if self.is_first else time.perf_counter() - self.begun

    return Clock()


def _kerastuner(images: dict, seed: int) -> dict:
    import keras
    import keras_tuner

    keras.utils.set_random_seed(seed)
    clock = _clock()

    def values_of(hp) -> dict:
        depth = hp.Int("depth", 1, 4)
        units = [hp.Int(f"units_{k}", 32, 512, sampling="log") for k in range(4)]
        return {
            "units": units[:depth],
            "dropout": hp.Float("dropout", 0.0, 0.5),
            "activation": hp.Choice("activation", ["relu", "gelu"]),
            "optimizer": hp.Choice("optimizer", ["adam", "adamw"]),
            "learning_rate": hp.Float("learning_rate", 1e-4, 1e-2, sampling="log"),
        }

    class Model(keras_tuner.HyperModel):
        def build(self, hp):
            return _build(values_of(hp))

        def fit(self, hp, model, *args, callbacks=(), **kwargs):
            # KerasTuner copies callbacks that are handed to `search`; this one is to count.
            return model.fit(*args, callbacks=[*callbacks, clock], **kwargs)

    tuner = keras_tuner.Hyperband(
        Model(), "val_accuracy", max_epochs=EPOCHS, factor=3, seed=seed, directory="tuner", overwrite=True
    )
    tuner.search(
        images["x_train"],
        images["y_train"],
        validation_data=(images["x_val"], images["y_val"]),
        batch_size=BATCH_SIZE,
        verbose=0,
    )
    winner = values_of(tuner.get_best_hyperparameters()[0])
    winner["units"] = "-".join(map(str, winner["units"]))
    return {"epochs": clock.epochs, "later": clock.later, "winner": winner}


def _optuna(images: dict, seed: int) -> dict:
    import keras
    import optuna

    keras.utils.set_random_seed(seed)
    clock = _clock()

    def objective(trial) -> float:
        depth = trial.suggest_int("depth", 1, 4)
        values = {
            "units": [trial.suggest_int(f"units_{k}", 32, 512, log=True) for k in range(depth)],
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "activation": trial.suggest_categorical("activation", ["relu", "gelu"]),
            "optimizer": trial.suggest_categorical("optimizer", ["adam", "adamw"]),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        }
        trial.set_user_attr("values", values | {"units": "-".join(map(str, values["units"]))})
        last = [0.0]

        class Report(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                last[0] = logs["val_accuracy"]
                trial.report(last[0], epoch + 1)
                if trial.should_prune():
                    raise optuna.TrialPruned

        _build(values).fit(
            images["x_train"],
            images["y_train"],
            validation_data=(images["x_val"], images["y_val"]),
            epochs=EPOCHS,
            batch_size=BATCH_SIZE,
            callbacks=[clock, Report()],
            verbose=0,
        )
        return last[0]

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3),
    )
    study.optimize(objective, n_trials=CANDIDATES)
    return {"epochs": clock.epochs, "later": clock.later, "winner": study.best_trial.user_attrs["values"]}


# ---- halving ------------------------------------------------------------------------------------------------------


def _halving(options: argparse.Namespace) -> None:
    found, winners = [], {}
    with tempfile.TemporaryDirectory() as place:
        for seed in options.search_seeds:
            for name, stop_early in (("halving", "{rungs: 3, keep: 0.33}"), ("whole", "false")):
                folder = Path(place) / f"{name}-{seed}"
                folder.mkdir()
                one = _ours(folder, options, seed, stop_early)
                found.append((name, seed, one))
                winners[f"{name}-{seed}"] = one["winner"]
                print(name, seed, json.dumps(one), file=sys.stderr, flush=True)
        rows = _retrain(Path(place), winners, options)
    header = ["search", "search seed", "candidate-epochs", "seconds", "winner", "val_accuracy, fresh seeds"]
    table = []
    for name, seed, one in found:
        row = rows[f"{name}-{seed}"]
        cells = [name, str(seed), str(one["epochs"]), f"{one['seconds']:.0f}", row["layers"], _with_spread(row, "val")]
        table.append(cells)
    notes = [f"{options.limit:,} training images, {EPOCHS} epochs; {options.fresh_seeds} fresh seeds a winner."]
    write_report("Halving", describe_machine(), markdown_table(header, table), notes, options.output)


# ---- the parent ---------------------------------------------------------------------------------------------------


def _parent(options: argparse.Namespace) -> None:
    from fmnist_mlp.results.record import Record
    from fmnist_mlp.results.search import SearchLog
    from fmnist_mlp.runner.search import propose_round
    from fmnist_mlp.sweepfile.read import load_sweep
    from fmnist_mlp.sweepfile.steps import count

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "search.yaml"
        file.write_text(f"training: {{epochs: {EPOCHS}}}\nsearch:\n  trials: {options.candidates}\n{SPACE}")
        sweep = load_sweep(file)
    log = SearchLog(sweep, {"data_identity": "none", "plain_fit": False}, lambda a: count((), a.layers, (28, 28), 10))
    records, rng, rows, began = {}, np.random.default_rng(0), [], time.perf_counter()
    while not (progress := log.progress(records)).is_over:
        if not progress.asked:
            propose_round(log, progress)
            done = sum(len(found) for found in log.proposed)
            if done % (options.candidates // 5) == 0:
                spent = 1000 * (time.perf_counter() - began) / done
                rows.append([f"{done:,}", f"{spent:.1f}"])
        for candidate, epochs in progress.asked:
            curve = (0.8 + 0.1 * rng.random(epochs)).tolist()
            records[candidate.trial.fingerprint] = Record.model_construct(
                status="only validated" if epochs == EPOCHS else "stopped early",
                history={"loss": curve, "val_accuracy": curve},
            )
    write_report("The parent", describe_machine(), markdown_table(["candidates", "ms each"], rows), [], options.output)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="peers|halving|parent")
    for name, measure, seeds in (("peers", _peers, [0, 1]), ("halving", _halving, [0, 1, 2])):
        verb = verbs.add_parser(name)
        verb.set_defaults(measure=measure)
        verb.add_argument("--limit", type=int, default=10_000, metavar="N", help="training images")
        verb.add_argument("--search-seeds", type=int, nargs="+", default=seeds, metavar="N")
        verb.add_argument("--fresh-seeds", type=int, default=10, metavar="N", help="of each winner")
        verb.add_argument("--jobs", type=int, metavar="N", help="workers of ours")
    parent = verbs.add_parser("parent")
    parent.set_defaults(measure=_parent)
    parent.add_argument("--candidates", type=int, default=1000, metavar="N")
    for verb in verbs.choices.values():
        verb.add_argument("--output", type=Path, metavar="FILE", help="write the report here too (Markdown)")
    one = verbs.add_parser("one")  # a process of `peers`
    one.set_defaults(measure=_one)
    for name, kind in (("way", str), ("images", Path), ("seed", int), ("output", Path)):
        one.add_argument(name, type=kind)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Keras's own `fit` with TensorBoard, as anyone would write it: what `compare.py` measures the sweep against.

    FASHION_MNIST_DIR=... python benchmarks/keras_fit.py --stacks 64-128-64-32 128-64 --epochs 20

It imports nothing of this project. Validation is the last fifth of the training images unless `--split` names a file
with the images to use; `compare.py` gives one, so that both sides train and validate on the same images.
"""

import argparse
import gzip
import json
import os
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras


def main():
    options = parse_options()
    (x_train, y_train), (x_test, y_test) = load_data(Path(os.environ["FASHION_MNIST_DIR"]))
    x_train, x_test = x_train.astype("float32") / 255, x_test.astype("float32") / 255
    trials = []
    for stack in options.stacks:
        for seed in range(options.seeds):
            started = time.perf_counter()
            train, validation = split(options.split, seed, len(x_train))
            keras.utils.set_random_seed(seed)
            model = build(stack, **compile_options(options))
            log_dir = str(options.logs / f"{stack}-seed-{seed}")
            clock = Clock()
            model.fit(
                x_train[train],
                y_train[train],
                batch_size=options.batch_size,
                epochs=options.epochs,
                validation_data=(x_train[validation], y_train[validation]),
                callbacks=[keras.callbacks.TensorBoard(log_dir=log_dir), clock],
                verbose="auto" if options.verbose is None else options.verbose,
            )
            test_loss, test_accuracy = model.evaluate(x_test, y_test, verbose=0)
            print(f"{stack} seed {seed}: test loss {test_loss:.4f}, test accuracy {test_accuracy:.4f}", flush=True)
            trials.append(
                {
                    "stack": stack,
                    "seed": seed,
                    "test_accuracy": test_accuracy,
                    "epoch_seconds": clock.epoch_seconds,
                    "seconds": time.perf_counter() - started,
                }
            )
    if options.output:
        options.output.write_text(json.dumps(trials))


def build(stack, **compile_options):
    """`64-32` as a compiled model."""
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten()])
    for units in stack.split("-"):
        model.add(keras.layers.Dense(int(units), activation="relu"))
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"], **compile_options)
    return model


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch, validation and TensorBoard included."""

    def on_train_begin(self, logs=None):
        self.epoch_seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.epoch_seconds.append(time.perf_counter() - self.started)


def load_data(folder):
    """`((x_train, y_train), (x_test, y_test))`, uint8, from IDX files, gzipped or not."""

    def read(name, header_bytes):
        path = folder / f"{name}.gz"
        content = gzip.decompress(path.read_bytes()) if path.exists() else (folder / name).read_bytes()
        return np.frombuffer(content, np.uint8, offset=header_bytes)

    return tuple(
        (read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 28, 28), read(f"{part}-labels-idx1-ubyte", 8))
        for part in ("train", "t10k")
    )


def split(path, seed, images):
    """Indices for training and for validation."""
    if path is None:
        return np.arange(images * 4 // 5), np.arange(images * 4 // 5, images)
    with np.load(path) as arrays:
        return arrays[f"train-{seed}"], arrays[f"validation-{seed}"]


def compile_options(options):
    """Nothing, unless asked for: what `compare.py` tries beside the plain way."""
    asked = {"steps_per_execution": options.steps_per_execution, "jit_compile": options.jit_compile or None}
    return {name: value for name, value in asked.items() if value is not None}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stacks", nargs="+", default=["64-128-64-32", "64-128-32", "64-32", "128-64"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps-per-execution", type=int)
    parser.add_argument("--jit-compile", action="store_true")
    parser.add_argument("--verbose", type=int, help="of fit; without it Keras's own choice, the progress bar")
    parser.add_argument("--split", type=Path, metavar="FILE", help=".npz with train-SEED and validation-SEED")
    parser.add_argument("--logs", type=Path, default=Path("logs/keras_fit"), metavar="DIR")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write clocks and accuracies here (JSON)")
    return parser.parse_args()


if __name__ == "__main__":
    main()

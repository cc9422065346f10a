"""Which loop for which layers: the compiled epoch beside Keras's plain fit, on one core, stack by stack.

    python benchmarks/loops.py [--images 6000] [--epochs 4] [--only conv] [--output loops.md]

Each stack is trained by `fmnist_mlp.training.train` three ways: one XLA program an epoch (`compiled`), Keras's own
loop with its step compiled by XLA (`plain, jit`), and without XLA (`plain`). Same images, same order, same weights to
begin with, so the last loss beside the clocks says whether it is the same work; without XLA, dropout and noise draw
other numbers. A fixed rule by layer types (`stacks.is_convolutional`) chooses between the first and the last; this
table is what it stands on. The fourth way, `fit`, is what users would write instead: `compile` with Keras's defaults
and `fit` on arrays, in an order of its own.

`--augment` measures instead what augmentation and preprocessing cost: one stack in the compiled epoch, the ways in
turns, so that what else the machine does falls on all of them.

`--random` measures instead what a random number costs inside an XLA program, by generator, and `--xla-flags` runs
either table under other flags: that is how the cost of dropout was traced to XLA's fusion of its generator.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import ROOT, clean_environment, describe_machine, markdown_table, write_report

from fmnist_mlp.data.source import DataSource, load_data
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.training import worker
from fmnist_mlp.training.fit import Course, Learner

# Names for the table's rows; the layers as a sweep file has them.
STACKS = {
    "dense small": "[64, 128, 64, 32]",
    "dense wide": "[1024, 1024]",
    "batch norm": "[128, BatchNormalization, 64, BatchNormalization]",
    "layer norm": "[128, LayerNormalization, 64, LayerNormalization]",
    "dropout": "[256, {Dropout: 0.3}, 128, {Dropout: 0.3}]",
    "dropout wide": "[1024, {Dropout: 0.3}, 1024, {Dropout: 0.3}]",
    "noise": "[{GaussianNoise: 0.1}, 128, {GaussianNoise: 0.1}]",
    "conv": "[{Conv2D: {filters: 16, kernel_size: 3}}, MaxPooling2D, {Conv2D: {filters: 32, kernel_size: 3}}, "
    "MaxPooling2D, 64]",
    "separable conv": "[{SeparableConv2D: {filters: 16, kernel_size: 3}}, MaxPooling2D, "
    "{SeparableConv2D: {filters: 32, kernel_size: 3}}, MaxPooling2D, 64]",
    "avg pooling": "[{AveragePooling2D: {pool_size: 2}}, 128, 64]",
    "max pooling": "[{MaxPooling2D: {pool_size: 2}}, 128, 64]",
    "global pool": "[128, {Reshape: [8, 8, 2]}, GlobalAveragePooling2D, 64]",
}
AUGMENTED = {
    "nothing": "{}",
    "flips": "{augment: {horizontal_flip: true, vertical_flip: true}}",
    "flip and shift": "{augment: {horizontal_flip: true, shift: 2}}",
    "flip, shift and erase": "{augment: {horizontal_flip: true, shift: 2, erase: 0.1}}",
    "flip, shift, erase and mixup": "{augment: {horizontal_flip: true, shift: 2, erase: 0.1, mixup: 0.2}}",
    "standardize": "{preprocess: standardize}",
    "pca": "{preprocess: {pca: 187}}",
    "pca behind flip and shift": "{preprocess: {pca: 187}, augment: {horizontal_flip: true, shift: 2}}",
}
# plain_fit, jit_compile; None is Keras alone.
LOOPS = {"compiled": (False, True), "plain, jit": (True, True), "plain": (True, False), "fit": None}
VALIDATION_IMAGES = 1000


def main() -> None:
    options = _options()
    if options.worker:
        measure = _random_numbers if options.random else _augmented if options.augment else _measure
        print(json.dumps(measure() if options.random else measure(json.loads(options.worker))))
        return
    stacks = [name for name in STACKS if not options.only or any(pattern in name for pattern in options.only)]
    environment = clean_environment(threads=1) | {"PYTHONPATH": str(ROOT)}
    if options.xla_flags:
        environment["XLA_FLAGS"] = options.xla_flags
    if options.random:
        rows = _run({}, environment, "--random")
        table = markdown_table(["random numbers in XLA", "compile seconds", "ns a number"], rows, left=1)
    elif options.augment:
        work = {"stack": "dense small", "images": options.images, "epochs": options.epochs}
        rows = _run(work, environment, "--augment")
        header = ["64-128-64-32 with", f"ms an epoch of {options.images:,}", "ratio"]
        table = markdown_table(header, rows, left=1)
    else:
        rows = []
        for stack in stacks:
            for loop in LOOPS:
                work = {"stack": stack, "loop": loop, "images": options.images, "epochs": options.epochs}
                got = _run(work, environment)
                per_epoch = 1000 * got["epoch_seconds"]
                rows.append([stack, loop, f"{got['first_seconds'] - got['epoch_seconds']:.2f}", f"{per_epoch:.0f}"])
                rows[-1] += [f"{per_epoch / got['steps']:.3f}", f"{got['loss']:.6f}"]
                print(f"{stack}, {loop}: {per_epoch:.0f} ms an epoch", file=sys.stderr, flush=True)
        header = ["stack", "loop", "compile seconds", f"ms an epoch of {options.images:,}", "ms a step", "last loss"]
        table = markdown_table(header, rows, left=2)
    notes = [f"One core, XLA_FLAGS={options.xla_flags or ''!r}; an epoch is the median after the first."]
    write_report("Loops", describe_machine(), table, notes, options.output)


def _run(work: dict, environment: dict[str, str], *more: str):
    """One process for each measurement: TensorFlow takes thread counts and flags once a process."""
    command = [sys.executable, __file__, "--worker", json.dumps(work), *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(work: dict) -> dict:
    # In the worker only: TensorFlow, and the package, which needs PYTHONPATH.
    import numpy as np

    from fmnist_mlp.training import models
    from fmnist_mlp.training.compiled_epoch import ResidentData

    worker.start_worker("cpu", threads=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loops.yaml"
        path.write_text(f"training: {{epochs: {work['epochs']}}}\narchitectures:\n  - {STACKS[work['stack']]}\n")
        architecture = load_sweep(path).architectures[0]
    images = load_data(DataSource("synthetic"))  # speed does not depend on what is on the images
    model = models.build_model(architecture.layers, images.image_shape, images.num_classes, seed=0)
    indices = np.arange(work["images"] + VALIDATION_IMAGES, dtype=np.int32)
    train, validation = indices[: work["images"]], indices[work["images"] :]
    if LOOPS[work["loop"]] is None:
        course = _fit(model, images, train, validation, work["epochs"])
    else:
        plain_fit, jit_compile = LOOPS[work["loop"]]
        learner = Learner(model, architecture.training, work["images"], plain_fit=plain_fit, jit_compile=jit_compile)
        data = ResidentData(images.x_train, images.y_train, images.num_classes)
        course = learner.train(data, seed=0, train_indices=train, validation_indices=validation)
    first, *rest = course.epoch_seconds
    return {
        "first_seconds": first,
        "epoch_seconds": float(np.median(rest)),
        "steps": -(-work["images"] // architecture.training.batch_size),
        "loss": course.history["loss"][-1],
    }


def _fit(model, images, train, validation, epochs: int):
    """Keras's own `fit` as its users call it."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.start)

    seconds: list[float] = []
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    history = model.fit(
        images.x_train[train],
        images.y_train[train],
        epochs=epochs,
        validation_data=(images.x_train[validation], images.y_train[validation]),
        verbose=0,
        callbacks=[Clock()],
    )
    return Course(history.history, seconds, best_epoch=None)


def _augmented(work: dict) -> list[list[str]]:
    """Milliseconds of an epoch in each way; one epoch of each in turn, again and again."""
    # In the worker only: TensorFlow, and the package, which needs PYTHONPATH.
    import numpy as np

    from fmnist_mlp.training import models, preprocess
    from fmnist_mlp.training.compiled_epoch import ResidentData

    worker.start_worker("cpu", threads=1)
    images = load_data(DataSource("synthetic"))  # speed does not depend on what is on the images
    repeats = -(-(work["images"] + VALIDATION_IMAGES) // len(images.x_train))
    x, y = np.tile(images.x_train, (repeats, 1, 1)), np.tile(images.y_train, repeats)
    indices = np.arange(work["images"] + VALIDATION_IMAGES, dtype=np.int32)
    train_indices, validation_indices = indices[: work["images"]], indices[work["images"] :]
    ways = {}
    for name, keys in AUGMENTED.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "loops.yaml"
            training_keys = keys.replace("{", "{epochs: 1, ", 1).replace(", }", "}")
            path.write_text(f"training: {training_keys}\narchitectures:\n  - {STACKS[work['stack']]}\n")
            architecture = load_sweep(path).architectures[0]
        settings, fitted, resident = architecture.training, None, ResidentData(x, y, images.num_classes)
        if settings.preprocess or settings.augment:
            fitted = preprocess.fit(settings.preprocess, x[train_indices[:5000]])
            resident = ResidentData(x, y, images.num_classes, fitted)
            if settings.augment is None:
                resident = ResidentData(fitted.transform(x), y, images.num_classes)
        model = models.build_model(architecture.layers, images.image_shape, images.num_classes, 0, fitted)
        ways[name] = Learner(model, settings, work["images"]), resident
    seconds = {name: [] for name in ways}
    for _ in range(work["epochs"]):
        for name, (learner, resident) in ways.items():
            parts = {"train_indices": train_indices, "validation_indices": validation_indices}
            seconds[name] += learner.train(resident, seed=0, **parts).epoch_seconds
    medians = {name: float(np.median(each[1:])) for name, each in seconds.items()}
    return [[name, f"{1000 * each:.0f}", f"{each / medians['nothing']:.2f}"] for name, each in medians.items()]


def _random_numbers() -> list[list[str]]:
    """What a number costs in a loop like the compiled epoch's, with each generator that TensorFlow offers."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    steps, shape = 1500, (32, 256)

    def uniform(x, seed, alg):
        return x + tf.random.stateless_uniform(shape, seed, alg=alg)

    def normal(x, seed, alg):
        return x + tf.random.stateless_normal(shape, seed, alg=alg)

    def dropout(x, seed, alg):  # as Keras's layer calls it, which leaves `rng_alg` at auto_select
        return tf.nn.experimental.stateless_dropout(x, 0.3, seed=seed, rng_alg=alg)

    rows = []
    for kind in (dropout, uniform, normal):
        for alg in ("auto_select", "philox", "threefry"):

            @tf.function(jit_compile=True, autograph=False)
            def program(x, kind=kind, alg=alg):
                def one_step(i, x):
                    return i + 1, kind(x, tf.stack([i, 7]), alg)

                return tf.while_loop(lambda i, x: i < steps, one_step, [tf.constant(0), x])[1]

            seconds = []
            for _ in range(4):
                start = time.perf_counter()
                program(tf.ones(shape)).numpy()
                seconds.append(time.perf_counter() - start)
            numbers = steps * shape[0] * shape[1]
            label = f"{kind.__name__}, {alg}"
            rows.append([label, f"{seconds[0] - min(seconds):.2f}", f"{1e9 * min(seconds) / numbers:.2f}"])
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6000, metavar="N", help="training images (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="default: %(default)s")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only stacks with TEXT in their name")
    parser.add_argument("--augment", action="store_true", help="what augmentation costs, instead of stacks")
    parser.add_argument("--random", action="store_true", help="what random numbers cost, instead of stacks")
    parser.add_argument("--xla-flags", metavar="FLAGS", help="XLA_FLAGS of the measured processes")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report here too (Markdown)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs: at least 2, because the first holds the compilation")
    return options


if __name__ == "__main__":
    os.chdir(ROOT)
    main()

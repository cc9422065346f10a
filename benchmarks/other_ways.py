"""The same trials without Keras, and their arithmetic alone: the lower rows of `compare.py`, one way a process.

    FASHION_MNIST_DIR=... python benchmarks/other_ways.py sklearn --split split.npz --output trials.json

- `sklearn`: scikit-learn's MLPClassifier, an epoch being one `partial_fit` of the shuffled training images and one
  `score` of the validation images; it logs nothing.
- `torch`: PyTorch's Sequential, Adam and cross entropy over tensors that stay in memory; it logs nothing.
- `torch-loader`: the same over a DataLoader, as its tutorials have it.
- `products`: the matrix products of an epoch alone, in numpy's BLAS: for each batch of 32 training images the forward
  products, the gradients of all weights and those of all inputs but the first layer's; for each 1,000 validation
  images the forward products. No bias, activation, loss, optimizer or shuffling.
- `peak`: GFLOP/s of large float32 products in BLAS, what this machine can do at best.
"""

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from measure import way_options

from fmnist_mlp.data.source import DataSource, load_data

BATCH_SIZE, VALIDATION_BATCH_SIZE = 32, 1000


def main() -> None:
    options = way_options(__doc__, ["sklearn", "torch", "torch-loader", "products", "peak"])
    if options.way == "peak":
        result = {"gflops": _peak_gflops()}
    elif options.way == "products":
        result = [_products(stack, options) for stack in options.stacks]
    else:
        train = {"sklearn": _sklearn, "torch": _torch, "torch-loader": _torch_loader}[options.way]
        images = _load_images(options.split)
        result = [
            _trial(train, stack, seed, images, options) for stack in options.stacks for seed in range(options.seeds)
        ]
    options.output.write_text(json.dumps(result))


def product_flops(units: list[int], train_images: int, validation_images: int) -> int:
    """Floating point operations of one epoch's matrix products, a multiply-add counting two.

    Args:
        units: inputs, then the units of each layer: `[784, 64, 32, 10]`.
    """
    weights = [inputs * outputs for inputs, outputs in pairwise(units)]
    forward, weight_gradients, input_gradients = sum(weights), sum(weights), sum(weights[1:])
    return 2 * (train_images * (forward + weight_gradients + input_gradients) + validation_images * forward)


def layer_units(stack: str) -> list[int]:
    """`64-32` -> `[784, 64, 32, 10]`."""
    return [784, *map(int, stack.split("-")), 10]


def _trial(train, stack: str, seed: int, images, options) -> dict:
    started, epoch_seconds = time.perf_counter(), []
    x_train, y_train, x_test, y_test, splits = images
    training, validation = splits[f"train-{seed}"], splits[f"validation-{seed}"]
    epochs = train(stack, seed, x_train[training], y_train[training], x_train[validation], y_train[validation])
    clock = time.perf_counter()
    for _ in range(options.epochs):
        score = next(epochs)
        epoch_seconds.append(time.perf_counter() - clock)
        clock = time.perf_counter()
    accuracy = float(score(x_test, y_test))
    seconds = time.perf_counter() - started
    return {"stack": stack, "seed": seed, "test_accuracy": accuracy, "epoch_seconds": epoch_seconds, "seconds": seconds}


def _sklearn(stack, seed, x, y, x_val, y_val):
    """Yields after each epoch a function that gives the accuracy on other images."""
    from sklearn.neural_network import MLPClassifier

    hidden = layer_units(stack)[1:-1]
    model = MLPClassifier(hidden, batch_size=BATCH_SIZE, alpha=0.0, random_state=seed)  # adam, relu, rate 1e-3
    while True:
        model.partial_fit(x, y, classes=np.arange(10))  # shuffles by itself
        model.score(x_val, y_val)
        yield model.score


def _torch(*work):
    """As `_sklearn`."""
    import torch

    return _torch_loop(*work, lambda x, y: ((x[i], y[i]) for i in torch.randperm(len(x)).split(BATCH_SIZE)))


def _torch_loader(*work):
    """As `_sklearn`."""
    from torch.utils.data import DataLoader, TensorDataset

    return _torch_loop(*work, lambda x, y: DataLoader(TensorDataset(x, y), BATCH_SIZE, shuffle=True))


def _torch_loop(stack, seed, x, y, x_val, y_val, batches):
    import torch

    torch.manual_seed(seed)
    units = layer_units(stack)
    layers = []
    for inputs, outputs in pairwise(units):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_of = torch.nn.CrossEntropyLoss()
    x, y, x_val, y_val = (torch.from_numpy(np.ascontiguousarray(a)) for a in (x, y.astype("int64"), x_val, y_val))

    def accuracy(x, y):
        with torch.no_grad():
            return (model(torch.as_tensor(x)).argmax(1) == torch.as_tensor(y)).float().mean().item()

    while True:
        for images, labels in batches(x, y):
            optimizer.zero_grad()
            loss_of(model(images), labels).backward()
            optimizer.step()
        accuracy(x_val, y_val)
        yield accuracy


def _products(stack: str, options) -> dict:
    """Seconds of an epoch's products, as often as there are epochs; the arrays hold random numbers."""
    units, rng = layer_units(stack), np.random.default_rng(0)
    with np.load(options.split) as splits:
        images, validation_images = len(splits["train-0"]), len(splits["validation-0"])
    x = rng.random((max(images, validation_images), units[0]), np.float32)  # (n, 784)
    layers = []
    for inputs, outputs in pairwise(units):
        weights, gradient = np.empty((2, inputs, outputs), np.float32)
        weights[:] = 1 / inputs
        layers.append((weights, gradient))

    def forward(batch, outputs):
        for (weights, _), out in zip(layers, outputs, strict=True):
            batch = np.matmul(batch, weights, out=out)

    def buffers(batch_size):
        return [np.ones((batch_size, size), np.float32) for size in units]

    _, *outputs = buffers(BATCH_SIZE)
    deltas = buffers(BATCH_SIZE)  # the loss's gradient by the input of each layer, and last by the logits
    _, *validation_outputs = buffers(VALIDATION_BATCH_SIZE)

    def epoch():
        for start in range(0, images - BATCH_SIZE + 1, BATCH_SIZE):
            batch = x[start : start + BATCH_SIZE]
            forward(batch, outputs)
            for i in range(len(layers) - 1, -1, -1):
                weights, gradient = layers[i]
                np.matmul((outputs[i - 1] if i else batch).T, deltas[i + 1], out=gradient)
                if i:
                    np.matmul(deltas[i + 1], weights.T, out=deltas[i])
        for start in range(0, validation_images - VALIDATION_BATCH_SIZE + 1, VALIDATION_BATCH_SIZE):
            forward(x[start : start + VALIDATION_BATCH_SIZE], validation_outputs)

    seconds = []
    for _ in range(max(2, min(options.epochs, 10))):
        start = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - start)
    return {"stack": stack, "epoch_seconds": seconds}


def _peak_gflops() -> float:
    """The best of a second and a half of large products: the clock rate moves, the best is what can be reached."""
    n = 2048
    a, b = np.random.default_rng(0).random((2, n, n), np.float32)
    out = np.empty_like(a)
    best, end = np.inf, time.perf_counter() + 1.5
    while time.perf_counter() < end or best == np.inf:
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best / 1e9


def _load_images(split: Path):
    images = load_data(DataSource("idx", Path(os.environ["FASHION_MNIST_DIR"])))
    x_train, x_test = (x.reshape(len(x), -1).astype("float32") / 255 for x in (images.x_train, images.x_test))
    return x_train, images.y_train, x_test, images.y_test, dict(np.load(split))


if __name__ == "__main__":
    main()

"""How long the exported model of an architecture takes, timed when nothing else runs."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_mlp.results.record import Latency
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.sweep import Architecture
from fmnist_mlp.training import preprocess, worker

_LATENCY_BATCH_SIZE = 1000

_LATENCY_CALLS, _LATENCY_BATCH_CALLS, _WARM_UP_CALLS = 100, 15, 5


@dataclass(frozen=True)
class LatencyTask:
    """What a worker needs to time an architecture; picklable. `key` is what the result is remembered by."""

    key: str
    architecture: Architecture
    image_shape: tuple[int, ...]
    num_classes: int
    results_root: Path


def measure_latency(context, task: "LatencyTask") -> Latency:
    """How long the exported model of an architecture takes for one image and for a thousand.

    The model is called as one compiled function (`tf.function`), as whoever serves it would; Keras's `predict` adds
    some 30 ms to each call. Its weights are untrained: they do not change the time. Behind a PCA whose number of
    components is open, `{pca: 0.95}`, it has the most that there can be, so that its latency is an upper limit.

    Returns:
        Medians of calls after a warm-up, in seconds, with the surroundings they were taken in.
    """
    import tensorflow as tf

    from fmnist_mlp.training import models

    architecture, preprocessing = task.architecture, None
    if architecture.training.preprocess:
        preprocessing = preprocess.unfitted(architecture.training.preprocess, task.image_shape)
    stack = models.build_model(architecture.layers, task.image_shape, task.num_classes, 0, preprocessing)
    model = models.exported_model(stack, preprocessing)
    # AutoGraph, for which there is nothing to do here, would leave a file in the temporary folder.
    call = tf.function(lambda images: model(images, training=False), autograph=False)

    def median_seconds(batch_size: int, calls: int) -> float:
        images = tf.zeros((batch_size, *task.image_shape), tf.uint8)
        seconds = []
        for _ in range(_WARM_UP_CALLS + calls):
            began = time.perf_counter()
            call(images).numpy()  # numpy waits for a GPU
            seconds.append(time.perf_counter() - began)
        return float(np.median(seconds[_WARM_UP_CALLS:]))

    latency = Latency(
        latency_seconds=median_seconds(1, _LATENCY_CALLS),
        latency_1000_seconds=median_seconds(_LATENCY_BATCH_SIZE, _LATENCY_BATCH_CALLS),
        environment=worker.current().environment,
    )
    Results(task.results_root).save_latency(task.key, latency)
    return latency

"""A worker: what of the shell reaches a trial, which GPU it has, what it keeps of the images it read."""

import multiprocessing

import pytest
from one_trial import tiny_trials, write_images

from fmnist_mlp.training import worker as worker_module


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("KERAS_BACKEND", "jax", "tensorflow"),
        ("KERAS_FLOATX", "float16", None),
        ("KERAS_HOME", "/somewhere", "untouched"),
        ("TF_ENABLE_ONEDNN_OPTS", "0", None),
        ("TF_DETERMINISTIC_OPS", "1", None),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", "--xla_cpu_prefer_vector_width=512"),
        ("OMP_NUM_THREADS", "64", "3"),
        ("MKL_NUM_THREADS", "64", "3"),
        ("OMP_PROC_BIND", "true", None),
        ("PATH", "/bin", "untouched"),
    ],
)
def test_what_the_shell_sets_behind_our_back_does_not_reach_a_trial(name, value, expected, monkeypatch):
    monkeypatch.setenv(name, value)
    environment = worker_module.worker_environment("auto", threads=3)
    assert environment.get(name, "untouched") == expected


@pytest.mark.slow
def test_a_worker_that_reads_its_first_images_keeps_what_it_is_about_to_compile(tmp_path):
    source, (one,) = write_images(tmp_path / "images"), tiny_trials(tmp_path)
    worker = worker_module.Worker({}, source)
    trainer = worker.trainer(one.architecture)
    images = worker.images(source)
    assert worker.trainer(one.architecture) is trainer
    assert worker.images(source) is images
    worker.images(write_images(tmp_path / "others", test_seed=2))
    assert worker.trainer(one.architecture) is not trainer, "it would keep the old images in memory"


@pytest.mark.parametrize(
    ("process", "gpus", "own"),
    [
        ("worker-0", ["a", "b"], ["a"]),
        ("worker-1", ["a", "b"], ["b"]),
        ("worker-2", ["a", "b"], ["a"]),
        ("worker-3", [], []),
        ("MainProcess", ["a", "b"], ["a"]),
    ],
)
def test_each_worker_has_a_gpu_of_its_own(process, gpus, own, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "name", process)
    assert worker_module._own_gpu(gpus) == own


@pytest.mark.parametrize(("device", "hidden"), [("cpu", True), ("gpu", False), ("auto", False)])
def test_a_worker_for_the_cpu_sees_no_gpu(device, hidden):
    assert (worker_module.worker_environment(device, 1).get("CUDA_VISIBLE_DEVICES") == "-1") == hidden

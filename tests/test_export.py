"""Exported models in every format against plain Keras, their card against its own words, and what must be refused.

Formats of the extra `export` are tested where its packages are installed and skipped with the reason elsewhere.
"""

import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sweeping import read_csv, state

from fmnist_mlp.cli.verbs import verbs
from fmnist_mlp.data.source import CLASS_NAMES, DataSource, load_data
from fmnist_mlp.errors import SweepError
from fmnist_mlp.files import seal
from fmnist_mlp.inference import export
from fmnist_mlp.inference.export import FORMATS, export_model
from fmnist_mlp.inference.finished import FinishedSweep
from fmnist_mlp.inference.predictor import Predictor, choose_model
from fmnist_mlp.sweepfile.layers import (
    AveragePooling2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GaussianNoise,
    MaxPooling2D,
    Reshape,
    SeparableConv2D,
)
from fmnist_mlp.training import models

SUFFIXES = {"keras": ".keras", "savedmodel": ".savedmodel", "onnx": ".onnx", "litert": ".tflite"}


def is_installed(name):
    return all(importlib.util.find_spec(module) for module in FORMATS[name].modules)


INSTALLED = [name for name in FORMATS if is_installed(name)]
EACH = [
    pytest.param(
        name, marks=pytest.mark.skipif(not is_installed(name), reason=f"needs {', '.join(FORMATS[name].modules)}")
    )
    for name in FORMATS
]


@pytest.fixture(scope="module")
def images():
    return load_data(DataSource("synthetic")).x_test


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """`large` in all the formats that can be had here."""
    folder = tmp_path_factory.mktemp("exported") / "new" / "large"
    return export_model(finished.results, "architectures", "large", folder, INSTALLED)


def leftovers(folder):
    return [path.name for path in folder.iterdir()]


# ---- formats ----


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_each_format_gives_what_keras_gives(name, exported, finished, images):
    import keras

    expected = keras.models.load_model(finished.model("large")).predict(images[:50], verbose=0)
    found = FORMATS[name].load(exported.folder / f"large{SUFFIXES[name]}")(images[:50])
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_each_format_takes_one_image_and_many(name, exported, images):
    run = FORMATS[name].load(exported.folder / f"large{SUFFIXES[name]}")
    many = run(images[:7])
    np.testing.assert_allclose(np.concatenate([run(images[i : i + 1]) for i in range(7)]), many, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_images_divided_by_255_are_understood_or_refused(name, exported, images):
    """Never cast to 0 and 1 in silence."""
    run = FORMATS[name].load(exported.folder / f"large{SUFFIXES[name]}")
    divided = (images[:20] / 255).astype(np.float32)
    if name in ("keras", "savedmodel"):
        np.testing.assert_allclose(run(divided), run(images[:20]), atol=1e-5)
        return
    with pytest.raises(Exception, match=r"(?i)uint8|type"):
        run(divided)


READS_NAMES = {
    "keras": lambda file: json.loads(zipfile.ZipFile(file).read("class_names.json")),
    "savedmodel": lambda file: json.loads((file / "assets.extra" / "class_names.json").read_text()),
    "onnx": lambda file: json.loads(
        __import__("onnxruntime").InferenceSession(file).get_modelmeta().custom_metadata_map["class_names"]
    ),
    "litert": lambda file: zipfile.ZipFile(file).read("labels.txt").decode().splitlines(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_each_file_carries_the_names_of_its_classes(name, exported):
    """Read without our code."""
    assert READS_NAMES[name](exported.folder / f"large{SUFFIXES[name]}") == [*CLASS_NAMES]


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_the_snippet_of_the_card_runs_where_the_card_lies(name, exported):
    card = (exported.folder / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    (snippet,) = [code for code in snippets if f"large{SUFFIXES[name]}" in code]
    check = "\nassert probabilities.shape == (1, 10)\nassert abs(probabilities.sum() - 1) < 1e-5\n"
    done = subprocess.run(
        [sys.executable, "-c", snippet + check], cwd=exported.folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "fmnist_mlp" not in snippet


@pytest.mark.slow
def test_all_test_images_are_compared_with_the_record(exported, finished, images):
    record = FinishedSweep(finished.results).record("large")
    with np.load(finished.results / "_records" / record.fingerprint / "predictions.npz") as arrays:
        stored = arrays["probabilities"].astype(np.float32)
    direct = Predictor(finished.model("large")).probabilities(images)
    assert [check.file for check in exported.checks] == [f"large{SUFFIXES[name]}" for name in INSTALLED]
    for check in exported.checks:
        assert check.images == len(images) == 2000
        assert check.largest_difference == pytest.approx(np.abs(direct - stored).max(), abs=2e-6)
        assert 0 < check.largest_difference <= 2**-12  # float16 rounds by half of 2**-11 at most, just below 1
        assert check.changed == 0


@pytest.mark.slow
def test_the_keras_file_is_the_models_own_byte_for_byte(exported, finished):
    assert (exported.folder / "large.keras").read_bytes() == finished.model("large").read_bytes()


@pytest.mark.slow
def test_predict_finds_the_names_of_an_exported_models_classes(exported, tmp_path):
    moved = shutil.copytree(exported.folder, tmp_path / "elsewhere")
    chosen = choose_model(tmp_path / "nothing", wanted=str(moved / "large.keras"))
    assert chosen.class_names == CLASS_NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_layers_of_all_kinds_can_be_had_in_each_format(name, tmp_path, images):
    """Every layer but GELU, which tf2onnx 1.17 does not know, keeps its predictions."""
    from fmnist_mlp.sweepfile import layers as stacks

    stack = [
        Reshape(target_shape=(28, 28, 1)),
        Conv2D(filters=3, kernel_size=3),
        MaxPooling2D(pool_size=2),
        SeparableConv2D(filters=3, kernel_size=3),
        DepthwiseConv2D(kernel_size=3),
        AveragePooling2D(pool_size=2),
        Flatten(),
        Dense(units=8),
        *[getattr(stacks, layer)() for layer in ("BatchNormalization", "LayerNormalization")],
        *[getattr(stacks, layer)() for layer in ("LeakyReLU", "PReLU", "ELU")],
        Dropout(rate=0.5),
        GaussianNoise(stddev=0.5),
    ]
    model = models.exported_model(models.build_model(stack, (28, 28), 10, seed=0))
    models.save(models.as_saved(model), tmp_path / "all.keras")
    path = tmp_path / f"converted{SUFFIXES[name]}"
    with export._silence():
        FORMATS[name].write(tmp_path / "all.keras", path, CLASS_NAMES)
    expected = model(images[:20], training=False).numpy()
    np.testing.assert_allclose(FORMATS[name].load(path)(images[:20]), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_steps_that_were_fitted_before_the_training_are_kept_by_each_format(name, tmp_path, images):
    import keras

    mean, variance = images.mean(axis=0) / 255, images.var(axis=0) / 255**2 + 0.01
    layers = [keras.Input((28, 28), dtype="uint8", name="image"), keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Normalization((1, 2), mean.tolist(), variance.tolist()), keras.layers.Flatten()]
    layers += [keras.layers.Dense(5, trainable=False), keras.layers.Dense(10), keras.layers.Softmax()]
    model = keras.Sequential(layers)
    models.save(models.as_saved(model), tmp_path / "fitted.keras")
    path = tmp_path / f"converted{SUFFIXES[name]}"
    with export._silence():
        FORMATS[name].write(tmp_path / "fitted.keras", path, CLASS_NAMES)
    kernels = [layer.get_weights() for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    x = ((images[:20] / 255 - mean) / np.sqrt(variance)).reshape(20, 784)
    for kernel, bias in kernels:
        x = x @ kernel + bias
    expected = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(FORMATS[name].load(path)(images[:20]), expected, atol=1e-5)


# ---- the card ----


@pytest.mark.slow
def test_the_card_says_what_the_table_and_the_record_say(exported, finished):
    card = (exported.folder / "README.md").read_text()
    (row,) = [r for r in read_csv(finished.results / "architectures" / "results.csv") if r["architecture"] == "large"]
    record = FinishedSweep(finished.results).record("large")
    lines = {line.split("|")[1].strip(): line for line in card.splitlines() if line.startswith("| ")}
    accuracy, low, high = (float(row[f"test_accuracy{suffix}"]) for suffix in ("", "_ci95_low", "_ci95_high"))
    assert lines["test_accuracy"] == (
        f"| test_accuracy | {record.metrics['test_accuracy']:.4f} | "
        f"{accuracy:.4f} ± {float(row['test_accuracy_std']):.4f} | {low:.4f} to {high:.4f} |"
    )
    for expected in [
        "**Not Fashion-MNIST**: the generated stand-in",
        record.settings["data"],
        record.fingerprint,
        "2. Dense units=32 activation=relu use_bias=True\n3. Dense units=10, softmax",
        "25,450 parameters",
        "the best of 2 trials by validation",
        "Verdict on the architecture in the sweep architectures: best.",
        "The best, large, was chosen by these very trials, so its test accuracy is a little too good",
        "| seed | 1 |",
        "| tensorflow | 2.21.0 |",
        "| Ankle boot | 0.500 | 0.500 | 0.500 |",
        "checked on 2,000 test images",
    ]:
        assert expected in card
    assert "None |" not in card


def test_the_card_of_a_worse_architecture_says_so(finished, tmp_path):
    export_model(finished.results, "architectures", "small", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "worse by 0.0300 (0.0100 to 0.0500)" in card
    assert "after selection" not in card


@pytest.mark.slow
def test_a_card_can_be_had_without_the_files_for_people(finished, exported, tmp_path):
    shutil.copytree(finished.results, tmp_path / "results")
    for path in (tmp_path / "results" / "architectures").glob("*.csv"):
        path.unlink()
    shutil.rmtree(tmp_path / "results" / "architectures" / "models")
    export_model(tmp_path / "results", "architectures", "large", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.split("## Files")[0] == (exported.folder / "README.md").read_text().split("## Files")[0]
    assert (tmp_path / "out" / "large.keras").read_bytes() == finished.model("large").read_bytes()


# ---- what is refused ----


@pytest.mark.parametrize("where", ["file", "folder that is not empty"])
def test_nothing_of_the_users_is_overwritten(where, finished, tmp_path):
    target = tmp_path / "target"
    mine = target if where == "file" else target / "README.md"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    before = state(tmp_path)
    with pytest.raises(SweepError, match=r"give a new or empty folder"):
        export_model(finished.results, "architectures", "small", target)
    assert state(tmp_path) == before


def test_an_empty_folder_is_filled(finished, tmp_path):
    export_model(finished.results, "architectures", "small", tmp_path)
    assert sorted(leftovers(tmp_path)) == ["README.md", "classes.json", "small.keras"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda probabilities: probabilities + np.float32(0.002), r"differ by up to 0\.002\d, 0\.001 is allowed"),
        (lambda probabilities: probabilities * np.float32("nan"), "differ by up to nan"),
        (lambda probabilities: probabilities[:, :9], r"gives \(2000, 9\) instead of \(2000, 10\)"),
    ],
    ids=["shifted", "not numbers", "a class is missing"],
)
def test_a_format_that_predicts_something_else_is_refused_and_nothing_stays(
    change, message, finished, tmp_path, monkeypatch
):
    honest = FORMATS["savedmodel"]

    def load(path):
        run = honest.load(path)
        return lambda images: change(run(images))

    dishonest = dataclasses.replace(honest, load=load)
    monkeypatch.setattr(export, "FORMATS", {**FORMATS, "savedmodel": dishonest})
    with pytest.raises(SweepError, match=message):
        export_model(finished.results, "architectures", "small", tmp_path / "out", ("keras", "savedmodel"))
    assert leftovers(tmp_path) == []


def test_a_model_that_is_not_the_records_is_refused(finished, tmp_path):
    """The record's predictions were made by another model: all the same, this model's files are not vouched for."""
    results = tmp_path / "results"
    shutil.copytree(finished.results, results)
    sweep = FinishedSweep(results)
    small, large = (results / "_records" / sweep.record(name).fingerprint for name in ("small", "large"))
    shutil.copyfile(large / "predictions.npz", small / "predictions.npz")
    seal(small)
    with pytest.raises(SweepError, match="predicts something else than its record"):
        export_model(results, "architectures", "small", tmp_path / "out")
    assert leftovers(tmp_path) == ["results"]


def test_what_cannot_be_checked_is_refused(finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished.results, results)
    record = results / "_records" / FinishedSweep(results).record("small").fingerprint
    predictions = record / "predictions.npz"
    content = predictions.read_bytes()
    predictions.write_bytes(content[: len(content) // 2])
    with pytest.raises(SweepError, match=r"predictions\.npz: is damaged or was edited.*: run python sweep\.py again"):
        export_model(results, "architectures", "small", tmp_path / "out")
    np.savez(predictions, probabilities=np.zeros((5, 10), np.float16), predicted=np.zeros(5, np.uint8))
    seal(record)
    with pytest.raises(SweepError, match="predictions of other test images"):
        export_model(results, "architectures", "small", tmp_path / "out")
    shutil.rmtree(record)
    with pytest.raises(SweepError, match="no record has this model, so it cannot be checked"):
        export_model(results, "architectures", "small", tmp_path / "out")
    assert leftovers(tmp_path) == ["results"]


def test_images_that_are_not_those_of_the_record_are_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("fmnist_mlp.data.source._synthetic_identity", lambda: "0" * 64)
    with pytest.raises(SweepError, match="are not those that architectures was trained on"):
        export_model(finished.results, "architectures", "small", tmp_path / "out")


def test_a_record_of_a_gpu_is_held_to_what_a_gpu_computes(finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished.results, results)
    record = FinishedSweep(results).record("small")
    folder = results / "_records" / record.fingerprint
    with np.load(folder / "predictions.npz") as arrays:
        kept = dict(arrays)
    kept["probabilities"] = kept["probabilities"] + np.float16(0.004)
    np.savez(folder / "predictions.npz", **kept)
    seal(folder)
    with pytest.raises(SweepError, match=r"0\.001 is allowed"):
        export_model(results, "architectures", "small", tmp_path / "out")
    content = json.loads((folder / "record.json").read_text())
    content["environment"]["device"] = "gpu: Something"
    (folder / "record.json").write_text(json.dumps(content))
    seal(folder)
    (check,) = export_model(results, "architectures", "small", tmp_path / "out").checks
    assert check.tolerance == 0.01


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_a_missing_extra_is_one_line_with_the_remedy(name, finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    arguments = ["export", "small", "--to", str(tmp_path / "out"), "--format", name, "--results-dir"]
    assert verbs([*arguments, str(finished.results)]) == 2
    printed = capsys.readouterr()
    assert printed.err.endswith(": pip install '.[export]' in the project's folder\n")
    assert (printed.err.count("\n"), printed.out) == (1, "")
    assert leftovers(tmp_path) == []


def test_a_converter_that_fails_is_one_line_and_nothing_stays(finished, tmp_path, monkeypatch):
    def fail(model_path, path, names):
        path.write_text("half")
        raise ValueError("no such\nlayer")

    broken = export.Format("Broken", ".broken", fail, None, "", "")
    monkeypatch.setattr(export, "FORMATS", {"broken": broken})
    with pytest.raises(SweepError, match="small cannot be had as Broken, choose another format: no such layer"):
        export_model(finished.results, "architectures", "small", tmp_path / "out", ("broken",))
    assert leftovers(tmp_path) == []


# ---- the command ----


@pytest.mark.slow
def test_the_command_says_what_was_checked_and_where_the_card_lies(finished, tmp_path, capsys):
    arguments = ["export", "small", "--to", str(tmp_path / "out"), "--format", "keras", "savedmodel", "keras"]
    assert verbs([*arguments, "--results-dir", str(finished.results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        f"{tmp_path}/out/small.keras",
        f"{tmp_path}/out/small.savedmodel",
        "how to load it",
    ]
    assert "checked on 2,000 test images: probabilities within 0.000" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no exported model 'nothing' in "),
        (["../small"], "no exported model '../small' in "),
        (["small", "--sweep", "other"], "no results of a sweep 'other' in "),
    ],
)
def test_the_command_names_what_there_is(arguments, message, finished, tmp_path, capsys):
    options = ["--to", str(tmp_path / "out"), "--results-dir", str(finished.results)]
    assert verbs(["export", *arguments, *options]) == 2
    assert capsys.readouterr().err.startswith(message)
    assert leftovers(tmp_path) == []

"""The models of a sweep: which is taken, what it says of an image, and the command that says it of pictures."""

import json
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import sweeping
from predicting import STAND_IN, draw_garment, finished_sweep, png_header, truncated
from sweeping import read_csv

from fmnist_mlp import files
from fmnist_mlp.cli.verbs import verbs
from fmnist_mlp.data.class_names import ENTRY, with_class_names
from fmnist_mlp.data.npz import write_npz
from fmnist_mlp.data.source import CLASS_NAMES, DataSource, load_data
from fmnist_mlp.errors import SweepError
from fmnist_mlp.inference.finished import CLASSES_FILE, FinishedSweep
from fmnist_mlp.inference.pictures import load_image
from fmnist_mlp.inference.predictor import Predictor, choose_model
from fmnist_mlp.sweepfile.sweep import Overrides
from fmnist_mlp.sweepfile.trials import list_trials

# ---- which model ----


@pytest.fixture
def results(finished, tmp_path):
    """A copy of the results to edit and damage."""
    shutil.copytree(finished.results, tmp_path / "results")
    shutil.copy(finished.folder / "architectures.yaml", tmp_path)
    return tmp_path / "results"


def change_model(path):
    """As one who trains it on and saves it where it lies."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            # Keras drops what it does not know, as it saves.
            if name == ENTRY:
                continue
            archive.writestr(name, content[:-1] + b"~" if name.endswith(".h5") else content)


def record_of(results, name):
    return results / "_records" / FinishedSweep(results).record(name).fingerprint


def test_the_best_model_is_taken_unless_another_is_named(finished):
    assert choose_model(finished.results).name == "large"
    chosen = choose_model(finished.results, wanted="small")
    assert (chosen.name, chosen.path) == ("small", record_of(finished.results, "small") / "model.keras")
    assert chosen.class_names == CLASS_NAMES
    assert FinishedSweep(finished.results).record("large").settings["seed"] == 1, "the better of two"


def as_a_spreadsheet_saves(path):
    path.write_text("\ufeff" + path.read_text("utf-8").replace(",", ";"), "utf-8")


def with_another_best(path):
    path.write_text(path.read_text().replace(",worse,", ",BEST,").replace(",best,", ",worse,").replace("BEST", "best"))


EDITED = {
    "saved by a spreadsheet": as_a_spreadsheet_saves,
    "another best": with_another_best,
    "names swapped": lambda path: path.write_text(
        re.sub("(?m)^small", "LARGE", path.read_text()).replace("large", "small").replace("LARGE", "large")
    ),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "empty": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "not to be opened": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("edit", EDITED)
def test_files_for_people_decide_nothing(edit, finished, results):
    before = FinishedSweep(finished.results)
    for name in ("results.csv", "trials.csv"):
        EDITED[edit](results / "architectures" / name)
    after = FinishedSweep(results)
    assert (after.best(), after.model_names(), after.rows()) == ("large", ["small", "large"], before.rows())
    for name in ("small", "large"):
        assert after.record(name) == before.record(name)
        assert choose_model(results, wanted=name).path == record_of(results, name) / "model.keras"


SWEEP_FILES = {
    "as it was": lambda path: None,
    "gone": lambda path: path.unlink(),
    "with mistakes": lambda path: path.write_text("architectures: [[0]]"),
    "with another stack": lambda path: path.write_text(path.read_text() + "  - [64]\n"),
}


@pytest.mark.parametrize("sweep_file", SWEEP_FILES)
def test_a_finished_sweep_needs_neither_its_file_nor_its_images(sweep_file, finished, results, monkeypatch):
    monkeypatch.setattr(
        "fmnist_mlp.inference.finished.find_data", lambda *arguments, **options: pytest.fail("looked for images")
    )
    SWEEP_FILES[sweep_file](results.parent / "architectures.yaml")
    chosen = choose_model(results)
    assert (chosen.name, chosen.class_names) == ("large", CLASS_NAMES)
    assert FinishedSweep(results).rows() == FinishedSweep(finished.results).rows()


LOST = {
    "deleted": lambda path: path.unlink(),
    "with its folder": lambda path: shutil.rmtree(path.parent),
    "one digit": lambda path: path.write_text(path.read_text().replace("0.6", "0.9", 1)),
    "of an earlier version": lambda path: path.write_text('{"key": "0", "rows": [], "hash": "0"}'),
}


@pytest.mark.parametrize("loss", LOST)
@pytest.mark.parametrize("sweep_file", ["as it was", "with another stack"])
def test_where_the_memory_is_lost_the_records_decide_again(loss, sweep_file, finished, results, monkeypatch):
    monkeypatch.setattr(
        "fmnist_mlp.inference.finished.find_data", lambda *arguments, **options: pytest.fail("looked for images")
    )
    LOST[loss](results / "architectures" / "_comparison.json")
    SWEEP_FILES[sweep_file](results.parent / "architectures.yaml")
    before, after = FinishedSweep(finished.results), FinishedSweep(results)
    assert (after.best(), after.model_names()) == ("large", ["small", "large"])
    assert [after.record(name) for name in ("small", "large")] == [before.record(name) for name in ("small", "large")]
    decided = ("architecture", "params", "test_accuracy", "trials", "pareto")
    kept = {row["architecture"]: [row[name] for name in decided] for row in after.rows()}
    assert all(kept[row["architecture"]] == [row[name] for name in decided] for row in before.rows())


@pytest.mark.parametrize("sweep_file", ["gone", "with mistakes"])
def test_where_all_memory_is_lost_nothing_is_guessed(sweep_file, results):
    (results / "architectures" / "_comparison.json").unlink()
    SWEEP_FILES[sweep_file](results.parent / "architectures.yaml")
    with pytest.raises(
        SweepError, match=r"architectures remembered is missing or damaged .* run python sweep\.py again"
    ):
        choose_model(results)
    (results / "_sweeps" / "architectures.json").unlink()
    with pytest.raises(SweepError, match=r"which model is the best is not known.*: run python .* one of large, small"):
        choose_model(results)


@pytest.mark.parametrize("change", ["deleted", "swapped", "fine-tuned"])
def test_the_model_is_the_records_whatever_lies_under_its_name(change, finished, results):
    small, large = (results / "architectures" / "models" / f"{name}.keras" for name in ("small", "large"))
    if change == "deleted":
        shutil.rmtree(large.parent)
    else:
        shutil.copyfile(small if change == "swapped" else finished.model("large"), large)
        change_model(large) if change == "fine-tuned" else None
    chosen = choose_model(results)
    kept = record_of(finished.results, "large") / "model.keras"
    assert (chosen.name, chosen.path.read_bytes()) == ("large", kept.read_bytes())
    said = [line for line in chosen.caveats if "is no longer the model that the sweep exported" in line]
    assert len(said) == (change != "deleted")
    assert FinishedSweep(results).model_names() == ["small", "large"]


@pytest.mark.parametrize("name", ["model.keras", "record.json", "SHA256SUMS"])
def test_a_damaged_record_is_said_with_what_to_do(name, results):
    path = record_of(results, "large") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(SweepError, match=rf"{path.parent}.*: run python sweep\.py again, which trains large anew"):
        choose_model(results)
    assert choose_model(results, wanted="small").name == "small"


def test_a_model_whose_record_is_gone_is_used_as_one_that_nobody_vouches_for(results):
    shutil.rmtree(record_of(results, "large"))
    chosen = choose_model(results)
    assert (chosen.name, chosen.path) == ("large", results / "architectures" / "models" / "large.keras")
    assert chosen.class_names == ()
    assert "nothing vouches for it" in chosen.caveats[0]
    chosen.path.unlink()
    with pytest.raises(SweepError, match=r"the model of large is gone, and its record too: run python sweep\.py again"):
        choose_model(results)


def test_a_model_of_ones_own_among_the_exported_can_be_named_and_is_never_the_best(results):
    models = results / "architectures" / "models"
    shutil.copyfile(models / "small.keras", models / "a-mine.keras")
    assert FinishedSweep(results).model_names() == ["small", "large", "a-mine"]
    assert choose_model(results).name == "large"
    chosen = choose_model(results, wanted="a-mine")
    assert (chosen.path, len(chosen.caveats)) == (models / "a-mine.keras", 1)


@pytest.mark.parametrize("kind", ["idx", "npz"])
@pytest.mark.parametrize("recorded", ["idx:tiny", "npz:mine", "fashion_mnist"])
def test_images_of_ones_own_are_found_without_the_sweep_file(kind, recorded, tmp_path):
    """Whatever the same images were called when the record was made."""
    from one_trial import write_images

    write_images(tmp_path / "images")
    images = load_data(DataSource("idx", tmp_path / "images"))
    identity = images.identity
    if kind == "npz":
        shutil.rmtree(tmp_path / "images")
        written = write_npz(tmp_path, images.x_train, images.y_train, images.x_test, images.y_test)
        written.rename(tmp_path / "images")
    made = sweeping.Made(tmp_path, f"dataset: {{{kind}: images}}\n" + sweeping.SMALL)
    made.plan = list_trials(made.sweep, data_identity=identity)
    for trial in made.plan:
        made.put(made.record(trial).model_copy(update={"dataset": recorded}))
    made.results.registry.claim_sweep(made.sweep, made.plan)
    made.write_tables()
    shutil.copytree(tmp_path, tmp_path / "moved", ignore=shutil.ignore_patterns("moved"))
    (tmp_path / "moved" / "small.yaml").unlink()
    shutil.move(tmp_path / "images", tmp_path / "gone")
    finished = FinishedSweep(tmp_path / "moved" / "results", "small")
    assert finished.load_images(finished.record("8")).identity == identity
    shutil.move(tmp_path / "moved" / "images", tmp_path / "elsewhere")
    with pytest.raises(SweepError, match="images"):
        finished.load_images(finished.record("8"))
    (tmp_path / "moved" / "small.yaml").write_text(f"dataset: {{{kind}: ../elsewhere}}\n" + sweeping.SMALL)
    assert finished.load_images(finished.record("8")).identity == identity


def test_a_model_by_its_path_is_known_by_its_content(finished, tmp_path, monkeypatch):
    path = finished.model("small")
    record = FinishedSweep(finished.results).record("small")
    in_record = finished.results / "_records" / record.fingerprint / "model.keras"
    renamed = tmp_path / "large.keras"
    shutil.copyfile(path, renamed)
    for wanted, results_dir in ((path, tmp_path), (in_record, tmp_path), (renamed, finished.results)):
        chosen = choose_model(results_dir, wanted=str(wanted))
        assert (chosen.class_names, chosen.caveats) == (CLASS_NAMES, (STAND_IN,))
    renamed.write_bytes(with_class_names(path, ()))  # as files of before are, and those that Keras saved again
    chosen = choose_model(finished.results, wanted=str(renamed))
    assert (chosen.class_names, chosen.caveats) == (CLASS_NAMES, (STAND_IN,)), "names are no part of a model"
    monkeypatch.chdir(tmp_path)
    assert choose_model(tmp_path, wanted="large.keras").class_names == ()
    for content, names in [
        ('["a", "b"]', ("a", "b")),
        ('{"a": 1}', ()),
        ("[1, 2]", ()),
        ("[" * 10_000, ()),
        ("no JSON", ()),
    ]:
        (tmp_path / CLASSES_FILE).write_text(content)
        assert choose_model(tmp_path, wanted=str(renamed)).class_names == names


def test_names_are_those_of_today_not_of_the_day_of_the_training(finished, tmp_path):
    """Wherever they are asked for: by the best model, by a name, for samples of the page, in the card."""
    results = shutil.copytree(finished.results, tmp_path / "results")
    shutil.copyfile(finished.folder / "architectures.yaml", tmp_path / "architectures.yaml")
    marker, today = results / "_sweeps" / "architectures.json", tuple(f"class {n}" for n in range(10))
    files.save_json(marker, files.load_json(marker) | {"class_names": today})
    sweep = FinishedSweep(results)
    assert sweep.record("large").class_names == today
    assert sweep.load_images(sweep.record("large")).class_names == today
    assert choose_model(results).class_names == choose_model(results, wanted="small").class_names == today
    files.save_json(marker, files.load_json(marker) | {"class_names": ["too", "few"]})
    assert FinishedSweep(results).record("large").class_names == CLASS_NAMES


def test_a_model_in_the_results_that_was_changed_is_said(results):
    path = results / "architectures" / "models" / "large.keras"
    change_model(path)
    assert choose_model(results, wanted=str(path)).caveats == (
        f"{path}: no record has this model, so nothing vouches for it",
    )


@pytest.mark.parametrize(
    ("sweep", "wanted", "message"),
    [
        ("nothing", None, "no results of a sweep 'nothing' in .*: there are architectures"),
        ("../results/architectures", None, "no results of a sweep"),
        ("_records", None, "no results of a sweep '_records'"),
        ("architectures", "smal", "no exported model 'smal' in .*: there are small, large"),
        ("architectures", "missing.keras", "missing.keras: is no file of a Keras model"),
        ("architectures", "../small", "is no file of a Keras model"),
        ("architectures", "/etc/passwd", "is no file of a Keras model"),
    ],
)
def test_a_model_that_is_not_there_is_said_with_those_that_are(finished, sweep, wanted, message):
    with pytest.raises(SweepError, match=message):
        choose_model(finished.results, sweep, wanted)


def test_before_the_first_sweep_the_command_to_run_is_named(tmp_path):
    with pytest.raises(SweepError, match=r"run python sweep\.py first"):
        choose_model(tmp_path)
    (tmp_path / "architectures").mkdir()
    with pytest.raises(SweepError, match=r"holds no exported model yet: run python sweep\.py"):
        choose_model(tmp_path)


def test_rows_are_those_of_the_table_with_numbers_as_numbers(finished):
    rows = FinishedSweep(finished.results).rows()
    raw = read_csv(finished.results / "architectures" / "results.csv")
    assert [row["architecture"] for row in rows] == ["small", "large"]
    assert [row["params"] for row in rows] == [int(row["params"]) for row in raw]
    assert [row["val_accuracy"] for row in rows] == [float(row["val_accuracy"]) for row in raw]
    assert rows[1]["behind_best_ci95_low"] is None
    assert (rows[0]["verdict"], rows[0]["layers"]) == ("worse", "16")


@pytest.mark.slow
def test_a_quick_look_is_taken_where_it_is_named_alone_and_said(tmp_path, capsys):
    finished, name = finished_sweep(tmp_path, overrides=Overrides(epochs=2)), "architectures+epochs-2"
    with pytest.raises(
        SweepError, match=r"'architectures'.*: there is only a quick look at it: --sweep architectures\+epochs-2$"
    ):
        choose_model(finished.results)
    said = "of a quick look (--epochs 2), not of the full sweep"
    assert choose_model(finished.results, name).caveats == (said, STAND_IN)
    path = finished.results / name / "models" / "small.keras"
    assert choose_model(tmp_path, wanted=str(path)).caveats == (said, STAND_IN)
    draw_garment().save(tmp_path / "shirt.png")
    where = ["--results-dir", str(finished.results), "--sweep", name]
    assert verbs(["predict", str(tmp_path / "shirt.png"), *where]) == 0
    assert capsys.readouterr().err.splitlines() == [f"large: {said}", f"large: {STAND_IN}"]
    assert verbs(["export", "large", "--to", str(tmp_path / "out"), *where]) == 0
    assert f"large: {said}" in capsys.readouterr().err
    assert "**A quick look** (`--epochs 2`)" in (tmp_path / "out/README.md").read_text("utf-8")


# ---- the model ----


@pytest.mark.slow
def test_a_predictor_says_what_keras_says_most_probable_first(finished):
    import keras

    image = load_data(DataSource("synthetic")).x_test[3]
    expected = keras.models.load_model(finished.model("small")).predict(image[None], verbose=0)[0]
    found = Predictor(finished.model("small"), CLASS_NAMES).predict(image)
    assert [name for name, _ in found] == [CLASS_NAMES[i] for i in np.argsort(expected)[::-1]]
    np.testing.assert_allclose([probability for _, probability in found], np.sort(expected)[::-1], rtol=1e-5)


def test_without_as_many_names_as_classes_the_numbers_stand_there(finished):
    predictor = Predictor(finished.model("small"), ("one", "two"))
    assert predictor.class_names == tuple("0123456789")
    assert predictor.shape == (28, 28)


@pytest.mark.parametrize("pixels", [np.zeros((28, 28)), np.zeros((27, 28), np.uint8), np.zeros((1, 28, 28), np.uint8)])
def test_pixels_of_another_kind_are_a_mistake_of_the_caller(finished, pixels):
    with pytest.raises(ValueError, match="expected uint8 pixels of shape"):
        Predictor(finished.model("small")).predict(pixels)


def test_a_file_that_is_no_model_is_said(tmp_path, finished):
    cases = {"text.keras": b"no zip", "empty.keras": b"", "cut.keras": finished.model("small").read_bytes()[:5000]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SweepError, match=f"{name}: is no model that Keras can load") as refused:
            Predictor(tmp_path / name)
        assert "\n" not in str(refused.value)


def test_a_model_of_other_inputs_or_outputs_is_refused(tmp_path):
    import keras

    cases = {
        "vector.keras": ([keras.Input((784,)), keras.layers.Dense(10)], r"takes \(None, 784\)"),
        "colour.keras": ([keras.Input((28, 28, 3)), keras.layers.Flatten(), keras.layers.Dense(10)], "takes"),
        "map.keras": ([keras.Input((28, 28)), keras.layers.Dense(10)], r"gives \(None, 28, 10\)"),
    }
    for name, (layers, message) in cases.items():
        keras.Sequential(layers).save(tmp_path / name)
        with pytest.raises(SweepError, match=message):
            Predictor(tmp_path / name)


def test_a_model_that_carries_code_is_refused_and_the_code_not_run(tmp_path):
    import keras

    proof = tmp_path / "proof"
    layers = [keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(10)]
    # Made from text, for the path must be in the code itself: Keras 3.15 loads no lambda that has defaults.
    bait = eval(f"lambda x: (__import__('pathlib').Path({str(proof)!r}).touch(), x)[1]")
    layers.append(keras.layers.Lambda(bait))
    keras.Sequential(layers).save(tmp_path / "lambda.keras")
    keras.models.load_model(tmp_path / "lambda.keras", safe_mode=False)
    assert proof.exists()  # the bait works
    proof.unlink()
    with pytest.raises(SweepError, match="is no model that Keras can load"):
        Predictor(tmp_path / "lambda.keras")
    # Nor one whose config names a function of the standard library in place of a layer.
    with zipfile.ZipFile(tmp_path / "lambda.keras") as source, zipfile.ZipFile(tmp_path / "os.keras", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                content = json.dumps(
                    {"module": "os", "class_name": "system", "config": f"touch {proof}", "registered_name": None}
                )
            target.writestr(name, content)
    with pytest.raises(SweepError, match="is no model that Keras can load"):
        Predictor(tmp_path / "os.keras")
    assert not proof.exists()


# ---- the command ----


@pytest.fixture
def pictures(tmp_path):
    """Two pictures that can be read, and what cannot, in one folder."""
    draw_garment().save(tmp_path / "dark.png")
    draw_garment(garment=(250, 250, 250), background=(5, 5, 5)).save(tmp_path / "light [bold]:boot:.jpg")
    (tmp_path / "broken.png").write_bytes(truncated("PNG"))
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    return tmp_path


def run(*arguments):
    return verbs(["predict", *map(str, arguments)])


@pytest.mark.slow
def test_the_table_says_class_probability_and_how_each_image_was_read(finished, pictures, capsys):
    paths = [pictures / "dark.png", pictures / "light [bold]:boot:.jpg"]
    assert run(*paths, "--results-dir", finished.results) == 0
    printed = " ".join(capsys.readouterr().out.split())
    predictor = Predictor(finished.model("large"), CLASS_NAMES)
    for path in paths:
        (first, probability), second, third, *_ = predictor.predict(load_image(path).pixels)
        assert f"{first} {probability:.4f} " in printed.replace("│", "")
        assert f"{second[0]} {second[1]:.4f}," in printed
        assert third[0] in printed
    assert "dark on light:" in printed
    assert "light on dark:" in printed


@pytest.mark.slow
def test_json_is_one_object_a_file_with_the_names_of_files_as_they_are(finished, pictures, capsys):
    paths = [pictures / "dark.png", pictures / "broken.png", pictures / "light [bold]:boot:.jpg"]
    assert run(*paths, "--json", "--top", 2, "--model", "small", "--results-dir", finished.results) == 2
    printed = capsys.readouterr()
    first, broken, last = map(json.loads, printed.out.splitlines())
    assert [said["file"] for said in (first, broken, last)] == [str(path) for path in paths]
    expected = Predictor(finished.model("small"), CLASS_NAMES).predict(load_image(paths[0]).pixels)[:2]
    assert first["top"] == [{"class": name, "probability": probability} for name, probability in expected]
    assert (first["class"], first["probability"]) == expected[0]
    assert (first["model"], first["inverted"], last["inverted"]) == ("small", True, False)
    assert "is damaged or cut off" in broken["error"]
    assert printed.err.splitlines()[0] == f"small: {STAND_IN}"
    assert len(printed.err.splitlines()) == 2


def test_what_cannot_be_read_is_one_line_each_and_the_others_are_predicted(finished, pictures, capsys):
    bad = [pictures / "missing.png", pictures, pictures / "bomb.png", pictures / "broken.png"]
    assert run(*bad[:2], pictures / "dark.png", *bad[2:], "--results-dir", finished.results) == 2
    printed = capsys.readouterr()
    said, *lines = printed.err.splitlines()
    assert said == f"large: {STAND_IN}"
    assert [line.partition(": ")[0] for line in lines] == [str(path) for path in bad]
    assert "dark on light" in printed.out


def test_without_an_image_that_can_be_read_no_table_is_printed(finished, pictures, capsys):
    assert run(pictures / "broken.png", "--results-dir", finished.results) == 2
    assert capsys.readouterr().out == ""


def test_no_model_yet_is_one_line(tmp_path, capsys):
    assert run("x.png", "--results-dir", tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("no results of a sweep 'architectures' in ")
    assert (printed.err.count("\n"), printed.out) == (1, "")


@pytest.mark.slow
def test_inversion_can_be_asked_for(finished, pictures, capsys):
    for invert, inverted in [("yes", True), ("no", False)]:
        assert run(pictures / "dark.png", "--json", "--invert", invert, "--results-dir", finished.results) == 0
        assert json.loads(capsys.readouterr().out)["inverted"] == inverted


@pytest.mark.slow
def test_the_command_in_a_shell_prints_nothing_but_its_table_and_claims_no_gpu(finished, pictures):
    code = """
import sys
from fmnist_mlp.cli.verbs import verbs
assert "tensorflow" not in sys.modules
code = verbs(sys.argv[1:])
import tensorflow as tf
assert not tf.config.get_visible_devices("GPU")
assert __import__("os").environ["CUDA_VISIBLE_DEVICES"] == "-1"
sys.exit(code)
"""
    environment = finished.environment() | {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", pictures / "dark.png", "--results-dir", finished.results],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, f"large: {STAND_IN}\n")
    assert "dark on light" in done.stdout

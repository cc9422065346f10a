"""The models that people see: of the best trial by validation, a copy, with today's names of classes."""

import io
import os
import zipfile

from sweeping import Made

from fmnist_mlp.data.class_names import carried_by
from fmnist_mlp.results import ranking
from fmnist_mlp.results.store import Results


def models(made):
    return {path.name: path.read_bytes() for path in (made.folder / "models").iterdir()}


def test_the_best_trial_by_validation_gives_the_model_whatever_it_does_on_test_images(made):
    first, second, *_ = made.plan
    made.put(made.record(first, test_accuracy=0.99, test_loss=0.01, val_accuracy=0.6), model=b"lucky on test")
    made.put(made.record(second, test_accuracy=0.5, test_loss=1.0, val_accuracy=0.7), model=b"best by validation")
    made.show_models()
    assert models(made) == {"8.keras": b"best by validation"}


def test_of_equal_trials_the_first_seed_gives_the_model(made):
    for trial in reversed(made.plan):
        made.put(made.record(trial), model=f"seed {trial.seed}".encode())
    made.show_models()
    assert models(made) == {"8.keras": b"seed 0", "deep.keras": b"seed 0"}


def test_models_follow_the_records(made):
    made.put_all()
    made.show_models()
    assert models(made) == {"8.keras": b"model 0", "deep.keras": b"model 2"}
    about = (made.folder / "models" / "8.keras").stat()
    made.show_models()
    assert (made.folder / "models" / "8.keras").stat().st_ino == about.st_ino
    made.put(made.record(made.plan[1], val_accuracy=0.95), model=b"better")
    del made.records[made.plan[2].fingerprint], made.records[made.plan[3].fingerprint]
    (made.folder / "models" / "notes.txt").write_text("mine")
    made.show_models()
    assert models(made) == {"8.keras": b"better", "notes.txt": b"mine"}


def test_a_failed_trial_gives_no_model(made):
    made.put(made.record(made.plan[0], failed=True))
    made.show_models()
    assert not (made.folder / "models").exists()


def test_a_model_is_a_copy_and_what_is_written_to_it_does_not_reach_the_record(made):
    made.put_all()
    made.show_models()
    record, model = made.results.record_folder(made.plan[0].fingerprint), made.folder / "models" / "8.keras"
    with model.open("ab") as file:  # into the file that is there, as Keras saves
        file.write(b", fine-tuned")
    assert (record / "model.keras").read_bytes() == b"model 0"
    made.show_models()
    assert models(made) == {"8.keras": b"model 0", "8.edited-1.keras": b"model 0, fine-tuned", "deep.keras": b"model 2"}
    assert made.results.take_notices() == [f"{model} was changed since it was written: it is kept as 8.edited-1.keras"]
    made.show_models()
    assert made.results.take_notices() == []


def test_models_that_an_earlier_version_linked_to_their_records_become_copies(made):
    """Also those that the sweep does not ask for any more: each was a door to a record."""
    made.put_all()
    folder = made.folder / "models"
    folder.mkdir(parents=True)
    for trial, name in zip(made.plan, ("8", "deep", "dropped", "dropped-too"), strict=True):
        os.link(made.results.record_folder(trial.fingerprint) / "model.keras", folder / f"{name}.keras")
    (folder / "8-finetuned.keras").write_bytes(b"mine")
    made.show_models()
    assert models(made) == {"8.keras": b"model 0", "deep.keras": b"model 2", "8-finetuned.keras": b"mine"}
    assert {path.stat().st_nlink for path in folder.iterdir()} == {1}
    assert made.results.take_notices() == []


def test_the_models_that_people_see_carry_the_names_of_today_and_records_none(tmp_path):
    made = Made(tmp_path)
    for i, trial in enumerate(made.plan):
        with io.BytesIO() as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("config.json", str(i))
            made.put(made.record(trial, val_accuracy=0.5 + i / 10), model=file.getvalue())
    best, folder = ranking.rank(made.state).best_trials, made.root / "small" / "models"
    records = [made.results.record_folder(trial.fingerprint) / "model.keras" for trial in made.plan]
    before = [path.read_bytes() for path in records]

    def carried():
        return [carried_by(path) for path in sorted(folder.glob("*.keras"))]

    made.results.show_models(made.sweep, best, ("cat", "dog"))
    assert carried() == [("cat", "dog")] * 2
    stamps = [path.stat().st_mtime_ns for path in sorted(folder.glob("*.keras"))]
    Results(made.root).show_models(made.sweep, best, ("cat", "dog"))
    assert [path.stat().st_mtime_ns for path in sorted(folder.glob("*.keras"))] == stamps
    Results(made.root).show_models(made.sweep, best, ("Katze", "Hund"))
    assert carried() == [("Katze", "Hund")] * 2
    assert len([*folder.iterdir()]) == 2  # renamed classes are no change of somebody's
    Results(made.root).show_models(made.sweep, {}, ("Katze", "Hund"))
    assert not [*folder.glob("*")]
    assert [path.read_bytes() for path in records] == before

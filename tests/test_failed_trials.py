"""What a trial cannot help: a failed record that says why, or an error that names what its user can mend."""

import dataclasses
import shutil
import subprocess

import pytest
from idx_files import NAMES
from one_trial import DIVERGES, SWEEP, Asked, folder_of, run, run_first, source, tiny_trials, worker, write_images

from fmnist_mlp.errors import ImagesChanged, SweepError
from fmnist_mlp.results.store import Results
from fmnist_mlp.training import trial

__all__ = ["source", "worker"]  # fixtures, used by name


@pytest.mark.slow
def test_a_disk_that_is_full_is_the_users_to_mend(source, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs a small file system, which only root may mount")
    (one,) = tiny_trials(tmp_path)
    task = trial.Task(one, source, None, disk / "results", tmp_path / "logs", None)
    try:
        with pytest.raises(SweepError, match="No space left on device"):
            trial.run_trial(Asked(), task)
        assert Results(disk / "results").load_record(one.fingerprint) is None
        assert not list((disk / "results" / "_records" / ".drafts").iterdir())
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.slow
def test_images_that_changed_under_a_sweep_are_noticed(worker, tmp_path):
    with pytest.raises(ImagesChanged, match="are not those that the sweep was planned with"):
        run_first(write_images(tmp_path / "images", test_seed=2), tmp_path)
    assert run_first(write_images(tmp_path / "images"), tmp_path).is_done, "a worker that stays looks again"


def test_images_that_turned_bad_are_the_users_to_mend(worker, tmp_path):
    (one,) = tiny_trials(tmp_path)
    source = write_images(tmp_path / "images")
    path = source.folder / NAMES[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SweepError, match=NAMES[0]):
        run(one, source, tmp_path)
    assert Results(tmp_path / "results").load_record(one.fingerprint) is None


@pytest.mark.slow
def test_a_training_that_diverges_is_a_failed_record(source, tmp_path):
    (one,) = tiny_trials(tmp_path, DIVERGES)
    record = run(one, source, tmp_path)
    assert (record.status, record.error["type"], record.metrics) == ("failed", "TrainingDiverged", {})
    assert "try a smaller learning_rate" in record.error["message"]
    assert "Traceback" in record.error["traceback"]
    results = Results(tmp_path / "results")
    assert results.load_record(one.fingerprint) == record
    assert list((folder_of(record, tmp_path) / "events").rglob("events.out.*"))
    assert not results.checkpoint_folder(one.fingerprint).exists()


@pytest.mark.slow
def test_a_trial_that_failed_in_another_sweep_meanwhile_is_not_tried_again(source, tmp_path):
    (one,) = tiny_trials(tmp_path, DIVERGES)
    first = run(one, source, tmp_path)
    task = trial.Task(one, source, None, tmp_path / "results", replaces=None, wait=True)
    assert trial.run_trial(Asked(), task) == first
    known = Results(tmp_path / "results").stamp(one.fingerprint)
    later = trial.run_trial(Asked(), dataclasses.replace(task, replaces=known))
    assert later.measured["started_at_seconds"] > first.measured["started_at_seconds"], "asked to try again, it is"


def test_more_components_than_training_images_are_a_failed_record_that_says_so(source, tmp_path):
    text = SWEEP.replace("epochs: 4", "epochs: 1, preprocess: {pca: 40}")
    record = run_first(source, tmp_path, text, limit=40)
    assert record.status == "failed"
    assert record.error["message"] == "pca can have at most 32 components, for 32 training images, got 40"

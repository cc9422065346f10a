"""Networks and baselines in one sweep, from the command line: trained, trained again, cleaned away."""

import subprocess
import sys

import pytest
from sweeping import Project, different, scalars

TINY = """\
dataset: synthetic
limit: 600
seeds: 2
training: {epochs: 2}
architectures:
  - [16]
baselines:
  - LogisticRegression
  - name: trees
    ExtraTreesClassifier: {n_estimators: 20}
    preprocess: {pca: 10}
  - LinearSVC: {max_iter: 50}
"""
NAMES = ["16", "LogisticRegression", "trees", "LinearSVC-max_iter50"]


@pytest.fixture(scope="module")
def _trained_once(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("finished"), TINY)
    project.said = project.sweep("--jobs", "2")
    return project


@pytest.fixture
def finished(_trained_once, tmp_path):
    copy = _trained_once.copy(tmp_path / "project")
    copy.said = _trained_once.said
    return copy


@pytest.mark.slow
def test_a_dry_run_lists_baselines_and_trains_nothing(tmp_path):
    project = Project(tmp_path, TINY)
    said = project.sweep("--dry-run").stdout
    assert said.startswith("tiny: 1 architecture and 3 baselines, 8 trials: 0 done, 8 to train\n")
    assert "ExtraTreesClassifier(n_estimators=20)" in said
    assert not project.results.exists()


@pytest.mark.slow
def test_networks_and_baselines_are_one_sweep(finished):
    said = finished.said.stdout
    assert "tiny: 1 architecture and 3 baselines, 8 trials: 0 done, 8 to train" in said
    rows = finished.rows()
    assert list(rows) == NAMES
    assert [row["trials"] for row in rows.values()] == ["2"] * 4
    verdicts = [row["verdict"] for row in rows.values()]
    assert verdicts.count("best") == 1
    assert set(verdicts) <= {"best", "worse", "undecided", "too few seeds"}
    assert [row["params"] for row in rows.values()] == [str(784 * 16 + 16 + 16 * 10 + 10), "7850", "", "7850"]
    assert rows["trees"]["size"].startswith("20 trees, ")
    assert rows["LinearSVC-max_iter50"]["test_loss"] == ""
    assert [path.name for path in (finished.results / "tiny" / "models").iterdir()] == ["16.keras"]
    assert len(list((finished.results / "_latency").iterdir())) == 1, "that of the network"
    assert all(float(row["test_accuracy"]) > 0.3 for name, row in rows.items() if name != "16")
    for name in NAMES:
        assert f"tiny/{name}/seed-1" in {f"tiny/{folder}" for folder in finished.curves()}
    found = scalars(finished.trial_logs() / "trees" / "seed-1")
    trials = finished.trials()
    assert found["test_accuracy"][0][1] == pytest.approx(float(trials["trees", 1]["test_accuracy"]))


@pytest.mark.slow
def test_one_process_gives_the_numbers_of_two_workers(finished, tmp_path):
    alone = Project(tmp_path / "alone", TINY)
    alone.sweep("--jobs", "0")
    assert different(finished.numbers(), alone.numbers()) == []


@pytest.mark.slow
def test_only_what_is_new_is_trained_again(finished):
    finished.write(
        TINY.replace("name: trees", "name: wood").replace("- LogisticRegression", "- SVC\n  - LogisticRegression")
    )
    said = finished.sweep("--jobs", "1").stdout
    assert "10 trials: 8 done, 2 to train" in said
    assert "device: " in said
    assert {name for name, row in finished.rows().items() if row["trials"] == "2"} == {
        "16", "SVC", "LogisticRegression", "wood", "LinearSVC-max_iter50",
    }  # fmt: skip
    said = finished.sweep().stdout
    assert "10 done, 0 to train" in said
    assert "device: " not in said, "no worker was started"


@pytest.mark.slow
def test_a_baseline_that_nobody_asks_for_is_cleaned_away(finished):
    finished.write(TINY.replace("  - LinearSVC: {max_iter: 50}\n", ""))
    command = [sys.executable, "-m", "fmnist_mlp", "clean"]
    done = subprocess.run(command, cwd=finished.folder, env=finished.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "a record that no sweep asks for" in line]
    assert [
        line.partition(": a record that no sweep asks for: ")[2] for line in sorted(lines, key=lambda s: s[-40:])
    ] == [
        "LinearSVC(max_iter=50), seed 0, 600 images",
        "LinearSVC(max_iter=50), seed 1, 600 images",
    ]

"""A sweep file that was edited, renamed, moved or shares trials: what is kept, and how the views follow."""

import re

from commands import TINY, project, run, trained
from sweeping import by_itself, state

__all__ = ["project", "run", "trained"]  # fixtures, used by name


def test_names_order_and_comments_train_nothing_and_the_views_follow(run, project, trained):
    def curves(name):
        folder = project.trial_logs() / name
        return {path.relative_to(folder): path.read_bytes() for path in folder.glob("*/train/*")}

    run("tiny.yaml", "--jobs", "0")
    rows, before = project.rows(), curves("wide")
    project.write(
        "# reordered, renamed\ndataset: synthetic\nseeds: [1, 0]\narchitectures:\n"
        "  - {layers: [16], name: renamed, epochs: 3}\n  - [{Dense: {units: 8}}]\ntraining: {epochs: 3}\n"
    )
    ran = run("tiny.yaml")
    assert (ran.code, len(trained)) == (0, 4)
    assert "4 done, 0 to train" in ran.out
    assert list(project.rows()) == ["renamed", "8"]
    assert project.rows()["renamed"] == rows["wide"] | {"architecture": "renamed"}
    assert sorted(path.name for path in (project.results / "tiny/models").iterdir()) == ["8.keras", "renamed.keras"]
    assert {name.split("/")[0] for name in project.curves()} == {"8", "renamed"}
    best = max((0, 1), key=lambda seed: project.trials()["renamed", seed]["val_accuracy"])
    assert (project.results / "tiny/models/renamed.keras").read_text() == project.record_folder("renamed", best).name
    assert curves("renamed") == before


def test_an_architecture_taken_out_leaves_the_table_and_the_views_but_keeps_its_records(run, project, trained):
    run("tiny.yaml", "--jobs", "0")
    project.write(TINY.partition("  - name: wide")[0])
    assert run("tiny.yaml").code == 0
    assert list(project.rows()) == ["8"]
    assert [path.name for path in (project.results / "tiny/models").iterdir()] == ["8.keras"]
    assert sorted(path.name for path in (project.logs / "tiny").iterdir()) == ["8", "_journal", "_order", "_sweep"]
    project.write(TINY)
    assert run("tiny.yaml").code == 0
    assert len(trained) == 4
    assert set(project.curves()) == {
        f"{name}/seed-{n}{part}" for name in ("8", "wide") for n in (0, 1) for part in ("", "/train")
    }


def test_what_others_put_under_logs_stays(run, project, trained):
    run("tiny.yaml", "--jobs", "0")
    mine = project.logs / "tiny/my-own-run/events.out.tfevents.2.me"
    mine.parent.mkdir()
    mine.write_text("mine")
    project.write(TINY.partition("  - name: wide")[0])
    assert run("tiny.yaml").code == 0
    assert mine.read_text() == "mine"


def test_another_sweep_shares_the_records_and_has_its_own_views(run, project, trained):
    run("tiny.yaml", "--jobs", "0")
    project.write(
        "dataset: synthetic\nseeds: 2\narchitectures:\n  - {name: theirs, layers: [8], epochs: 3}\n", "other.yaml"
    )
    before = state(project.results / "tiny", project.logs / "tiny")
    ran = run("other.yaml")
    assert (ran.code, len(trained)) == (0, 4)
    assert "2 done, 0 to train" in ran.out
    theirs, ours = project.rows("other")["theirs"], project.rows("tiny")["8"]
    assert by_itself(theirs) == by_itself(ours)
    assert (theirs["verdict"], ours["verdict"]) == ("best", "too few seeds")
    assert project.curves("other") == {f"theirs/seed-{n}{part}": 1 for n in (0, 1) for part in ("", "/train")}
    assert (project.results / "other/models/theirs.keras").is_file()
    assert list(project.rows("tiny")) == ["8", "wide"]
    assert "4 done, 0 to train" in run("tiny.yaml").out
    assert state(project.results / "tiny", project.logs / "tiny") == before


def test_two_files_of_one_stem_do_not_share_a_folder_of_results(run, project, trained):
    assert run("tiny.yaml", "--jobs", "0").code == 0
    before = state(project.results, project.logs)
    (project.folder / "sub").mkdir()
    project.write(TINY.replace("[8]", "[9]"), "sub/tiny.yaml")
    ran = run("sub/tiny.yaml", "--jobs", "0")
    assert (ran.code, len(trained)) == (2, 4)
    assert re.search(
        r"results/tiny holds the results of .*project/tiny\.yaml: .*sub/tiny\.yaml.*name: ", ran.errors[-1]
    )
    assert state(project.results, project.logs) == before
    project.write("name: another\n" + TINY.replace("[8]", "[9]"), "sub/tiny.yaml")
    assert run("sub/tiny.yaml", "--jobs", "0").code == 0


def test_a_moved_project_and_a_renamed_file_keep_their_results(run, project, trained, monkeypatch):
    assert run("tiny.yaml", "--jobs", "0").code == 0
    moved = project.folder.rename(project.folder.with_name("moved"))
    monkeypatch.chdir(moved)
    before = state(moved)
    ran = run("tiny.yaml")
    assert (ran.code, len(trained)) == (0, 4)
    assert state(moved) == before
    (moved / "sweeps").mkdir()
    (moved / "tiny.yaml").rename(moved / "sweeps/tiny.yaml")
    assert run("sweeps/tiny.yaml").code == 0
    assert len(trained) == 4

"""What nobody asks for any more: found on proof alone, moved away, brought back, deleted for good."""

import re
import shutil

import pytest
from fake_sweep import SWEEP, Fake

from fmnist_mlp.cli.verbs import verbs
from fmnist_mlp.data.source import DataSource
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results.store import Results
from fmnist_mlp.runner.clean import empty_trash, find_leftovers, move_to_trash, trash_bytes
from fmnist_mlp.runner.loop import Listener, run_sweep
from fmnist_mlp.runner.plan import make_plan
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.sweep import Overrides

WITHOUT_WIDER = SWEEP.replace("  - name: wider\n    layers: [32]\n", "")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return Fake(tmp_path, monkeypatch)


def look(fake, **options):
    return find_leftovers(fake.folder / "results", fake.folder / "logs", **options)


def leftovers(fake):
    return {leftover.folder.name: leftover.reason for leftover in look(fake)[0]}


def move(fake):
    return move_to_trash(look(fake)[0], fake.folder / "results", fake.folder / "logs")


def records(fake):
    return {path.parent.name for path in fake.folder.glob("results/_records/*/record.json")}


def of(plan, name):
    return {one.fingerprint for one in plan.state.trials if one.architecture.name == name}


# ---- what is left over


def test_nothing_is_left_over_after_a_sweep(fake):
    fake.run()
    assert leftovers(fake) == {}


def test_records_that_no_file_asks_for_are_found_and_named(fake):
    plan, _ = fake.run()
    fake.write(
        SWEEP.replace("    layers: [32]", "    layers: [32, {Dropout: 0.5}]").replace("name: wider", "name: wide2")
    )
    fake.run()
    dropped = [one.fingerprint for one in plan.state.trials if one.architecture.name == "wider"]
    assert leftovers(fake) == {
        fingerprint: f"a record that no sweep asks for: 32, seed {seed}, 3 epochs"
        for seed, fingerprint in enumerate(dropped)
    }


def test_quick_looks_and_damaged_records_are_left_over(fake):
    fake.run()
    quick, _ = fake.run(overrides=Overrides(epochs=1, seeds=1, limit=20))
    (fake.folder / "results/_records" / quick.state.trials[0].fingerprint / "record.json").write_text("{")
    view = f"a quick look (--epochs 1 --limit 20 --seeds 1) at {fake.folder / 'fake.yaml'}"
    name = "fake+epochs-1+limit-20+seeds-1"
    found, _ = look(fake)
    assert [leftover.folder.relative_to(fake.folder).as_posix() for leftover in found if leftover.reason == view] == [
        *(f"results/{name}", f"results/_trials/{name}", f"logs/{name}", f"results/_sweeps/{name}.json"),
    ]
    assert sorted(leftover.reason for leftover in found if leftover.reason != view) == [
        "a record that no sweep asks for",
        *(f"a record that no sweep asks for: {units}, seed 0, 1 epochs, 20 images" for units in (16, 32)),
    ]


def test_the_records_that_a_quick_look_shares_with_the_full_sweep_are_no_leftovers(fake):
    """Fewer seeds are a part of what the file asks for, also where the full sweep was never run."""
    fake.run(overrides=Overrides(seeds=1))
    assert {name.removesuffix(".json") for name in leftovers(fake)} == {"fake+seeds-1"}
    fake.run()
    assert sorted(fake.trained) == [(name, 1) for name in ("8", "wide", "wider")]


def test_what_a_vanished_sweep_file_left_is_found(fake):
    fake.run()
    (fake.folder / "fake.yaml").rename(fake.folder / "elsewhere.yml")
    found, _ = look(fake)
    assert {leftover.folder.relative_to(fake.folder).parts[0] for leftover in found} == {"results", "logs"}
    assert sum("is gone" in leftover.reason for leftover in found) == 4
    assert sum(leftover.reason.startswith("a record that no sweep asks for: ") for leftover in found) == 6


def test_a_trial_in_work_is_not_left_over(fake):
    plan, _ = fake.run()
    one = plan.state.trials[0]
    fake.write(SWEEP.replace("  - [8]\n", ""))
    with Results(fake.folder / "results").claim(one.fingerprint, may_wait=lambda: False):
        assert list(leftovers(fake)) == [plan.state.trials[1].fingerprint]


def test_a_record_that_another_sweep_still_asks_for_stays(fake):
    fake.run()
    (fake.folder / "second.yaml").write_text(SWEEP.replace("name: fake", "name: second"))
    plan = make_plan(load_sweep(fake.folder / "second.yaml"), fake.options)
    run_sweep(plan, Listener())
    fake.write(WITHOUT_WIDER)
    assert leftovers(fake) == {}


def test_a_record_that_no_sweep_is_known_to_have_asked_for_stays_and_is_counted(fake):
    fake.run()
    records = fake.folder / "results" / "_records"
    shutil.copytree(next(records.glob("[0-9a-f]*")), records / ("0" * 64))
    (records / "my own backup").mkdir()
    assert look(fake) == ([], 2)


def test_what_killed_processes_left_is_found(fake):
    fake.run()
    results = Results(fake.folder / "results")
    for folder in (results.live_folder("1" * 64), fake.folder / "results/_records/.drafts" / ("1" * 16 + "-x")):
        folder.mkdir(parents=True)
        (folder / "half").write_text("half")
    assert sorted(leftovers(fake).values()) == [
        "a draft of a process that was killed",
        "curves of a process that was killed",
    ]
    move(fake)
    assert leftovers(fake) == {}


# ---- missing proof


def memory(fake):
    return fake.folder / "results" / "_sweeps" / "fake.json"


def leave_the_empty_mark_of_an_earlier_version(fake):
    shutil.rmtree(fake.folder / "results" / "_sweeps")
    for folder in ("results", "logs"):
        (fake.folder / folder / "fake" / "_journal").unlink()
    (fake.folder / "results" / "fake" / "sweep.json").write_text("")


DAMAGED = "nothing is cleaned: .*is missing or damaged"
NO_PROOF = {
    "a sweep file with mistakes": (
        lambda fake: fake.write(SWEEP.replace("seeds: 2", "seeds: two")),
        r"nothing is cleaned.*fake asks for: .*fake\.yaml:4: seeds must be",
    ),
    "images that are gone": (lambda fake: shutil.rmtree(fake.folder / "images"), "nothing is cleaned.*images"),
    "an empty memory": (lambda fake: memory(fake).write_bytes(b""), DAMAGED),
    "no memory": (lambda fake: memory(fake).unlink(), DAMAGED),
    "the empty mark of an earlier version": (leave_the_empty_mark_of_an_earlier_version, DAMAGED),
}


@pytest.mark.parametrize("phrase", NO_PROOF)
def test_without_proof_nothing_is_cleaned(fake, phrase):
    damage, message = NO_PROOF[phrase]
    fake.run()
    damage(fake)
    with pytest.raises(SweepError, match=message):
        leftovers(fake)


def test_the_stand_in_is_no_proof(fake, monkeypatch):
    fake.run()
    find_nothing = lambda *arguments, **options: DataSource("synthetic", fallback_reason="no network")  # noqa: E731
    monkeypatch.setattr("fmnist_mlp.runner.clean.find_data", find_nothing)
    with pytest.raises(SweepError, match=r"nothing is cleaned.*Fashion-MNIST is not here .* \(no network\)"):
        leftovers(fake)


@pytest.mark.parametrize("position", [0, 20, 75, 90, 200, -200, -2])
def test_a_memory_that_is_damaged_is_no_proof_until_the_sweep_is_run_again(fake, position):
    fake.run()
    content = bytearray(memory(fake).read_bytes())
    content[position] ^= 1
    memory(fake).write_bytes(content)
    with pytest.raises(SweepError, match=rf"nothing is cleaned: {re.escape(str(memory(fake)))} is missing or damaged"):
        leftovers(fake)
    fake.run()
    assert leftovers(fake) == {}


@pytest.mark.parametrize("unmount", [lambda folder: shutil.rmtree(folder), lambda folder: _empty(folder)])
def test_a_sweep_file_whose_folder_cannot_be_reached_may_only_be_unmounted(fake, unmount):
    plan, _ = fake.run()
    away = fake.folder / "disk" / "sweeps"
    away.mkdir(parents=True)
    (fake.folder / "fake.yaml").rename(away / "fake.yaml")
    fake.write("")
    (fake.folder / "fake.yaml").unlink()
    (fake.folder / "images").rename(away / "images")
    fake_there = Fake.__new__(Fake)
    fake_there.__dict__ |= fake.__dict__ | {"folder": away}
    fake_there.run()
    unmount(away)
    with pytest.raises(SweepError, match=r"nothing is cleaned: .*disk/sweeps, where .*--gone fake"):
        leftovers(fake)
    assert len([one for one in look(fake, gone=["fake"])[0] if one.is_of_a_trial]) == len(plan.state.trials)


def _empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def test_a_copied_folder_of_results_is_no_sweep_and_stays_where_one_says_so(fake):
    plan, _ = fake.run()
    shutil.copytree(fake.folder / "results" / "fake", fake.folder / "results" / "backup")
    fake.write(WITHOUT_WIDER)
    with pytest.raises(SweepError, match=r"nobody knows what backup asks for; .*--gone backup"):
        leftovers(fake)
    assert {leftover.folder.name for leftover in look(fake, gone=["backup"])[0]} == of(plan, "wider")


def test_what_is_remembered_of_the_images_is_not_asked(fake):
    fake.run()
    path = fake.folder / "results" / "_data.json"
    text = path.read_text()
    identity = re.search(r'"identity": "([^"]+)"', text)[1]
    path.write_text(text.replace(identity, identity[:-1] + "0"))
    assert leftovers(fake) == {}


def test_views_are_no_proof_of_anything(fake):
    plan, _ = fake.run()
    shutil.rmtree(fake.folder / "results" / "fake")
    shutil.rmtree(fake.folder / "logs")
    assert leftovers(fake) == {}
    fake.write(WITHOUT_WIDER)
    assert set(leftovers(fake)) == of(plan, "wider")


# ---- the trash


@pytest.mark.slow
def test_what_is_moved_away_can_be_brought_back(fake):
    plan, _ = fake.run()
    fake.write(WITHOUT_WIDER)
    fake.run()
    trash = move(fake)
    assert records(fake) == of(plan, "8") | of(plan, "wide")
    assert leftovers(fake) == {}
    shutil.copytree(trash / "results", fake.folder / "results", dirs_exist_ok=True)
    fake.write(SWEEP)
    fake.run()
    assert fake.trained == []


def test_all_that_a_vanished_sweep_left_comes_back_too(fake):
    fake.run()
    text = (fake.folder / "fake.yaml").read_text()
    (fake.folder / "fake.yaml").unlink()
    trash = move(fake)
    assert records(fake) == set()
    assert not (fake.folder / "results" / "fake").exists()
    assert not (fake.folder / "logs" / "fake").exists()
    assert leftovers(fake) == {}
    for part in ("results", "logs"):
        shutil.copytree(trash / part, fake.folder / part, dirs_exist_ok=True)
    fake.write(text)
    fake.run()
    assert fake.trained == []
    assert leftovers(fake) == {}


def test_what_people_put_into_a_folder_of_views_or_changed_there_stays(fake):
    fake.run()
    (fake.folder / "fake.yaml").unlink()
    mine = [fake.folder / "results/fake/models/8-finetuned.keras", fake.folder / "logs/fake/notes.ipynb"]
    for path in mine:
        path.write_text("mine")
    edited = fake.folder / "results" / "fake" / "results.csv"
    edited.write_text("edited")
    move(fake)
    assert [path.read_text() for path in (*mine, edited)] == ["mine", "mine", "edited"]
    left = {path for part in ("results/fake", "logs/fake") for path in (fake.folder / part).rglob("*")}
    assert {path for path in left if path.is_file()} == {*mine, edited}
    assert leftovers(fake) == {}


def test_a_trial_that_is_taken_in_work_meanwhile_is_left_alone(fake):
    plan, _ = fake.run()
    fake.write(WITHOUT_WIDER)
    found, _ = look(fake)
    one = min(of(plan, "wider"))
    with Results(fake.folder / "results").claim(one, may_wait=lambda: False):
        move_to_trash(found, fake.folder / "results", fake.folder / "logs")
    assert records(fake) == of(plan, "8") | of(plan, "wide") | {one}


def test_emptying_the_trash_deletes_what_was_moved_there_and_nothing_else(fake):
    fake.run()
    fake.write(WITHOUT_WIDER)
    fake.run()
    trash = move(fake)
    mine = trash.parent / "mine" / "model.keras"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert trash_bytes(fake.folder / "results") > 0
    empty_trash(fake.folder / "results")
    assert [path for path in trash.parent.rglob("*") if path.is_file()] == [mine]
    assert trash_bytes(fake.folder / "results") == 0
    shutil.rmtree(trash.parent)
    empty_trash(fake.folder / "results")


def test_the_verb_lists_moves_and_deletes_one_step_at_a_time(fake, capsys):
    plan, _ = fake.run()
    fake.write(WITHOUT_WIDER)
    fake.run()
    where = ["--results-dir", str(fake.folder / "results"), "--logs-dir", str(fake.folder / "logs")]

    def said(*arguments):
        capsys.readouterr()
        assert verbs(["clean", *arguments, *where]) == 0
        return capsys.readouterr().out

    listed = said()
    assert all(f"{name}: a record that no sweep asks for: 32, seed" in listed for name in of(plan, "wider"))
    assert re.search(r"^2 places, 0\.0 MB; move them to .*results/_trash with --yes$", listed, re.MULTILINE)
    assert len(records(fake)) == 6
    moved = said("--yes")
    assert re.search(r"moved to .*_trash/\S+: .*to bring it back: cp -a \S+/results/\. \S+/results; ", moved)
    assert len(records(fake)) == 4
    nothing = said()
    assert nothing.startswith("nothing to clean: ")
    assert re.search(r"_trash holds 0\.0 MB; delete them for good with --empty-trash", nothing)
    assert "deleted what clean had moved to" in said("--empty-trash")
    assert not (fake.folder / "results" / "_trash").exists()

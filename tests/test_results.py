"""What lies under `results/`: whose each folder and trial is, and the README that explains every file and column."""

import itertools
import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sweeping import Made, write_checkpoint

from fmnist_mlp.errors import SweepError
from fmnist_mlp.logs.views import SweepLogs
from fmnist_mlp.results import table
from fmnist_mlp.results.record import Latency, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.trials import list_trials

README = Path(__file__).parent.parent / "results" / "README.md"


# ---- which sweep a folder belongs to


def test_a_sweep_folder_belongs_to_its_file_and_to_no_other_of_its_name(tmp_path):
    ours, theirs = (Made(_folder(tmp_path / name)) for name in ("ours", "theirs"))
    theirs.results = ours.results
    ours.results.registry.claim_sweep(ours.sweep, ours.plan)
    ours.results.registry.claim_sweep(ours.sweep, ours.plan)
    with pytest.raises(SweepError) as caught:
        theirs.results.registry.claim_sweep(theirs.sweep, theirs.plan)
    assert str(ours.sweep.path.resolve()) in str(caught.value)
    assert "name: ..." in str(caught.value)
    assert "--results-dir" in str(caught.value)
    ours.sweep.path.unlink()
    theirs.results.registry.claim_sweep(theirs.sweep, theirs.plan)


def _folder(path):
    path.mkdir()
    return path


def test_a_project_folder_may_be_moved_with_its_results(tmp_path):
    made = Made(_folder(tmp_path / "before"))
    made.results.registry.claim_sweep(made.sweep, made.plan)
    shutil.copytree(tmp_path / "before", tmp_path / "copy")
    moved = Made(tmp_path / "copy")
    moved.results.registry.claim_sweep(moved.sweep, moved.plan)


@pytest.mark.parametrize("content", ["", "[]", '{"sweep_file": 3}', "{" * 9999, '{"architectures": []}'])
def test_a_damaged_mark_of_a_sweep_folder_is_written_again(content, made):
    memory = made.root / "_sweeps" / "small.json"
    memory.parent.mkdir(parents=True)
    memory.write_text(content)
    assert made.results.registry.last_plan(made.sweep) == {}
    made.results.registry.claim_sweep(made.sweep, made.plan)
    assert json.loads(memory.read_text())["content"]["sweep_file"] == "../small.yaml"


def test_what_a_sweep_once_asked_for_is_remembered(made):
    first, *others = made.plan
    made.results.registry.claim_sweep(made.sweep, [first])
    made.results.registry.claim_sweep(made.sweep, others[:1], refits=others[1:])
    known = made.results.registry.known_sweep("small")
    assert known.asked_for == {trial.fingerprint for trial in made.plan}
    assert list(made.results.registry.last_plan(made.sweep)) == [others[0].architecture.name]


def test_the_mark_of_an_earlier_version_is_taken_over(made):
    older = made.folder / "sweep.json"
    older.parent.mkdir(parents=True)
    older.write_text(json.dumps({"sweep_file": "../small.yaml", "architectures": {"8": {"seed": 0}}}))
    assert made.results.registry.last_plan(made.sweep) == {"8": {"seed": 0}}
    assert made.results.registry.sweeps() == [("small", made.sweep.path.resolve())]
    made.results.registry.claim_sweep(made.sweep, made.plan)
    assert not older.exists()
    assert made.results.registry.sweeps() == [("small", made.sweep.path.resolve())]


@pytest.mark.slow
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.one_of(st.text(max_size=20), st.text(alphabet="a./\\~:-_\0 ", min_size=1, max_size=8)))
@example(name="..")
@example(name="../../etc")
@example(name="/etc/passwd")
@example(name="a/../../b")
@example(name="_records")
@example(name="C:\\x")
def test_no_name_in_a_sweep_file_leads_out_of_its_folders(tmp_path, name):
    text = json.dumps({"name": name, "architectures": [{"name": name, "layers": [8]}]})
    (tmp_path / "any.yaml").write_text(text, encoding="utf-8")
    try:
        sweep = load_sweep(tmp_path / "any.yaml")
    except SweepError:
        return
    root = (tmp_path / "out").resolve()
    trial = list_trials(sweep, data_identity="tiny")[0]
    folder = Results(root).sweep_folder(sweep)
    assert folder.parent == folder.resolve().parent == root
    assert not folder.name.startswith(("_", "."))
    logs = SweepLogs(root / "logs", sweep, Results(root))
    assert logs.folder.resolve().parent == root / "logs"
    assert logs.trial_folder(trial).resolve().parent.parent.parent == root / "_trials"


def test_a_sweep_remembers_what_it_called_the_classes(tmp_path):
    made = Made(tmp_path)
    assert made.results.registry.class_names("small") == ()
    made.results.registry.claim_sweep(made.sweep, made.plan, ("cat", "dog"))
    assert made.results.registry.class_names("small") == ("cat", "dog")
    for damage in ('{"class_names": [1]}', '{"class_names": "ab"}', "", "{"):
        (made.root / "_sweeps" / "small.json").write_text(damage)
        assert made.results.registry.class_names("small") == ()


# ---- the README that explains all this


def explained(heading):
    """Rows of the table under a heading of results/README.md: first cell to the others."""
    section = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(heading + "\n"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    names = [row[0].strip("`") for row in rows]
    assert len(names) == len(set(names)), "nothing is explained twice"
    return dict(zip(names, (row[1:] for row in rows), strict=True))


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("results.csv", table.RESULTS_COLUMNS),
        ("trials.csv", table.TRIALS_COLUMNS),
        ("history.csv", table.HISTORY_COLUMNS),
        ("classes.csv", table.CLASSES_COLUMNS),
    ],
)
def test_every_column_is_explained_in_order_and_measured_ones_are_marked(heading, columns):
    rows = explained(heading)
    assert list(rows) == [column.name for column in columns]
    assert {name: cells[0] == "measured" for name, cells in rows.items()} == {c.name: c.measured for c in columns}
    assert all(len(cells[-1]) > 5 for cells in rows.values())


def test_every_key_of_a_record_is_explained():
    assert list(explained("record.json")) == list(Record.model_fields)


def test_every_file_that_is_written_is_explained(made):
    made.put_all()
    made.results.registry.claim_sweep(made.sweep, made.plan)
    made.results.save_data_memory({})
    made.results.save_latency("a" * 64, Latency())
    made.write_tables()
    made.show_models()
    write_checkpoint(made)
    with made.results.claim("a" * 64, may_wait=lambda: False) as is_ours:
        assert is_ours
        found = {path.relative_to(made.root).as_posix() for path in made.root.rglob("*") if path.is_file()}
    found = {re.sub(r"^_records/[0-9a-f]{64}/", "_records/<fingerprint>/", path) for path in found}
    found = {re.sub(r"^small/", "<sweep>/", path).replace("models/8.", "models/<architecture>.") for path in found}
    found = {path.replace("models/deep.", "models/<architecture>.") for path in found}
    found = {path.replace("_sweeps/small.", "_sweeps/<sweep>.") for path in found}
    found = {re.sub(r"/events/.*", "/events/", path) for path in found}
    known = list(explained("Files"))
    unexplained = {path for path in found if not any(path == k or (k[-1] == "/" and path.startswith(k)) for k in known)}
    # A record's folder and its files are explained one by one.
    assert not unexplained
    assert {path for path in found if path.startswith("_records/<")} <= set(known)


def test_predictions_are_explained():
    assert list(explained("predictions.npz")) == [
        *("label", "predicted", "probabilities", "val_label", "val_predicted", "val_probabilities"),
    ]  # test_trial reads a real one


# ---- two sweeps at once


def test_a_trial_is_one_sweeps_at_a_time(made):
    asked = itertools.count()
    with made.results.claim("a" * 64, may_wait=lambda: False) as ours:
        with Results(made.root).claim("a" * 64, may_wait=lambda: next(asked) < 2) as theirs:
            assert (ours, theirs) == (True, False)
        with Results(made.root).claim("b" * 64, may_wait=lambda: False) as another:
            assert another
    with Results(made.root).claim("a" * 64, may_wait=lambda: False) as free_again:
        assert free_again


def test_whoever_takes_a_trial_clears_away_what_a_killed_process_left_of_it(made):
    abandoned = made.results.draft("a" * 64)
    folder = abandoned.__enter__()  # and never left
    (folder / "record.json").write_text("half")
    with made.results.claim("a" * 64, may_wait=lambda: False):
        assert not folder.exists()

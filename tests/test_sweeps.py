"""Every sweep file that is shipped: it loads, plans what its comment says, and runs from the command line.

New files are found by themselves. All of them run on the generated stand-in, whatever data set they name, so that
nothing is downloaded; images are of the same size there, and so are the stacks.
"""

import math
import re
from pathlib import Path

import pytest
from one_trial import worker  # noqa: F401 - worker is a fixture
from sweeping import Project

from fmnist_mlp.cli.console import DONE
from fmnist_mlp.cli.sweep import main
from fmnist_mlp.errors import SweepError
from fmnist_mlp.runner.plan import Options, make_plan
from fmnist_mlp.sweepfile.read import load_sweep
from fmnist_mlp.sweepfile.search import ROUND
from fmnist_mlp.sweepfile.sweep import Baseline, Overrides

ROOT = Path(__file__).resolve().parent.parent
FILES = [ROOT / "architectures.yaml", *sorted((ROOT / "sweeps").glob("*.yaml"))]
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


@pytest.fixture(autouse=True)
def _no_images(monkeypatch):
    monkeypatch.delenv("FASHION_MNIST_DIR", raising=False)


@pytest.fixture
def plan(tmp_path):
    """`plan(path)`: what `--dry-run` plans of the file, on the stand-in."""

    def plan(path):
        sweep = load_sweep(path).model_copy(update={"dataset": "synthetic"})
        return make_plan(sweep, Options(results_dir=tmp_path / "results", jobs=0))

    return plan


def comment(path):
    """The words of the comment that a file begins with, its lines joined."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("#").strip() for line in lines[:first])


def stated_parameters(path):
    """Every number of parameters in it: of a stack, of what is trained of one, or a budget."""
    found = re.findall(r"(\d[\d,]*) (?:trainable )?parameters", comment(path))
    return {int(number.replace(",", "")) for number in found}


# ---- loaded and planned --------------------------------------------------------------------------------------------


def test_there_are_sweep_files_to_look_at():
    assert len(FILES) >= 7


@every_file
def test_a_shipped_file_plans_every_trial_that_it_asks_for(path, plan, tmp_path):
    planned = plan(path)
    sweep, names = planned.sweep, [item.name for item in planned.sweep.architectures]
    assert len(set(names)) == len(names) >= 1
    affordable = len(names) - len(planned.state.over_budget)
    seeds = (*sweep.looks, len(sweep.seeds))[0]  # those of the first look, where there are several
    if sweep.search is None:
        assert len(planned.state.trials) == affordable * seeds * (sweep.folds or 1) > 0
        assert len(planned.to_train) == len(planned.state.asked_for)
    else:  # first of all the candidates of a round
        assert (planned.state.trials, len(planned.to_train), len(planned.state.candidates)) == ([], ROUND, ROUND)
    if sweep.refit is not None and sweep.refit.which == "all":
        assert len(planned.state.refits) == affordable * (sweep.refit.seeds or len(sweep.seeds))
    assert len({trial.fingerprint for trial in planned.state.trials}) == len(planned.state.trials)
    assert (planned.damaged, planned.changes) == ([], [])
    for item in sweep.architectures:
        size = planned.state.sizes[item.name]
        if not isinstance(item, Baseline):
            assert (item.name in planned.state.over_budget) == (size.params > (item.max_params or math.inf))
    assert not (tmp_path / "results").exists(), "a plan writes nothing"


@every_file
def test_the_comment_of_a_shipped_file_says_what_is_in_it(path, plan):
    """Its command, every number of parameters that it states, how many stacks and trainings there are."""
    said, planned = comment(path), plan(path)
    relative = path.relative_to(ROOT).as_posix()
    assert f"python sweep.py {'' if path.parent == ROOT else relative}".strip() in said
    schema = re.search(r"\$schema=(\S+)", said).group(1)
    assert (path.parent / schema).resolve() == ROOT / "architectures.schema.json"

    sizes = planned.state.sizes.values()
    true = {number for size in sizes for number in (size.params, size.trainable_params)}
    true |= {item.max_params for item in planned.sweep.architectures}
    assert stated_parameters(path) <= true
    counts = re.search(r"(\d+) stacks, (\d+) of them over budget; (\d+) trainings", said)
    if counts:
        found = len(planned.sweep.architectures), len(planned.state.over_budget), len(planned.state.trials)
        assert tuple(map(int, counts.groups())) == found


def test_comments_state_parameters_that_these_tests_find():
    """Else the test above would look at nothing."""
    stated = {path.name: stated_parameters(path) for path in FILES}
    assert 95_271 in stated["cnn_under_100k.yaml"]
    assert sum(map(len, stated.values())) >= 5


# ---- run -----------------------------------------------------------------------------------------------------------


def few(names):
    """All of a short list; of a longer one the first, the last and one between."""
    return names if len(names) <= 5 else [names[0], names[len(names) // 2], names[-1]]


def with_few_epochs(path, sweep):
    """As few as every warm-up leaves room for; as they stand where stacks differ in nothing else."""
    epochs = 1 + max(math.floor(item.training.warmup_epochs) for item in sweep.architectures)
    try:
        load_sweep(path, Overrides(epochs=epochs))
    except SweepError:
        return []
    return ["--epochs", str(epochs)]


@pytest.mark.slow
@every_file
def test_a_shipped_file_runs_from_the_command_line(path, plan, worker, tmp_path, capsys):  # noqa: F811
    """One seed, 300 images and as few epochs as it allows, but through all that a real sweep goes through."""
    project = Project(tmp_path / "project")
    without_data = re.sub(r"^dataset:.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    planned = plan(path)
    few_values = {"trials": ROUND, "depth": 1, "units": 16, "dropout": 0.1, "activation": "relu", "optimizer": "adam"}
    for key, few_of_them in few_values.items() if planned.sweep.search else ():  # so few programs
        without_data = re.sub(rf"^  {key}: .*$", f"  {key}: {few_of_them}", without_data, flags=re.MULTILINE)
    project.write(f"dataset: synthetic\n{without_data}", path.name)
    affordable = [item.name for item in planned.sweep.architectures if item.name not in planned.state.over_budget]
    baselines = {item.name for item in planned.sweep.architectures if isinstance(item, Baseline)}
    wanted = affordable if baselines else few(affordable)
    options = ["--limit", "300", *with_few_epochs(path, planned.sweep), "--seeds", "1", "--jobs", "0"]
    options += [word for name in wanted for word in ("--only", name)]
    where = ["--results-dir", str(project.results), "--logs-dir", str(project.logs), "--device", "cpu"]
    code = main([str(project.folder / path.name), *options, *where])
    said = capsys.readouterr()
    assert (code, said.err) == (DONE, "")

    seeds = "" if len(planned.sweep.seeds) == 1 else "+seeds-1"
    epochs = "".join(f"+epochs-{number}" for number in with_few_epochs(path, planned.sweep)[1:])
    folder = path.stem + epochs + "+limit-300" + seeds
    rows, trials = project.rows(folder), project.trials(folder)
    listed, finalists = [item.name for item in planned.sweep.architectures], [*rows][len(planned.sweep.architectures) :]
    assert [*rows][: len(listed)] == listed
    assert len(finalists) == (planned.sweep.search.finalists if planned.sweep.search else 0)
    assert {name.removesuffix(" refit") for name, _ in trials} == set(wanted)
    for name, row in rows.items():
        if name in planned.state.over_budget:
            assert row["verdict"] == "over budget"
        if name not in wanted:
            assert (row["trials"], row["failed"], row["test_accuracy"]) == ("0", "0", "")
            continue
        assert (row["trials"], row["failed"]) == (str(planned.sweep.folds or 1), "0")
        assert 0 < float(row["test_accuracy"]) <= 1
        assert trials[name, 0]["status"] == "done"
        assert row["dataset"] == "synthetic"
        if name not in baselines:
            assert (row["params"], row["flops"]) == (trials[name, 0]["params"], trials[name, 0]["flops"])
            assert float(row["latency_seconds"]) > 0
            assert (project.results / folder / "models" / f"{name}.keras").is_file()
    assert (project.results / folder / "report.html").is_file()
    assert "0 to train" in _rerun(project, path, options, where, capsys)


def _rerun(project, path, options, where, capsys):
    assert main([str(project.folder / path.name), *options, *where, "--dry-run"]) == DONE
    return capsys.readouterr().out

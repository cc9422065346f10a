"""What the README says exists: commands, options, files, and the YAML and messages that it shows."""

import re
import shlex
from pathlib import Path

import pytest
from scipy.stats import binomtest

from fmnist_mlp.cli import verbs as verbs_module
from fmnist_mlp.cli.console import USER_ERROR
from fmnist_mlp.cli.sweep import main
from fmnist_mlp.sweepfile.read import load_sweep

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _help(parser_of, capsys) -> str:
    with pytest.raises(SystemExit):
        parser_of(["--help"])
    return capsys.readouterr().out


def test_every_option_in_the_readme_has_help(capsys):
    verbs = ("clean", "explore", "report", "predict", "export", "app", "spread")
    known = _help(main, capsys) + "--logdir --help"
    known += "".join(_help(lambda _, verb=verb: verbs_module.verbs([verb, "--help"]), capsys) for verb in verbs)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert options
    assert {option for option in options if option not in known} == set()


def test_every_verb_in_the_readme_has_help(capsys):
    known = _help(verbs_module.verbs, capsys)
    verbs = set(re.findall(r"python -m fmnist_mlp ([a-z]+)", README))
    assert verbs
    assert {verb for verb in verbs if verb not in known} == set()


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_a_page_links_to_exists(page):
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert links or page.name != "README.md"
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_an_unfilled_place(page):
    assert "@@" not in page.read_text(encoding="utf-8")


def test_the_yaml_in_the_readme_is_a_valid_sweep(tmp_path):
    listed, grid, baselines, search = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(listed, encoding="utf-8")
    sweep = load_sweep(path)
    assert [a.name for a in sweep.architectures] == ["64-128-64-32", "regularised"]
    assert sweep.architectures[1].training.learning_rate == 5e-4
    path.write_text(grid, encoding="utf-8")
    sweep = load_sweep(path)
    assert (sweep.grid_stacks, sweep.grid_duplicates, len(sweep.architectures)) == (36, 6, 30)
    assert "64-bn-32-bn-learning_rate0.003" in {a.name for a in sweep.architectures}
    path.write_text(baselines, encoding="utf-8")
    assert [a.in_short for a in load_sweep(path).architectures][::2] == ["LogisticRegression()", "SVC(C=10)"]
    path.write_text(search, encoding="utf-8")
    found = load_sweep(path).search
    assert (found.trials, found.rungs, found.finalists, found.max_params) == (100, (2, 7, 20), 5, 110_000)


def test_the_message_in_the_readme_is_what_the_program_says(tmp_path, monkeypatch, capsys):
    (shown,) = re.findall(r"```console\n\$ python sweep.py\n(.*?)```", README, flags=re.DOTALL)
    number, line = int(re.search(r":(\d+):", shown).group(1)), shown.splitlines()[1].strip()
    before = ["seeds: 1", *["#"] * (number - 4), "architectures:", "  - name: wide"]
    (tmp_path / "architectures.yaml").write_text("\n".join([*before, f"    {line}"]) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main([]) == USER_ERROR
    assert capsys.readouterr().err == shown


def test_make_has_the_two_commands_of_the_readme():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    commands = [shlex.split(line)[1] for line in re.findall(r"^make .*?(?=  #|$)", README, flags=re.MULTILINE)]
    assert commands[:2] == ["sweep", "test"]
    assert set(commands) <= set(targets)


# ---- sentences that say what their rows show


RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_what_seeds_move_is_the_spread_of_the_readmes_own_table():
    spreads = [
        float(spread) for spread in re.findall(r"^\| [\d-]+ \|.*?\| 0\.\d+ ± (0\.\d+) \|", README, flags=re.MULTILINE)
    ]
    assert len(spreads) == 4
    assert f"a standard deviation of {100 * min(spreads):.2f} to {100 * max(spreads):.2f} points" in " ".join(
        README.split()
    )


def test_the_one_ensemble_has_the_interval_of_its_test_images():
    interval = binomtest(9233, 10_000).proportion_ci(confidence_level=0.95, method="wilson")
    for page in (README, RESULTS):
        assert "0.9233 ± 0.005" in page
        assert f"{interval.low:.4f} to {interval.high:.4f}" in page


def test_what_every_row_of_the_search_has_is_not_said_to_help():
    sweep = load_sweep(ROOT / "sweeps" / "dense_search.yaml")
    settings = [architecture.training for architecture in sweep.architectures]
    assert all(one.augment.shift for one in settings)
    assert {(one.label_smoothing, one.optimizer, one.schedule) for one in settings} == {(0.1, "adamw", "cosine")}
    sentence = f"shifts, label smoothing, AdamW and the cosine stand in all {len(settings)} rows"
    assert sentence in " ".join(RESULTS.split())


def test_the_figures_that_the_search_is_said_to_give_are_those_of_its_table():
    table = (ROOT / "docs" / "dense-search.md").read_text(encoding="utf-8")
    rows = {cells[1]: cells for cells in (re.split(r" *\| *", line) for line in table.splitlines()) if len(cells) > 9}
    trials = {name: int(cells[8]) for name, cells in rows.items() if cells[8].isdigit()}
    assert len(trials) == 22
    assert {*trials.values()} == {1, 2}, "with these every verdict is too few seeds"
    text = " ".join(RESULTS.split())
    for name in ("small-base", "small-bn-after", "small-300-epochs", "mid-200-epochs", "mid-base", "small-lr4e-3"):
        assert rows[name][6].partition(" ")[0] in text, name

"""What the README says exists: commands, options, files, and the YAML and messages that it shows."""

import re
import shlex
from pathlib import Path

import pytest

from fmnist_mlp import cli, config

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _help(parser_of, capsys) -> str:
    with pytest.raises(SystemExit):
        parser_of(["--help"])
    return capsys.readouterr().out


def test_every_option_in_the_readme_has_help(capsys):
    verbs = ("clean", "explore", "report", "predict", "export", "app")
    known = _help(cli.main, capsys) + "--logdir --help"
    known += "".join(_help(lambda _, verb=verb: cli.verbs([verb, "--help"]), capsys) for verb in verbs)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert options
    assert {option for option in options if option not in known} == set()


def test_every_verb_in_the_readme_has_help(capsys):
    known = _help(cli.verbs, capsys)
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
    listed, grid, baselines = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(listed, encoding="utf-8")
    sweep = config.load_sweep(path)
    assert [a.name for a in sweep.architectures] == ["64-128-64-32", "regularised"]
    assert sweep.architectures[1].training.learning_rate == 5e-4
    path.write_text(grid, encoding="utf-8")
    sweep = config.load_sweep(path)
    assert (sweep.grid_stacks, sweep.grid_duplicates, len(sweep.architectures)) == (36, 6, 30)
    assert "64-bn-32-bn-learning_rate0.003" in {a.name for a in sweep.architectures}
    path.write_text(baselines, encoding="utf-8")
    assert [a.in_short for a in config.load_sweep(path).architectures][::2] == ["LogisticRegression()", "SVC(C=10)"]


def test_the_message_in_the_readme_is_what_the_program_says(tmp_path, monkeypatch, capsys):
    (shown,) = re.findall(r"```console\n\$ python sweep.py\n(.*?)```", README, flags=re.DOTALL)
    number, line = int(re.search(r":(\d+):", shown).group(1)), shown.splitlines()[1].strip()
    before = ["seeds: 1", *["#"] * (number - 4), "architectures:", "  - name: wide"]
    (tmp_path / "architectures.yaml").write_text("\n".join([*before, f"    {line}"]) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.main([]) == cli.USER_ERROR
    assert capsys.readouterr().err == shown


def test_make_has_the_two_commands_of_the_readme():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    commands = [shlex.split(line)[1] for line in re.findall(r"^make .*?(?=  #|$)", README, flags=re.MULTILINE)]
    assert commands[:2] == ["sweep", "test"]
    assert set(commands) <= set(targets)

"""Sweep files that ask for too much, or for anything: refused by their line at little cost, or a plan."""

import itertools
import os
import re
import time

import pytest
from commands import TINY, project, run, trained
from faults import MEBIBYTE, is_one_line, memory_within
from hypothesis import given
from mutations import anything, mutated

from fmnist_mlp.runner import plan as plan_module
from fmnist_mlp.runner.plan import Options
from fmnist_mlp.sweepfile.read import load_sweep

__all__ = ["project", "run", "trained"]  # fixtures, used by name


@pytest.mark.parametrize(
    "beginning", [b"", TINY.encode() + b"# and so on "], ids=["nothing but zeros", "sound at first"]
)
def test_a_sweep_file_of_100_megabytes_is_refused_after_its_first(run, project, beginning):
    path = project.folder / "large.yaml"
    path.write_bytes(beginning)
    os.truncate(path, 100_000_000)  # holes: it takes no disk
    with memory_within(16 * MEBIBYTE):
        assert is_one_line(run("large.yaml", "--dry-run"), r"^large\.yaml: is larger than 1 MiB")


def swelling(first, line):
    """Eight anchors, each made of the one before it by `line(name, before)`."""
    return first + "".join(f"{name}: &{name} {line(name, before)}\n" for before, name in itertools.pairwise("abcdefgh"))


ALIASES = {
    "of lists": (
        swelling("a: &a [1]\n", lambda name, before: f"[{', '.join(9 * ['*' + before])}]"),
        "more than 50,000 values",
    ),
    "of mappings": (
        swelling("a: &a {x: 1}\n", lambda name, before: f"{{{', '.join(f'k{i}: *{before}' for i in range(9))}}}"),
        "more than 50,000 values",
    ),
    "of merges": (
        swelling(
            "a: &a {x: 1}\n", lambda name, before: f"{{{name}: *{before}, <<: [{', '.join(99 * ['*' + before])}]}}"
        ),
        "more than 50,000 values",
    ),
    "of layers": ("x: &x [" + "8," * 150 + "]\narchitectures:\n" + "- *x\n" * 400, "more than 50,000 values"),
    "of itself": ("a: &a [*a]\n", "stands inside the value"),
    "of itself, by a merge": ("a: &a {<<: *a}\n", "stands inside the value"),
    "of itself, from afar": ("a: &a {b: {c: [1, {d: *a}]}}\n", "stands inside the value"),
}


@pytest.mark.parametrize("kind", ALIASES)
def test_aliases_without_end_cost_little_and_say_little(run, project, kind):
    text, message = ALIASES[kind]
    project.write(text, "alias.yaml")
    with memory_within(64 * MEBIBYTE):
        ran = run("alias.yaml", "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    assert re.match(rf"alias\.yaml:\d+: .*{message}", ran.errors[0])
    assert len(ran.err) < 400


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[10000000]", r"dense units must be from 1 to 1,000,000, got 10000000"),
        ("[2000000000]", r"dense units must be from 1 to 1,000,000, got 2000000000"),
        # 784,000,000 + 1,000,000 and 1,000,000,000,000 + 1,000,000 and 10,000,000 + 10
        ("[1000000, 1000000]", r"1,000,796,000,010 parameters need about [\d,]+\.\d GiB to train with adam, more than"),
        (f"[{'1000000, ' * 199}10]", r"parameters need about [\d,]+\.\d GiB to train with adam, more than the"),
    ],
)
def test_enormous_stacks_are_refused_by_their_line_before_anything_is_allocated(run, project, trained, layers, message):
    project.write(f"dataset: synthetic\nseeds: 1\narchitectures:\n  - [8]\n  - {layers}\n", "huge.yaml")
    with memory_within(16 * MEBIBYTE):
        ran = run("huge.yaml", "--jobs", "0")
    assert (ran.code, ran.out, trained) == (2, "", [])
    assert re.match(rf"huge\.yaml:5: .*({message})", ran.errors[0]), ran.err
    assert not project.results.exists()


def test_no_more_workers_than_their_stacks_fit_into_memory(project, monkeypatch):
    """784 x 1,000,000 + 11,000,010 parameters; adam needs 16 bytes for each: 12.7 GB a worker, besides the worker."""
    project.write("dataset: synthetic\nseeds: 4\narchitectures:\n  - [1000000]\n", "wide.yaml")
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_memory_bytes", lambda: 30_000_000_000)
    monkeypatch.setattr("fmnist_mlp.runner.plan.available_cores", lambda: 4)
    for jobs in (None, 1000):
        plan = plan_module.make_plan(load_sweep("wide.yaml"), Options(jobs=jobs, device="cpu"))
        assert plan.jobs == 2
        assert plan.jobs_note.startswith("2 workers, not 4: ")


@pytest.mark.slow
def test_a_long_list_of_seeds_takes_no_quadratic_time(project):
    """By the processor's time, which other processes leave alone: 0.4 s; 17 s where each is looked for in a list."""
    project.write("architectures: [[8]]\nseeds:\n" + "".join(f"- {n}\n" for n in range(45_000)), "seeds.yaml")
    began = time.process_time()
    assert len(load_sweep("seeds.yaml").seeds) == 45_000
    assert time.process_time() - began < 5


@pytest.mark.slow
def test_more_trials_than_anybody_could_train_are_refused_before_they_are_listed(run, project, trained, monkeypatch):
    """5,000 stacks in 40 kB and 10,000 seeds: each trial is a kilobyte of memory, a fingerprint and a look for it."""
    stacks = "".join(f"- [{units}]\n" for units in range(1, 5001))
    project.write(f"dataset: synthetic\nseeds: 10000\narchitectures:\n{stacks}", "many.yaml")
    monkeypatch.setattr(
        "fmnist_mlp.runner.proposals.list_trials", lambda *args, **kwargs: pytest.fail("they were listed")
    )
    ran = run("many.yaml", "--dry-run")
    assert (ran.code, ran.out, trained) == (2, "", [])
    assert re.match(r"many\.yaml:.* 50,000,000 trials", ran.errors[0])


@pytest.mark.slow
@anything
@given(text=mutated())
def test_any_sweep_file_is_a_plan_or_one_clear_answer(run, project, text):
    """The whole way through the command line: exit code 0 or 2, nothing written, never a traceback (`run` looks)."""
    project.write(text, "any.yaml")
    ran = run("any.yaml", "--dry-run")
    assert ran.code in (0, 2)
    if ran.code == 2:
        assert ran.out == ""
        assert ran.errors
        assert all(line.isprintable() for line in ran.errors)
    assert sorted(path.name for path in project.folder.iterdir() if path.name != "home") == ["any.yaml", "tiny.yaml"]

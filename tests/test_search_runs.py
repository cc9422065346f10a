"""A search, trained for real: the same to the last bit for any number of workers, killed or not."""

import functools
import json
import os
import signal

import pytest
from sweeping import Project, different, read_csv, wait_until

# Two stacks, so two programs, and many learning rates.
SEARCH = """
name: tiny
dataset: synthetic
limit: 300
seeds: {until: decided, looks: [2, 3]}
training: {epochs: 4, batch_size: 50}
search:
  trials: 40
  depth: [1, 2]
  units: 4
  learning_rate: {from: 1e-3, to: 1e-1, log: true}
  stop_early: {rungs: 2, keep: 0.3}
  finalists: 2
"""


def numbers(project):
    """What must be the same: all of the sweep, the table of candidates, and their records."""
    records = {}
    for row in read_csv(project.results / "tiny" / "search.csv"):
        record = json.loads((project.results / "_records" / row["fingerprint"] / "record.json").read_text("utf-8"))
        records[row["fingerprint"]] = {key: record[key] for key in record if key not in ("measured", "environment")}
    return project.numbers() | {"search.csv": (project.results / "tiny" / "search.csv").read_bytes()} | records


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The search by one worker, uninterrupted."""
    project = Project(tmp_path_factory.mktemp("alone"), SEARCH)
    project.sweep("--jobs", "1")
    return numbers(project)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["0", "2", "4"])
def test_a_search_is_the_same_for_any_number_of_workers(jobs, alone, tmp_path):
    project = Project(tmp_path, SEARCH)
    project.sweep("--jobs", jobs)
    assert different(numbers(project), alone) == []
    assert len(read_csv(project.results / "tiny" / "search.csv")) == 40
    assert not list((project.results / "_records" / ".checkpoints").glob("*/*"))


def has_records(project, wanted):
    return len([*project.results.glob("_records/*/record.json")]) >= wanted


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_is_the_same(alone, tmp_path):
    """In the first rung, at its end, in the second round, and among the finalists, each time on other workers."""
    project = Project(tmp_path, SEARCH)
    for jobs, wanted in (("2", 7), ("1", 20), ("2", 26), ("1", 41)):
        with project.start("--jobs", jobs) as process:
            wait_until(functools.partial(has_records, project, wanted), process, seconds=300)
            os.killpg(process.pid, signal.SIGKILL)
    project.sweep("--jobs", "2")
    assert different(numbers(project), alone) == []

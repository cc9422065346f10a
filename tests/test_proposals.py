"""Which trials come next: from the sweep file and the records alone, so the same after a crash."""

import dataclasses

import pytest
from sweeping import SMALL, Made

from fmnist_mlp.runner.proposals import InTurn, proposals_of
from fmnist_mlp.sweepfile.trials import list_refits

PROPOSALS = proposals_of("tiny", plain_fit=False)


@pytest.fixture
def made(tmp_path):
    made = Made(tmp_path, SMALL.replace("seeds: 2", "seeds: 2\nrefit: true"))
    for trial in made.plan:
        figure = 0.9 if trial.architecture.name == "deep" else 0.5
        made.records[trial.fingerprint] = made.record(trial, val_accuracy=figure)
    return made


def asked_next(state, **changes):
    return [trial.fingerprint for trial in PROPOSALS.next(dataclasses.replace(state, **changes))]


def refits_of(made, *names):
    chosen = [architecture for architecture in made.sweep.architectures if architecture.name in names]
    return [trial.fingerprint for trial in list_refits(made.sweep, chosen, data_identity="tiny")]


def test_the_listed_trials_come_first_and_once(made):
    listed = [trial.fingerprint for trial in made.plan]
    assert asked_next(made.state, trials=[], records={}) == listed
    assert asked_next(made.state, records={}) == []
    over = [trial.fingerprint for trial in made.plan if trial.architecture.name != "deep"]
    assert asked_next(made.state, trials=[], over_budget=frozenset(["deep"])) == over


def test_refits_of_the_best_wait_for_the_last_record_and_for_no_order(made):
    records = list(made.records.items())
    for number in range(len(records)):
        assert asked_next(made.state, records=dict(records[:number])) == []
    expected = refits_of(made, "deep")
    assert asked_next(made.state) == asked_next(made.state, records=dict(reversed(records))) == expected
    assert asked_next(made.state, refits=PROPOSALS.next(made.state)) == []


def test_a_failure_is_a_record_and_where_all_failed_nothing_is_refitted(made):
    failed = {trial.fingerprint: made.record(trial, failed=True) for trial in made.plan}
    deep = {trial.fingerprint: failed[trial.fingerprint] for trial in made.plan if trial.architecture.name == "deep"}
    assert asked_next(made.state, records=made.records | deep) == refits_of(made, "8")
    assert asked_next(made.state, records=failed) == []


def test_refits_of_all_wait_for_nothing(tmp_path):
    made = Made(tmp_path, SMALL.replace("seeds: 2", "seeds: 2\nrefit: all"))
    assert asked_next(made.state) == refits_of(made, "8", "deep")
    assert asked_next(made.state, over_budget=frozenset(["8"])) == refits_of(made, "deep")


def test_of_several_proposals_the_first_that_has_something_is_asked(made):
    class MoreSeeds:
        """What a later proposal may be."""

        def next(self, state):
            return ["more"] if state.refits else []

    proposals = InTurn((PROPOSALS, MoreSeeds()))
    refits = proposals.next(made.state)
    assert [trial.fingerprint for trial in refits] == refits_of(made, "deep")
    assert proposals.next(dataclasses.replace(made.state, refits=refits)) == ["more"]

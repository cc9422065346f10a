"""Which worker does what, and when: warm workers, groups that stay together, calls that want to be alone."""

import dataclasses
import os

import engine_calls
import pytest
from engine_runs import call, local, make_engine, nothing_left_behind, numbered, run

from fmnist_mlp.engines.calls import Outcome
from fmnist_mlp.engines.inline import InlineEngine

__all__ = ["make_engine", "nothing_left_behind"]  # fixtures, used by name


def test_workers_stay_warm():
    outcomes = run(local(), *numbered(engine_calls.pid, 5))
    pids = {outcome.value for outcome in outcomes.values()}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_no_more_workers_than_calls():
    hellos = []
    engine = local(16, on_worker=lambda worker, value: hellos.append(worker))
    assert len(run(engine, *numbered(engine_calls.nothing, 2))) == 2
    assert set(hellos) <= {0, 1}


def test_as_many_calls_as_jobs_run_at_once(tmp_path):
    paths = [tmp_path / str(n) for n in range(3)]
    outcomes = run(local(3), *(call(engine_calls.meet, path, paths, key=path.name) for path in paths))
    assert len({outcome.value for outcome in outcomes.values()}) == 3
    assert {outcome.worker for outcome in outcomes.values()} == {0, 1, 2}


def test_a_starting_worker_does_not_hold_up_the_others(tmp_path):
    """The second worker's initializer waits for a file that the last of the first worker's calls makes."""
    paths = tmp_path / "first", tmp_path / "5"
    engine = local(2, initializer="engine_calls:initialize_first_quickly", initargs=paths)
    outcomes = run(engine, *(call(engine_calls.meet, tmp_path / str(n), [], key=str(n)) for n in range(6)))
    assert len({outcome.value for outcome in outcomes.values()}) == 1


def test_a_process_is_replaced_after_some_calls():
    hellos = []
    engine = local(recycle_after=2, on_worker=lambda worker, value: hellos.append(worker))
    outcomes = run(engine, *numbered(engine_calls.pid, 6))
    pids = [outcomes[str(n)].value for n in range(6)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]
    assert hellos == [0, 0, 0]


@pytest.mark.slow
def test_a_process_that_grew_too_large_is_replaced():
    engine = local(recycle_bytes=300 * 2**20)
    outcomes = run(
        engine,
        call(engine_calls.pid, key="small"),
        call(engine_calls.hold_memory, 400 * 2**20, key="large"),
        call(engine_calls.pid, key="after"),
    )
    assert outcomes["small"].value == outcomes["large"].value != outcomes["after"].value


def test_calls_of_a_group_stay_together(tmp_path):
    """Two workers in step: each call of group a ends only beside one of b, each of c beside one of d."""
    calls = []
    for pair in ("ab", "cd"):
        for n in range(5):
            paths = {group: tmp_path / f"{group}{n}" for group in pair}
            calls += [call(engine_calls.meet, paths[g], [*paths.values()], key=f"{g}{n}", group=g) for g in pair]
    outcomes = run(local(2), *calls)
    workers = {group: {o.worker for o in outcomes.values() if o.call.group == group} for group in "abcd"}
    assert all(len(numbers) == 1 for numbers in workers.values())
    assert workers["a"] != workers["b"]
    assert workers["c"] != workers["d"]


def test_nobody_is_idle_while_calls_of_another_group_wait(tmp_path):
    """One group, two workers: every call needs another one that runs at the same time."""
    pairs = [[tmp_path / f"{n}a", tmp_path / f"{n}b"] for n in range(3)]
    calls = [call(engine_calls.meet, path, pair, key=path.name, group="one") for pair in pairs for path in pair]
    assert len({outcome.worker for outcome in run(local(2), *calls).values()}) == 2


def test_calls_that_want_to_be_alone_run_last_one_at_a_time_on_a_warm_worker(tmp_path):
    paths = [tmp_path / f"{n}" for n in range(4)]
    pairs = [paths[:2], paths[:2], paths[2:], paths[2:]]
    alone = [call(engine_calls.held_and_seen, paths, key=f"alone {n}", alone=True) for n in range(3)]
    together = [call(engine_calls.hold, path, pair, key=path.name) for path, pair in zip(paths, pairs, strict=True)]
    outcomes = list(local(2).run([alone[0], *together, *alone[1:]]))
    assert [outcome.call.alone for outcome in outcomes] == [False] * 4 + [True] * 3
    assert [outcome.value[:2] for outcome in outcomes[4:]] == [(0, 4)] * 3
    assert {outcome.value[2] for outcome in outcomes[4:]} <= {outcome.value for outcome in outcomes[:4]}


def test_a_call_is_prepared_before_each_attempt_and_may_need_no_worker(tmp_path):
    prepared = []

    def prepare(one):
        prepared.append(one.key)
        if one.key == "known":
            return Outcome(one, "done", "known already", attempts=0)
        return dataclasses.replace(one, args=(tmp_path / "mark",))

    calls = [call(engine_calls.die_once, "not this", key="dies"), call(engine_calls.die, key="known")]
    outcomes = run(local(prepare_call=prepare), *calls)
    assert outcomes["dies"].value == "survived"
    assert outcomes["known"].value == "known already"
    assert sorted(prepared) == ["dies", "dies", "known"]


def test_a_listed_call_is_handed_out_before_the_consumer_deals_with_the_outcome_before_it(tmp_path):
    paths = [tmp_path / "second", tmp_path / "seen"]
    for outcome in local().run([call(engine_calls.double, 1), call(engine_calls.meet, paths[0], paths)]):
        if outcome.call.key == "double":
            engine_calls.wait_until(paths[0].exists)
            paths[1].touch()
    assert outcome.status == "done"


def test_calls_that_run_alone_follow_calls_that_needed_no_worker():
    engine = local(prepare_call=lambda one: one if one.alone else Outcome(one, "done", attempts=0))
    outcomes = run(engine, call(engine_calls.die), call(engine_calls.double, 4, alone=True))
    assert outcomes["double"].value == 8


def test_calls_that_want_to_be_alone_are_beside_no_other_of_their_kind(tmp_path):
    """Each would hold the lock that the other looks for."""
    calls = [call(engine_calls.held_and_seen, [tmp_path / "1"], key="look", alone=True)]
    calls += [call(engine_calls.hold, tmp_path / "1", [], key="hold", alone=True)]
    assert run(local(2), *calls)["look"].value[:2] == (0, 0)


def test_a_call_that_wants_to_be_alone_runs_though_there_is_no_other(make_engine, tmp_path):
    outcomes = run(make_engine(), call(engine_calls.double, 4, alone=True))
    assert outcomes["double"].value == 8


def test_a_call_that_wants_to_be_alone_survives_its_worker(tmp_path):
    outcomes = run(local(2), call(engine_calls.double, 1), call(engine_calls.die_once, tmp_path / "mark", alone=True))
    assert (outcomes["die_once"].value, outcomes["die_once"].attempts) == ("survived", 2)


def test_a_stop_leaves_calls_that_want_to_be_alone_for_next_time(make_engine):
    engine = make_engine()
    engine.on_message = lambda call, message: engine.stop()
    outcomes = run(engine, call(engine_calls.stop_when_asked), call(engine_calls.double, 1, alone=True))
    assert {key: outcome.status for key, outcome in outcomes.items()} == {"stop_when_asked": "stopped"}


def test_the_group_with_the_most_to_do_comes_first_and_ties_keep_their_order():
    calls = [
        call(engine_calls.nothing, key="small", group="small"),
        call(engine_calls.nothing, key="long1", group="long", cost=2),
        call(engine_calls.nothing, key="alone", cost=3),
        call(engine_calls.nothing, key="long2", group="long", cost=2),
        call(engine_calls.nothing, key="small too"),
    ]
    expected = ["long1", "long2", "alone", "small", "small too"]
    assert list(run(local(), *calls)) == expected
    assert list(run(InlineEngine(), *calls)) == expected

"""Calls that are not known beforehand, and calls that are told something while they run."""

import itertools

import engine_calls
import pytest
from engine_runs import call, local, make_engine, nothing_left_behind, run

__all__ = ["make_engine", "nothing_left_behind"]  # fixtures, used by name


def test_calls_drawn_one_by_one_may_depend_on_what_came_out(make_engine):
    """Each number is twice the one before; None says that the next is not known yet."""
    values, drawn_at = [1], []

    def calls():
        for number in range(5):
            while len(values) <= number:
                yield None
            drawn_at.append(len(values))
            yield call(engine_calls.double, values[number], key=str(number))

    for outcome in make_engine().run(calls()):
        values.append(outcome.value)
    assert values == [1, 2, 4, 8, 16, 32]
    assert drawn_at == [1, 2, 3, 4, 5]


def test_no_more_calls_are_drawn_than_there_are_workers(make_engine):
    engine, drawn = make_engine(), []
    calls = (drawn.append(n) or call(engine_calls.double, n, key=str(n)) for n in itertools.count())
    outcomes = engine.run(calls)
    assert [next(outcomes).status for _ in range(4)] == ["done"] * 4
    assert len(drawn) <= 3 + (engine.jobs or 1)
    outcomes.close()


def test_a_run_whose_calls_are_not_known_while_nothing_runs_ends(make_engine):
    assert list(make_engine().run(iter([None]))) == []
    (outcome,) = make_engine().run(iter([call(engine_calls.double, 1), None, None]))
    assert outcome.value == 2


def test_an_error_while_calls_are_drawn_ends_the_run(make_engine):
    def calls():
        yield call(engine_calls.double, 1)
        raise OSError("no proposals")

    with pytest.raises(OSError, match="no proposals"):
        list(make_engine().run(calls()))


def test_a_call_drawn_by_itself_that_wants_to_be_alone_has_no_other_beside_it(tmp_path):
    """In the order of the iterator: two that meet, one alone, two that meet."""
    paths = [tmp_path / str(n) for n in range(4)]
    calls = [call(engine_calls.hold, path, pair, key=path.name) for pair in (paths[:2], paths[2:]) for path in pair]
    calls.insert(2, call(engine_calls.held_and_seen, paths, key="alone", alone=True))
    outcomes = list(local(2).run(iter(calls)))
    assert outcomes[2].call.alone
    assert outcomes[2].value[:2] == (0, 2)
    assert len(outcomes) == 5


def test_what_is_sent_reaches_the_running_call(make_engine):
    told = []

    def answer(one, message):
        if message == "ready":
            told.extend(engine.send(key, f"to {key}") for key in (one.key, one.key, "nobody"))

    engine = make_engine(on_message=answer)
    outcomes = run(engine, *(call(engine_calls.wait_for_messages, 2, key=key) for key in ("one", "two", "three")))
    assert {key: outcome.value for key, outcome in outcomes.items()} == {key: [f"to {key}"] * 2 for key in outcomes}
    assert told == [True, True, False] * 3
    assert engine.send("one", "too late") is False


def test_what_was_sent_to_a_call_is_not_for_the_next_one():
    engine = local(on_message=lambda one, message: engine.send(one.key, one.key))
    calls = [call(engine_calls.report_numbers, 3, key="deaf"), call(engine_calls.wait_for_messages, 1, key="next")]
    assert run(engine, *calls)["next"].value == ["next"]

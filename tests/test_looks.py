"""Looks replayed from figures: who is trained on, who is dropped, what stays when."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_mlp.results import looks
from fmnist_mlp.results.looks import Design, Memory, replay

SEEDS = tuple(range(40))
USUAL = (5, 10, 20, 40)


def invented(levels, spread=1.0, seed=0):
    """Figures of 40 seeds for each architecture, by its level."""
    rng = np.random.default_rng(seed)
    of_seeds = rng.normal(size=len(SEEDS))
    return {
        name: dict(zip(SEEDS, (level + of_seeds + spread * rng.normal(size=len(SEEDS))).tolist(), strict=True))
        for name, level in levels.items()
    }


def progress_of(figures, ended=None, at=USUAL, margin=None, memory=None):
    ended = {name: set(by_seed) for name, by_seed in figures.items()} if ended is None else ended
    design = Design(SEEDS[: at[-1]], at, len(figures), margin)
    return replay([*figures], figures, ended, design, higher_is_better=True, memory=memory or Memory())


def trained(figures, **arguments):
    """The progress when a sweep trains what is asked for and nothing else, and what it was asked for at each step."""
    ended, steps = {name: set() for name in figures}, []
    while True:
        known = {name: {seed: figures[name].get(seed) for seed in seeds} for name, seeds in ended.items()}
        progress = progress_of(known, ended, **arguments)
        wanted = {name: {*SEEDS[:asked]} for name, asked in progress.asked.items()}
        if wanted == ended:
            return progress, steps
        steps.append(dict(progress.asked))
        ended = wanted


FOUR = {"far": -30.0, "best": 0.0, "near": -1.2, "close": -0.1}


@pytest.mark.slow
def test_after_each_look_those_still_open_and_the_best_are_trained_on():
    progress, steps = trained(invented(FOUR))
    assert steps[0] == dict.fromkeys(FOUR, 5)
    assert steps[1] == {"far": 5, "best": 10, "near": 10, "close": 10}
    assert steps[-1]["far"] == 5
    assert {steps[-1]["best"], steps[-1]["close"]} == {40}
    assert progress.comparisons["far"].verdict == "worse"
    assert progress.comparisons["best"].verdict == "best"
    assert progress.look == 4


def test_it_ends_when_nobody_is_open():
    progress, steps = trained(invented({"best": 0.0, "far": -30.0, "farther": -60.0}))
    assert steps == [{"best": 5, "far": 5, "farther": 5}]
    assert progress.look == 1
    assert progress.still_open == ()


def test_with_a_margin_what_is_good_enough_is_decided_too_and_judged_anew_at_each_look():
    figures = invented({"best": 0.0, "level": -0.01, "open": -2.0}, spread=0.3)
    progress, steps = trained(figures, margin=3.0)
    assert steps[1] == {"best": 10, "level": 5, "open": 10}, "equivalent at the first look"
    assert progress.comparisons["level"].verdict == "equivalent"
    assert progress.comparisons["open"].verdict == "worse"


def test_what_was_dropped_keeps_the_figures_of_its_look_though_the_best_becomes_another():
    figures = invented(FOUR)
    first = progress_of(figures, {name: {*SEEDS[:5]} for name in FOUR})
    assert first.look == 1
    for name in FOUR:  # from the sixth seed on another one is the best
        for seed in SEEDS[5:]:
            figures[name][seed] += {"near": 20.0}.get(name, 0.0)
    last, _ = trained(figures)
    assert last.comparisons["near"].verdict == "best"
    assert last.comparisons["far"] == first.comparisons["far"]


def test_a_look_waits_for_every_record_and_one_of_a_fixed_number_of_seeds_for_none():
    figures = invented(FOUR)
    ended = {name: {*SEEDS[:5]} for name in FOUR}
    ended["near"] = ended["near"] - {4}
    waiting = progress_of(figures, ended)
    assert (waiting.look, waiting.comparisons) == (0, {})
    assert waiting.asked == dict.fromkeys(FOUR, 5)
    assert progress_of(figures, ended, at=(5,)).look == 1


@pytest.mark.slow
def test_an_architecture_of_which_no_trial_of_a_look_is_left_gets_no_more_seeds():
    figures = invented(FOUR)
    for seed in SEEDS[5:]:
        figures["close"][seed] = None
    progress, steps = trained(figures)
    assert progress.without_figures == {"close"}
    assert steps[-1]["close"] == 10
    assert "close" in progress.comparisons, "what was seen of it is still judged"
    assert "close" not in progress.still_open
    figures["far"] = {}
    progress, steps = trained(figures)
    assert steps[-1]["far"] == 5
    assert "far" not in progress.comparisons


def test_one_architecture_alone_is_decided_at_the_first_look():
    progress, steps = trained(invented({"alone": 0.0}))
    assert steps == [{"alone": 5}]
    assert progress.comparisons["alone"].verdict == "best"


@pytest.mark.slow
@given(st.data())
@settings(deadline=None, max_examples=25)
def test_whatever_order_trials_end_in_and_wherever_it_is_killed_the_same_is_asked_for(data):
    figures = invented({"a": 0.0, "b": -0.8, "c": -3.0, "d": -0.1}, seed=data.draw(st.integers(0, 50)))
    expected, steps = trained(figures)
    ended, asked = {name: set() for name in figures}, []
    while True:
        progress = progress_of({n: {s: figures[n][s] for s in seeds} for n, seeds in ended.items()}, ended)
        asked += [dict(progress.asked)] if dict(progress.asked) not in asked else []
        missing = [(n, s) for n, number in progress.asked.items() for s in SEEDS[:number] if s not in ended[n]]
        if not missing:
            break
        for name, seed in data.draw(st.lists(st.sampled_from(missing), min_size=1, max_size=12)):
            ended[name].add(seed)
    assert asked == steps
    assert progress == expected


def test_with_its_memory_nothing_is_compared_again(monkeypatch):
    figures, memory = invented(FOUR), Memory()
    progress = progress_of(figures, memory=memory)
    monkeypatch.setattr(looks, "compare_with_best", None)
    assert progress_of(figures, memory=Memory(memory.content())) == progress
    with pytest.raises(TypeError):
        progress_of(invented(FOUR, seed=1), memory=Memory(memory.content()))


@pytest.mark.parametrize("remembered", [{}, {"boundaries": 3, "compared": []}, {"compared": {"x": 1}}])
def test_a_damaged_memory_is_none(remembered):
    assert progress_of(invented(FOUR), memory=Memory(remembered)) == progress_of(invented(FOUR))

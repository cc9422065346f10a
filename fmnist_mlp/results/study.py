"""A search as an Optuna study: what its sampler is told of each candidate, and which setting matters how much.

What is told: of a candidate that went through all rungs its figure; of one that was stopped early that it was pruned
after so many epochs with such a figure; of one that is the same as an earlier one the same again; of one over budget
that it is infeasible, and by how much; of one that failed (NaN, say) that it failed.

Optuna is imported in the functions: whoever only reads this module's names pays nothing.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from fmnist_mlp.results.record import Record
from fmnist_mlp.results.search import Progress, SearchLog, Standing, Values, figure_after
from fmnist_mlp.sweepfile.search import Choice, Range

_FEWEST = 10  # candidates that tell anything of what matters


def distributions_of(log: SearchLog) -> dict[str, Any]:
    """Optuna's distribution of each axis.

    A study copies those of each trial that it is given, which took a quarter of all its time; these are never changed,
    so each is its own copy.
    """
    distributions = {name: _distribution(axis) for name, axis in log.search.axes.items()}
    for distribution in distributions.values():
        distribution.__deepcopy__ = lambda memo, itself=distribution: itself
    return distributions


def _distribution(axis: Choice | Range):
    """Whole numbers are drawn as real ones and rounded (`Search.tidy`): Optuna's own take five times as long."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(axis, Choice):
        return CategoricalDistribution(range(len(axis.values)))
    margin = 0.5 if axis.is_whole else 0.0
    return FloatDistribution(axis.low - margin, axis.high + margin, log=axis.log)


def study_trials(log: SearchLog, progress: Progress, distributions: Mapping[str, Any]) -> list:
    """What came of all rounds so far, as finished trials of a study, in the order of proposal."""
    return [
        _finished(log, values, None if candidate is None else progress.standings[candidate.number], distributions)
        for values, candidate in itertools.chain.from_iterable(log.proposed)
    ]


def _finished(log: SearchLog, values: Values, standing: Standing | None, distributions: Mapping[str, Any]):
    from optuna.trial import TrialState, create_trial

    about = {"params": {**values}, "distributions": distributions}
    if standing is None:
        return create_trial(state=TrialState.PRUNED, constraints={"max_params": excess(log, values)}, **about)
    if standing.figure is None:
        return create_trial(state=TrialState.FAIL, **about)
    if standing.status == "whole":
        return create_trial(state=TrialState.COMPLETE, value=standing.figure, **about)
    return create_trial(state=TrialState.PRUNED, intermediate_values={standing.epochs: standing.figure}, **about)


def excess(log: SearchLog, values: Values) -> float:
    """By which share of the budget a stack is above it."""
    return log.size_of(log.search.architecture(values)).params / log.search.max_params - 1


def importances(log: SearchLog, records: Mapping[str, Record]) -> dict[str, float]:
    """How much of what candidates differ by at their first rung each axis explains, the most important first.

    All of them went so far, and under the same conditions. Shares of 1, by PED-ANOVA (arXiv:2304.10255), Optuna's
    default; none where there are too few candidates.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rung, distributions, trials = log.search.rungs[0], distributions_of(log), []
    for candidate in itertools.chain.from_iterable(log.rounds()):
        record = records.get(candidate.trial.fingerprint)
        if record is not None and record.is_unscored:
            figure = figure_after(record, rung, candidate.architecture.training, log.select_by)
            about = {"params": {**candidate.values}, "distributions": distributions}
            trials += [] if figure is None else [optuna.trial.create_trial(value=figure, **about)]
    if len(trials) < _FEWEST:
        return {}
    study = optuna.create_study(direction="maximize" if log.select_by == "val_accuracy" else "minimize")
    study.add_trials(trials)
    return optuna.importance.get_param_importances(study)

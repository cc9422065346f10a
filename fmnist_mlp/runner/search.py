"""What a search asks for next: the candidates of a rung, or a new round of them, which Optuna proposes.

Nothing here depends on when or where trials ended. The sampler of a round has a seed of its own, made of the search's
seed and the round, and sees what all earlier rounds came to, in the order of proposal. So the same sweep file gives the
same candidates with any number of workers, killed or not, and further trials go on as if they had been asked for at
once.
"""

from dataclasses import dataclass, replace

from fmnist_mlp.data.source import DataInfo
from fmnist_mlp.engines.machine import available_memory_bytes
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results.ranking import SweepState
from fmnist_mlp.results.search import Progress, SearchLog
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.study import distributions_of, excess, study_trials
from fmnist_mlp.runner.proposals import Proposal
from fmnist_mlp.sweepfile import steps
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.search import ROUND
from fmnist_mlp.sweepfile.stacks import StackSize
from fmnist_mlp.sweepfile.sweep import Architecture, Sweep
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.words import counted

MOST_OVER_BUDGET = 1_000  # proposals in a row


@dataclass(frozen=True)
class Searched:
    """The candidates of a search; when it is over, what else the sweep file asks for."""

    then: Proposal

    def next(self, state: SweepState) -> list[Trial]:
        log = state.search
        if log is None:
            return self.then.next(state)
        progress = log.progress(state.records)
        if progress.is_over:
            return self.then.next(state)
        if not progress.asked and not progress.halted and progress.complete == len(log.proposed):
            propose_round(log, progress)
            progress = log.progress(state.records)
        asked_before = {trial.fingerprint: trial.until for trial in state.candidates}
        return [
            replace(candidate.trial, until=epochs)
            for candidate, epochs in progress.asked
            if asked_before.get(candidate.trial.fingerprint, 0) < epochs
        ]


def search_log(results: Results, sweep: Sweep, info: DataInfo, plain_fit: bool) -> SearchLog | None:
    """What the search of a sweep has proposed so far.

    Raises:
        SweepError: no stack of its space can be trained.
    """
    if sweep.search is None:
        return None
    extremes = sweep.model_copy(update={"architectures": tuple(sweep.search.extremes())})
    sizes = check_shapes(extremes, info.image_shape, info.num_classes, available_memory_bytes(), info.class_counts)
    smallest = min(size.params for size in sizes.values())
    if sweep.search.max_params is not None and smallest > sweep.search.max_params:
        raise SweepError(
            f"{sweep.path}:{sweep.search.line}: every stack of the search is over budget: the smallest has "
            f"{smallest:,} parameters, and max_params is {sweep.search.max_params:,}"
        )

    def count(architecture: Architecture) -> StackSize:
        return steps.count(architecture.training.preprocess, architecture.layers, info.image_shape, info.num_classes)

    arguments = {"data_identity": info.identity, "plain_fit": plain_fit}
    log = SearchLog(sweep, arguments, count)
    log.restore(results.registry.load_search(log.key))
    return log


def propose_round(log: SearchLog, progress: Progress) -> None:
    """Add a round of candidates to the log.

    Raises:
        SweepError: what is proposed is over budget again and again.
    """
    # Imported here: it takes a quarter of a second, and a rerun needs it no more.
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search, round_number = log.search, len(log.proposed)
    study = optuna.create_study(
        direction="maximize" if log.select_by == "val_accuracy" else "minimize",
        sampler=_sampler(search.sampler, search.seed, round_number),
    )
    distributions = distributions_of(log)
    study.add_trials(study_trials(log, progress, distributions))
    proposed, found, over_budget = [], 0, 0
    while found < ROUND:
        trial = study.ask(distributions)
        values = search.tidy(trial.params)
        proposed.append(values)
        if log.candidate(values, round_number, before=found) is not None:
            found, over_budget = found + 1, 0
            continue
        over_budget += 1
        if over_budget == MOST_OVER_BUDGET:
            raise SweepError(
                f"search: {counted(over_budget, 'candidate')} in a row have more parameters than max_params "
                f"({search.max_params:,}); narrow depth or units, or raise max_params"
            )
        trial.set_constraint("max_params", excess(log, values))
        study.tell(trial, state=TrialState.PRUNED)
    log.add(proposed, optuna.__version__)


def _sampler(name: str, seed: int, round_number: int):
    import numpy as np
    from optuna.samplers import RandomSampler, TPESampler

    own_seed = int(np.random.SeedSequence([seed, round_number]).generate_state(1)[0])
    if name == "random":
        return RandomSampler(seed=own_seed)
    # All axes are drawn at once, also the units of layers that the depth leaves out: then one look at the earlier
    # candidates does for all, which is three times as quick (docs/search.md).
    return TPESampler(seed=own_seed, multivariate=True)

"""Which trials a sweep asks for next.

A proposal looks at a state (the sweep file, the trials that are asked for, their records) and names the trials to ask
for now; none when it has no more to ask for, or must wait for records. It knows nothing else, so it proposes the same
after a crash, with any number of workers, and in whatever order trials ended. A new way to choose trials is one more
proposal; how trials run, and which of them this run leaves out, is the loop's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fmnist_mlp.results.ranking import SweepState, rank
from fmnist_mlp.sweepfile.trials import Trial, list_refits, list_trials


class Proposal(Protocol):
    def next(self, state: SweepState) -> list[Trial]:
        """Trials that are not in `state.asked_for` yet; none for now, or for good."""


@dataclass(frozen=True)
class Listed:
    """The trials that the sweep file lists, with these further arguments of `list_trials`.

    With `until: decided` those up to the first look, and after each look those of whoever is trained on.
    """

    arguments: Mapping[str, Any]

    def next(self, state: SweepState) -> list[Trial]:
        if state.trials and not state.sweep.looks:
            return []
        state = state.with_finalists()
        asked = rank(state).progress.asked if state.sweep.looks else {}
        seeds = {name: state.sweep.seeds[:number] for name, number in asked.items()}
        listed = {trial.fingerprint for trial in state.trials}
        trials = list_trials(state.sweep, skip=state.over_budget, seeds=seeds or None, **self.arguments)
        return [trial for trial in trials if trial.fingerprint not in listed]


@dataclass(frozen=True)
class Refits:
    """What `refit` asks for: those of the best wait until all trials that choose have a record."""

    arguments: Mapping[str, Any]

    def next(self, state: SweepState) -> list[Trial]:
        refit, architectures = state.sweep.refit, state.sweep.architectures
        if refit is None or state.refits:
            return []
        if refit.which == "all":
            chosen = [item for item in architectures if item.name not in state.over_budget]
        elif all(trial.fingerprint in state.records for trial in state.trials):
            best = rank(state).best
            chosen = [item for item in architectures if item.name == best]
        else:
            chosen = []
        return list_refits(state.sweep, chosen, **self.arguments)


@dataclass(frozen=True)
class InTurn:
    """Several proposals: the first one that has something to ask for."""

    proposals: Sequence[Proposal]

    def next(self, state: SweepState) -> list[Trial]:
        return next(filter(None, (proposal.next(state) for proposal in self.proposals)), [])


def proposals_of(data_identity: str, plain_fit: bool) -> Proposal:
    """What a sweep file can ask for today."""
    arguments = {"data_identity": data_identity, "plain_fit": plain_fit}
    return InTurn((Listed(arguments), Refits(arguments)))

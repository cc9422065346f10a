"""Where a figure of the table is better than it should be, a sentence each, for screen, report, page and model card.

What verdicts mean is said elsewhere. Here is what no verdict allows for: that the best was chosen on the very trainings
that are then tested, that some rows have the better of many epochs, that failures are in no mean.
"""

from collections.abc import Sequence

from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.ranking import SweepState
from fmnist_mlp.words import listed

MARK = "after selection"  # what a figure is called where there is no room for the sentence

_MOST_NAMED = 6


def cautions(state: SweepState, rows: Sequence[TableRow]) -> list[str]:
    """All of them that hold for this table."""
    return [*of_failures(rows), *of_best_epochs(state, rows), *of_the_choice(rows)]


def of_the_choice(rows: Sequence[TableRow]) -> list[str]:
    """That the best row's test figure is one after selection; nothing where it is not.

    Validation and test figures of a trial come of the same weights (over seeds they correlate by 0.7 in the default
    sweep), so whoever is lucky on validation images is on test images too. Trainings with fresh seeds are not.
    """
    if (row := chosen_by_its_trials(rows)) is None:
        return []
    return [
        f"The best, {row.architecture}, was chosen by these very trials, so its test accuracy is a little too good "
        f"({MARK}); refits, with fresh seeds, give a clean figure (refit: true)."
    ]


def chosen_by_its_trials(rows: Sequence[TableRow]) -> TableRow | None:
    """The best row, where it was chosen among several and no refits stand beside it."""
    compared = [row for row in rows if row.behind_best.mean is not None]
    best = next((row for row in compared if row.verdict == "best" and not row.refit_trials), None)
    return best if len(compared) > 1 else None


def of_best_epochs(state: SweepState, rows: Sequence[TableRow]) -> list[str]:
    """That the weights of the best epoch make validation figures too good, where others have those of the last."""
    compared = [row.architecture for row in rows if row.behind_best.mean is not None]
    restored = {
        item.name
        for item in state.sweep.architectures
        if item.training.early_stopping is not None and item.training.early_stopping.restore_best_weights
    }
    named = [name for name in compared if name in restored]
    if not 0 < len(named) < len(compared):
        return []
    # Best minus last epoch, the mean of 43 trainings of small Dense stacks on Fashion-MNIST.
    return [
        f"early_stopping keeps the best epoch by validation of {listed(named, _MOST_NAMED)}, which makes validation "
        "figures too good (accuracy by some 0.004) beside rows that have those of the last epoch: verdicts between "
        "them lean that way."
    ]


def of_failures(rows: Sequence[TableRow]) -> list[str]:
    """That a row with failures is judged on what did not fail."""
    failed = [
        f"{row.architecture} {row.failed} of {row.trials + row.failed}"
        for row in rows
        if row.failed and row.behind_best.mean is not None
    ]
    if not failed:
        return []
    return [
        f"Trials failed ({listed(failed, _MOST_NAMED)}): what diverges on some seeds is judged on those that survived, "
        "so it may be worse than it looks."
    ]

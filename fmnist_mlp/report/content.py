"""A sweep as its page shows it: which rows and trials, under which names, and what can be read of them.

Everything is read or computed once, when a section asks for it. What cannot be had says why, in a sentence.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fmnist_mlp.data.source import DataSource, describe, files_of, load_test_images
from fmnist_mlp.errors import SweepError
from fmnist_mlp.report import plots
from fmnist_mlp.results import ranking, table
from fmnist_mlp.results.columns import ClassRow, TableRow
from fmnist_mlp.results.record import DamagedRecord, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.sweepfile.trials import Trial
from fmnist_mlp.words import counted

MOST_SHOWN = 12  # architectures in pictures that give each a panel, a line or a row; the table holds all
MOST_BYTES_OF_IMAGES = 200_000_000  # of files to read for them: what is above takes longer than all the rest


def dataset_in_words(dataset: str) -> str:
    names = {"fashion_mnist": "Fashion-MNIST", "synthetic": "generated stand-in, not Fashion-MNIST"}
    return names.get(dataset, dataset)


def subtitle_of(state: ranking.SweepState) -> str:
    """What every picture of a sweep is of, in letters that the font has."""
    quick_look = ", a quick look," if state.sweep.is_quick_look else ""
    dataset = plots.shortened(dataset_in_words(state.dataset), 40)
    return f"{plots.shortened(state.sweep.name, 40)}{quick_look} on {dataset}"


@dataclass
class Content:
    """A sweep as the page shows it.

    Args:
        problems: what could not be shown, and why.
    """

    state: ranking.SweepState
    rows: Sequence[dict]
    results: Results
    source: DataSource | None
    problems: list[str] = field(default_factory=list)

    @cached_property
    def ordered(self) -> list[TableRow]:
        """All rows, best first, those without a figure last."""
        return ranking.best_first(self.rows)

    @cached_property
    def shown(self) -> list[TableRow]:
        """The rows that pictures with a panel, a line or a row each have room for."""
        return [row for row in self.ordered if row.trials][:MOST_SHOWN]

    @property
    def best(self) -> dict | None:
        """The best row, or where none has a figure to be chosen by the first that has trials."""
        return next(iter(self.shown), None)

    @cached_property
    def done(self) -> dict[str, list[tuple[Trial, Record]]]:
        """Finished trials with their records, by architecture name."""
        trials = self.state.by_architecture()
        return {name: [pair for pair in pairs if pair[1].is_done] for name, pairs in trials.items()}

    @cached_property
    def failed(self) -> list[tuple[Trial, Record]]:
        kinds = self.state.by_architecture(), self.state.refits_by_architecture()
        return [pair for kind in kinds for pairs in kind.values() for pair in pairs if pair[1].is_failed]

    @property
    def metric(self) -> str:
        """What the best is selected by, as a column's name."""
        return self.state.select_by

    @property
    def metric_words(self) -> str:
        return plots.METRICS[self.metric]

    @property
    def subtitle(self) -> str:
        return subtitle_of(self.state)

    @property
    def which_shown(self) -> str:
        """Which architectures a picture shows: `all 4 architectures`, `the best 12 of 200 ...`."""
        with_trials = sum(bool(row.trials) for row in self.rows)
        if with_trials > len(self.shown):
            return f"the best {len(self.shown)} of {with_trials:,} architectures by {self.metric_words}"
        return "the one architecture" if with_trials == 1 else f"all {counted(with_trials, 'architecture')}"

    @cached_property
    def labels(self) -> dict[str, str]:
        """Names for pictures, short and in letters that the font has, no two alike; by architecture name."""
        return plots.short_labels([row.architecture for row in self.rows])

    @property
    def shown_labels(self) -> list[str]:
        return [self.labels[row.architecture] for row in self.shown]

    @cached_property
    def class_rows(self) -> list[ClassRow]:
        """`table.class_rows` of the architectures that are shown: the same numbers as classes.csv."""
        names = {row.architecture for row in self.shown}
        trials = [trial for trial in self.state.trials if trial.architecture.name in names]
        return table.class_rows(dataclasses.replace(self.state, trials=trials), self.results)

    @cached_property
    def best_trial(self) -> Trial | None:
        """The best architecture's best trial by validation; None before any is done."""
        return ranking.rank(self.state).best_trials.get(self.best.architecture) if self.best else None

    @cached_property
    def confusion_matrix(self) -> np.ndarray | None:
        """Of the best architecture, summed over its finished trials: int, `(classes, classes)`, rows are labels."""
        total = None
        for _, record in self.done[self.best.architecture] if self.best else ():
            with contextlib.suppress(DamagedRecord):
                whole = record if record.classes else self.results.load_record(record.fingerprint)
                counts = np.array(whole.classes["test"].confusion_matrix) if whole and whole.classes else None
                if counts is not None and (total is None or total.shape == counts.shape):
                    total = counts if total is None else total + counts
        return total

    @cached_property
    def class_names(self) -> list[str]:
        return [row.class_name for row in self.class_rows if row.architecture == self.best.architecture]

    @cached_property
    def predictions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | str:
        """Labels, predicted classes and confidences of the best trial on test images, `(n,)` each; else why not."""
        trial = self.best_trial
        fingerprint, which = trial.fingerprint, trial.in_words
        if self.state.records[fingerprint].metrics.get("test_ece") is None:
            return f"{which} gives no probabilities."
        try:
            arrays = self.results.load_predictions(fingerprint, "label", "predicted", "probabilities")
            label, predicted, chances = arrays
            if not (chances.ndim == 2 and label.shape == predicted.shape == (len(chances),) and len(label)):
                raise DamagedRecord(f"{fingerprint}: its predictions do not fit each other")
        except DamagedRecord:
            # Not the error: it names a folder of this machine, and the page is the same wherever it is made.
            place = f"_records/{fingerprint}/predictions.npz"
            self.problems.append(f"The predictions of {which} are missing or damaged ({place}).")
            return self.problems[-1]
        return label, predicted, chances.max(axis=1).astype(np.float64)

    @cached_property
    def test_images(self) -> np.ndarray | str:
        """uint8 `(n, height, width)`, in the order of the predictions; or why there are none, a sentence."""
        if self.source is None:
            return "the report was made without them."
        if isinstance(self.predictions, str):
            return self.predictions
        try:
            size = sum(path.stat().st_size for path in files_of(self.source))
            if size > MOST_BYTES_OF_IMAGES:
                return f"reading {size / 1e6:,.0f} MB of images would take long."
            # The memory of the plan: mostly it knows which images these are without reading all of them.
            identity = describe(self.source, self.results.load_data_memory()).identity
            images = load_test_images(self.source)
        except (SweepError, OSError) as error:
            self.problems.append(f"The images cannot be read: {' '.join(str(error).split())}.")
            return self.problems[-1]
        trained_on = self.best_trial.settings.get("data")
        if trained_on != identity or len(images) != len(self.predictions[0]):
            return "the images that are there now are not those that the trial was tested on."
        return images

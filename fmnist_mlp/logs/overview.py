"""The folder `logs/<sweep>/`: a sweep in so few runs that TensorBoard draws them as soon as it is opened.

TensorBoard's Scalars and Custom Scalars select no run where there are more than 40, and no address can choose some (its
issues 376 and 6239). So an architecture has two runs here, `64-32` with the mean training curves, figures and pictures
and `64-32/validation`, and only the best architectures have a place. `_live/` has the curves of some trials in
training, `_sweep` what belongs to no single architecture. All sweeps below one logs folder share the 40: each may trim
the others to an equal share. Every trial is in a folder of its own (`logs/views`), and all can be made again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fmnist_mlp.data.source import DataInfo, DataSource
from fmnist_mlp.errors import SweepError, writing
from fmnist_mlp.files import below, made_of
from fmnist_mlp.logs.earlier import take_over
from fmnist_mlp.logs.events import EVENTS, event_file, read_text
from fmnist_mlp.logs.hparams import HParams, shown_name
from fmnist_mlp.logs.sweep_run import (
    MOST_CHARTS,
    architecture_events,
    architecture_page,
    mean_curves,
    projector_files,
    sweep_events,
)
from fmnist_mlp.results import ranking
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.record import Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.views import JOURNAL, Views
from fmnist_mlp.sweepfile.seeds import seed_in_words
from fmnist_mlp.sweepfile.sweep import Baseline
from fmnist_mlp.sweepfile.trials import Trial

MOST_RUNS = 40  # tensorboard 2.21, tf-runs-selector
_FEWEST = 3  # of a sweep among many: `_sweep` and the best architecture

_MOST_LIVE = 4  # trials; more curves that move at once tell nobody more

_FORMAT = 1  # raise it when the same records give another overview

# No architecture is named so: names that begin with _ are ours.
_SWEEP_RUN, _LIVE, _ORDER = "_sweep", "_live", "_order"

Found = Sequence[tuple[Trial, Record]]


class Overview:
    """The folder `logs/<sweep>/`.

    Args:
        folder: below the logs folder, named as the sweep.
        results: where the records lie.
        hparams: the columns of the sweep's table.
    """

    def __init__(self, folder: Path, results: Results, hparams: HParams):
        self.views = Views(folder)
        self._folder, self._results, self._hparams = folder, results, hparams
        self._growing: set[str] = set()  # parts below `_live` that this process writes
        self._most_live, self._shown = 0, []

    def sync(self, state: ranking.SweepState) -> None:
        """Show what is known of a sweep at the beginning of a run, and nothing that it does not ask for.

        Raises:
            SweepError: the logs cannot be written, or somebody else's files are in the way.
        """
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            if self.views.is_unknown:
                take_over(self.views, self._results)
            for name in {trial.architecture.name for trial in state.trials}:
                folders = [self._folder / run for run in (name, f"{name}/validation", f"{name}/refit")]
                is_ours = self.views.names(name) or self.views.names(f"{name}/about")
                foreign = [] if is_ours else [folder for folder in folders if next(folder.glob(EVENTS), None)]
                if foreign:
                    raise SweepError(f"{foreign[0]} holds files of somebody else: move them, or use another --logs-dir")
        missing = {live_part(trial): trial for trial in state.asked_for if trial.fingerprint not in state.records}
        for part in self.views.parts():
            is_live = part in missing and self.views.is_in_step(part, missing[part].fingerprint)
            if (part.startswith(_LIVE) and not is_live) or (part == _SWEEP_RUN and not state.trials):
                self.views.remove(self.views.names(part))
        self.show_architectures(state)

    def show_architectures(self, state: ranking.SweepState) -> None:
        """Mean curves and an HParams row of the best architectures, by the trials that are done."""
        trials, refits = state.by_architecture(), state.refits_by_architecture()
        order = ranking.rank(state).order
        order = [*order, *(name for name, found in trials.items() if found and name not in order)]
        missing = sum(trial.fingerprint not in state.records for trial in state.asked_for)
        places = self._places() - 1
        self._most_live = min(_MOST_LIVE, missing, max(1, places // 4))
        places -= 2 * self._most_live
        self._shown = []
        for name in order:
            runs = 1 + _has_validation(trials[name]) + bool(refits[name])
            if runs > places:
                break
            places -= runs
            self._shown.append(name)
        wanted = {_SWEEP_RUN, _ORDER, *self._shown, *(f"{name}/about" for name in self._shown)}
        for part in self.views.parts():
            if part not in wanted and not part.startswith(f"{_LIVE}/"):
                self.views.remove(self.views.names(part))
        charted = self._networks(state)[:MOST_CHARTS]
        for name in self._shown:
            self._show_curves(name, trials[name], refits[name], name in charted)
        order = {_ORDER: "".join(f"{name}\n" for name in self._shown)} if self._shown else {}
        self.views.show(_ORDER, "-", order)

    def mirror(self, trial: Trial, files: Mapping[str, Path]) -> None:
        """Show the curves of a trial in training as they are by now, if there is a place.

        Args:
            files: its event files, by their path below the run.
        """
        part = live_part(trial)
        live = [other for other in self.views.parts() if other.startswith(f"{_LIVE}/")]
        if part not in live and len(live) >= self._most_live:
            waiting = [other for other in live if other not in self._growing]  # was interrupted, and is not on yet
            if not waiting:
                return
            self.views.remove(self.views.names(waiting[0]))
        self._growing.add(part)
        self.views.remove(name for name in self.views.names(part) if name.removeprefix(f"{part}/") not in files)
        for name, path in files.items():
            self.views.grow(f"{part}/{name}", path, part, trial.fingerprint)

    def drop_live(self, trial: Trial) -> None:
        """Its trial has ended."""
        self._growing.discard(live_part(trial))
        self.views.remove(self.views.names(live_part(trial)))

    def show_sweep(
        self, state: ranking.SweepState, rows: Sequence[TableRow], info: DataInfo, source: DataSource
    ) -> None:
        """Pages, graphs and pictures of the architectures, and the run `_sweep`; arguments as in `SweepLogs`."""
        self.show_architectures(state)
        best = ranking.rank(state).best_trials
        architectures = {item.name: item for item in state.sweep.architectures}
        for name in self._shown:
            page, trial = architecture_page(state, architectures[name], info), best.get(name)
            key = made_of([_FORMAT, page, trial and self._results.content_key(trial.fingerprint)])[:16]
            part = f"{name}/about"
            if not self.views.is_in_step(part, key):
                events = architecture_events(page, self._results, trial)
                file, content = event_file(f"{key}.architecture", events)
                self.views.show(part, key, {f"{name}/{file}": content})
        if not best:
            self.views.remove(self.views.names(_SWEEP_RUN))
            return
        networks = self._networks(state)
        trials = [[trial.architecture.name, trial.fingerprint] for trial in state.asked_for]
        shown = [row.model_dump() for row in rows]
        parts = [_FORMAT, state.sweep.title, str(state.sweep.path), trials, shown, list(state.class_names), networks]
        key = made_of(parts)[:16]
        if self.views.is_in_step(_SWEEP_RUN, key):
            return
        is_known = networks and networks[0] in best
        contents = projector_files(self._results, best[networks[0]], source, info) if is_known else {}
        contents |= [event_file(f"{key}.sweep", sweep_events(state, rows, networks[:MOST_CHARTS]))]
        self.views.show(_SWEEP_RUN, key, {f"{_SWEEP_RUN}/{name}": content for name, content in contents.items()})

    def _networks(self, state: ranking.SweepState) -> list[str]:
        """Those shown that have epochs, the best first."""
        baselines = {item.name for item in state.sweep.architectures if isinstance(item, Baseline)}
        return [name for name in self._shown if name not in baselines]

    def _show_curves(self, name: str, found: Found, refits: Found, has_chart: bool) -> None:
        keys = [[trial.fingerprint, self._results.content_key(trial.fingerprint)] for trial, _ in (*found, *refits)]
        key = made_of([_FORMAT, self._folder.name, name, self._hparams.key(name), keys, has_chart])[:16]
        if self.views.is_in_step(name, key):
            return
        histories = [record.history for _, record in found if record.is_done]
        runs = {name: self._session(found) + mean_curves(name, histories, "", has_chart)}
        if _has_validation(found):
            runs[f"{name}/validation"] = mean_curves(name, histories, "val_", has_chart)
        if refits:
            runs[f"{name}/refit"] = self._session(refits)
        files = {run: event_file("curves", events) for run, events in runs.items()}
        self.views.show(name, key, {f"{run}/{file}": content for run, (file, content) in files.items()})

    def _session(self, found: Found) -> list:
        trial = found[0][0]
        return self._hparams.session(f"{self._folder.name}/{shown_name(trial)}", trial, [record for _, record in found])

    # ---- places

    def _places(self) -> int:
        """How many runs this sweep may have, so that TensorBoard draws all below the logs folder.

        Other sweeps keep what they have up to an equal share, those that were written last first.
        """
        logs = self._folder.parent
        with writing(self._folder):
            ours = {(self._folder / name).parent for part in self.views.parts() for name in self.views.names(part)}
            runs = _runs_below(logs) - ours
            journals = [path for path in logs.glob(f"*/{JOURNAL}") if path.parent != self._folder]
            journals.sort(key=_written_at, reverse=True)
            counts = {path.parent: sum(run.is_relative_to(path.parent) for run in runs) for path in journals}
            counts = {folder: number for folder, number in counts.items() if number}
            share = max(_FEWEST, MOST_RUNS // (1 + len(counts)))
            left = MOST_RUNS - (len(runs) - sum(counts.values()))  # without what others than sweeps have there
            for folder, number in counts.items():
                kept = min(number, share)
                kept = kept if left - kept >= share else 0
                if number > kept:
                    self._trim(folder, kept)
                left -= kept
        return max(_FEWEST, left)

    def _trim(self, folder: Path, most: int) -> None:
        """Remove runs of another sweep's overview, its worst architectures first, until it has so many."""
        views = Views(folder)
        order = [*filter(None, (read_text(folder / _ORDER) or "").splitlines()), None]
        places = {_ORDER: -3, _SWEEP_RUN: -2, _LIVE: -1} | {name: i for i, name in enumerate(order)}
        names = {}
        for part in views.parts():
            names.setdefault(part.split("/")[0], []).extend(views.names(part))
        # What an earlier version wrote has no place in the order.
        for name in sorted(names, key=lambda name: places.get(name, places[None]), reverse=True):
            if len(_runs_below(folder)) <= most:
                break
            views.remove(names[name])
        self.views.notices += views.notices


def live_part(trial: Trial) -> str:
    return f"{_LIVE}/{run_of(trial)}"


def run_of(trial: Trial) -> str:
    """The run that shows a trial, by its path below the folder of the trials."""
    run = f"{trial.architecture.name}/{seed_in_words(trial.seed).replace(' ', '-')}"
    return run if trial.fold is None else f"{run}/fold-{trial.fold}"


def _has_validation(found: Found) -> bool:
    return any(record.is_done and record.history.get("val_loss") for _, record in found)


def _runs_below(folder: Path) -> set[Path]:
    return {path.parent for path in below(folder, "*tfevents*")}


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another sweep has removed it
        return 0.0

"""The folder `logs/<sweep>/`: every trial and the sweep itself as TensorBoard sees them, made from the records.

While a trial trains, the parent copies what is new of its curves here (`SweepLogs.mirror`), so that they grow while one
watches. When it is done, its folder becomes a view of its record: copied event files, one HParams session and the final
figures under the architecture's present name (`SweepLogs.sync`, `show`). At the end of a run `SweepLogs.show_sweep`
adds what belongs to no single trial. What is in step is not written again; what we wrote is told from what a person did
by `results/views`.
"""

import contextlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fmnist_mlp.data.source import DataInfo, DataSource
from fmnist_mlp.errors import SweepError, writing
from fmnist_mlp.files import made_of
from fmnist_mlp.logs.events import CURVE_RUNS, EVENTS, event_file, is_whole, read_text
from fmnist_mlp.logs.sweep_run import (
    MOST_CHARTS,
    architecture_events,
    architecture_page,
    graph_of,
    mean_curves,
    projector_files,
    rank_networks,
    sweep_events,
)
from fmnist_mlp.logs.trial_run import hparams_session, shown_name
from fmnist_mlp.results import ranking
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.record import DamagedRecord, Record
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.views import Views
from fmnist_mlp.sweepfile.sweep import Architecture, Baseline, Sweep
from fmnist_mlp.sweepfile.trials import Trial

_FORMAT = 2  # of what the parent writes: raise it when the same records give other views

# Says which trial a folder shows, and whether it is in training, done or failed.
_MARKER = ".trial"

_LIVE = "training"

_SECONDS_BETWEEN_MIRRORS = 1.0

_SWEEP_RUN = "_sweep"  # no architecture is named so: names that begin with _ are ours


class SweepLogs:
    """The folder `logs/<sweep>/`.

    Args:
        root: the logs folder.
        sweep: named by the folder below it.
    """

    def __init__(self, root: Path, sweep: Sweep):
        self.folder = Path(root) / sweep.folder_name
        self._views = Views(self.folder)
        self._mirrored: dict[str, float] = {}  # when, by the trial's fingerprint

    def trial_folder(self, trial: Trial) -> Path:
        """`logs/<sweep>/<architecture>/[refit-]seed-0[/fold-0]`: TensorBoard's name of the run."""
        return self.folder / _run_of(trial)

    def sync(self, results: Results, plan: Iterable[Trial], records: Mapping[str, Record]) -> None:
        """Make every trial's folder show its record and remove what the plan does not ask for.

        A folder in step is left alone, and so is whatever we did not write.

        Raises:
            SweepError: the logs cannot be written.
        """
        wanted, parts = {_run_of(trial): trial for trial in plan}, self._views.parts()
        with writing(self.folder):
            for run in wanted:
                folder = self.folder / run
                is_ours = not folder.is_dir() or (folder / _MARKER).exists() or self._views.names(run)
                if not is_ours and next(folder.rglob(EVENTS), None):
                    raise SweepError(f"{folder} holds files of somebody else: move them, or use another --logs-dir")
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._views.is_unknown:
                self._take_over(results)
        architectures = {trial.architecture.name for trial in wanted.values()}
        for part in parts:
            is_wanted = part in wanted if "/" in part else part in architectures or (part == _SWEEP_RUN and wanted)
            if not is_wanted:
                self._views.remove(self._views.names(part))
        for trial in wanted.values():
            self.show(results, trial, records.get(trial.fingerprint))

    def show(self, results: Results, trial: Trial, record: Record | None) -> None:
        """Make one trial's folder a view of its record: its curves, one HParams row, nothing of earlier trials."""
        run, state = _run_of(trial), f"{trial.fingerprint} {record.status if record else _LIVE}\n"
        if record is None:
            if self._marker(run) != state:  # else in training, perhaps by another sweep, or about to go on
                self._views.remove(self._views.names(run))
            return
        parts = [_FORMAT, state, results.content_key(trial.fingerprint), self.folder.name, shown_name(trial)]
        key = made_of(parts)[:16]
        if not self._views.is_in_step(run, key):
            with writing(self.folder / run):
                group = f"{self.folder.name}/{shown_name(trial)}"
                session, content = event_file("session", hparams_session(group, trial, record))
                events, shown = results.events(trial.fingerprint), {*self._views.names(run)}
                for name in events:
                    if f"{run}/{name}" in shown:  # a TensorBoard that has it open reads on
                        path = results.record_folder(trial.fingerprint) / "events" / name
                        self._views.grow(f"{run}/{name}", path, run, _LIVE)
            contents = events | {session: content, _MARKER: state}
            self._views.show(run, key, {f"{run}/{name}": content for name, content in contents.items()})

    def mirror(self, trial: Trial, live: Path, at_once: bool = False) -> None:
        """Show the curves of a trial in training as they are by now; at most once a second, unless `at_once`.

        A folder that shows another trial by now, since another run has the logs, is left to it. What cannot be written
        waits for the record: only its curves are late.

        Args:
            live: the folder of the `LiveLog`; nothing is shown where there is none, as on a cluster.
        """
        now, run, state = time.monotonic(), _run_of(trial), f"{trial.fingerprint} {_LIVE}\n"
        if not at_once and now - self._mirrored.get(trial.fingerprint, -math.inf) < _SECONDS_BETWEEN_MIRRORS:
            return
        with contextlib.suppress(OSError, SweepError):
            names = {path.relative_to(live).as_posix(): path for path in live.rglob(EVENTS)}
            marker = self._marker(run)
            if not names or (marker or state).split()[:1] not in ([], [trial.fingerprint]):
                return
            self._mirrored[trial.fingerprint] = now
            if marker != state:
                self._views.show(run, _LIVE, {f"{run}/{_MARKER}": state})
            kept = {f"{run}/{name}" for name in (*names, _MARKER)}
            self._views.remove(name for name in self._views.names(run) if name not in kept)
            for name, path in names.items():
                self._views.grow(f"{run}/{name}", path, run, _LIVE)

    def show_sweep(
        self, results: Results, state: ranking.SweepState, rows: Sequence[TableRow], info: DataInfo, source: DataSource
    ) -> None:
        """Bring what belongs to no single trial in step: each architecture's own run, and the run `_sweep`.

        Needs no TensorFlow; a second when something has changed, a hash of the rows when nothing has.

        Args:
            results: where the records lie.
            state: what the table is made of.
            rows: of the table, from `table.write_tables`.
            info: of the images.
            source: of the images; read only where the embedding projector changes.

        Raises:
            SweepError: the logs cannot be written.
        """
        best = ranking.rank(state).best_trials
        if not best:
            self._views.remove(self._views.names(_SWEEP_RUN))
            return
        trials = [[trial.architecture.name, trial.fingerprint] for trial in (*state.trials, *state.refits)]
        shown = [row.model_dump() for row in rows]
        key = made_of([_FORMAT, state.sweep.title, str(state.sweep.path), trials, shown, list(state.class_names)])[:16]
        for architecture in {trial.architecture.name: trial.architecture for trial in state.trials}.values():
            self._show_architecture(results, state, architecture, info, best.get(architecture.name))
        if self._views.is_in_step(_SWEEP_RUN, key):
            return
        networks = rank_networks(state)
        contents = projector_files(results, best[networks[0]], source, info) if networks else {}
        for run_name, prefix in CURVE_RUNS.items():
            name, content = event_file("curves", mean_curves(state, networks[:MOST_CHARTS], prefix))
            contents[f"{run_name}/{name}"] = content
        contents |= [event_file(f"{key}.sweep", sweep_events(state, rows, networks[:MOST_CHARTS]))]
        self._views.show(_SWEEP_RUN, key, {f"{_SWEEP_RUN}/{name}": content for name, content in contents.items()})

    def take_notices(self) -> list[str]:
        """What is to be said of files that people changed, a line each; every line once."""
        notices = self._views.notices[:]
        self._views.notices.clear()
        return notices

    def _show_architecture(
        self,
        results: Results,
        state: ranking.SweepState,
        architecture: Architecture | Baseline,
        info: DataInfo,
        best: Trial | None,
    ) -> None:
        page = architecture_page(state, architecture, info)
        key = made_of([_FORMAT, page, best is not None])[:16]
        if not self._views.is_in_step(architecture.name, key):
            graph = None
            if best is not None:
                with contextlib.suppress(DamagedRecord):
                    graph = graph_of(results.read_file(best.fingerprint, "model.keras"))
            name, content = event_file(f"{key}.architecture", architecture_events(page, graph))
            self._views.show(architecture.name, key, {f"{architecture.name}/{name}": content})

    def _marker(self, run: str) -> str | None:
        """What the folder of a run says that it shows."""
        text = read_text(self.folder / run / _MARKER)
        return None if text is None else " ".join(text.split()[:2]) + "\n"

    def _take_over(self, results: Results) -> None:
        """Make room in a folder of an earlier version, which had no journal: what is surely ours is removed.

        That is what is linked to a record, and by its name and form what only the parent writes. What the training of
        an interrupted trial left is not: it gets another name.
        """
        results.drop_links(self.folder)
        for path in self.folder.rglob(EVENTS):
            if path.suffix in _KINDS and is_whole(path):
                path.unlink()
        for marker in self.folder.rglob(_MARKER):
            words = (read_text(marker) or "").split()
            if len(words) in (2, 3) and len(words[0]) == 64:
                live = [path for part in ("train", "validation") for path in (marker.parent / part).glob(EVENTS)]
                for path in live if words[1] == _LIVE else ():
                    self._views.set_aside(path.relative_to(self.folder).as_posix())
                marker.unlink()


# What only the parent writes, by the ends of the names.
_KINDS = (".session", ".architecture", ".sweep", ".curves")


def _run_of(trial: Trial) -> str:
    """The run that shows a trial, by its path below the sweep's folder."""
    run = f"{trial.architecture.name}/{'refit-' if trial.is_refit else ''}seed-{trial.seed}"
    return run if trial.fold is None else f"{run}/fold-{trial.fold}"

"""What TensorBoard sees of a sweep, made from the records: an overview, and every trial.

The overview, `logs/<sweep>/`, has few enough runs that TensorBoard draws them (`logs/overview`). Each trial has its
runs in a folder of its own beside the results, `results/_trials/<sweep>/`.

While a trial trains, the parent copies what is new of its curves into both (`SweepLogs.mirror`), so that they grow
while one watches. When it is done, its folder becomes a view of its record: copied event files, one HParams session and
the final figures under the architecture's present name (`SweepLogs.sync`, `show`), and the overview shows the mean. At
the end of a run `SweepLogs.show_sweep` adds what belongs to no single trial. What is in step is not written again; what
we wrote is told from what a person did by `results/views`.
"""

import contextlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fmnist_mlp.data.source import DataInfo, DataSource
from fmnist_mlp.errors import SweepError, writing
from fmnist_mlp.files import below, made_of
from fmnist_mlp.logs.earlier import IN_TRAINING, MARKER, take_over
from fmnist_mlp.logs.events import EVENTS, event_file, read_text
from fmnist_mlp.logs.hparams import HParams, shown_name
from fmnist_mlp.logs.overview import Overview, run_of
from fmnist_mlp.results import ranking
from fmnist_mlp.results.columns import TableRow
from fmnist_mlp.results.record import Record
from fmnist_mlp.results.search import SearchLog
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.views import Views
from fmnist_mlp.sweepfile.sweep import Sweep
from fmnist_mlp.sweepfile.trials import Trial

_FORMAT = 3  # of what the parent writes of a trial: raise it when the same records give other views

_SEARCH = "_search"  # no architecture is called so

_SECONDS_BETWEEN_MIRRORS = 1.0

# As with the tables: at most a hundredth of the parent's time goes into an overview that is soon another.
_SECONDS_BETWEEN_OVERVIEWS, _SHARE_OF_OVERVIEWS = 1.0, 100


class SweepLogs:
    """The overview of a sweep and the folder of its trials.

    Args:
        root: the logs folder.
        sweep: names the folders.
        results: where the records lie.

    Attributes:
        folder: of the overview.
        trials_folder: of the trials.
    """

    def __init__(self, root: Path, sweep: Sweep, results: Results):
        self.folder, self.trials_folder = Path(root) / sweep.folder_name, results.trial_logs(sweep.folder_name)
        self._sweep, self._results, self._hparams = sweep, results, HParams(sweep.architectures)
        self._views = Views(self.trials_folder)
        self._overview = Overview(self.folder, results, self._hparams)
        self._state = ranking.SweepState(sweep, (), {}, {}, "")
        self._mirrored: dict[str, float] = {}  # when, by the trial's fingerprint
        self._next_overview = -math.inf

    def trial_folder(self, trial: Trial) -> Path:
        """`results/_trials/<sweep>/<architecture>/seed-0[/fold-0]`, or `refit-0`: TensorBoard's name of the run."""
        return self.trials_folder / run_of(trial)

    def sync(self, plan: Iterable[Trial], records: Mapping[str, Record]) -> None:
        """Make every trial's folder show its record and remove what the plan does not ask for; the overview follows.

        A folder in step is left alone, and so is whatever we did not write.

        Args:
            plan: what is asked for, refits too.
            records: by fingerprint. Those of this run join them before `show` is told.

        Raises:
            SweepError: the logs cannot be written.
        """
        wanted, parts = {run_of(trial): trial for trial in plan}, self._views.parts()
        with writing(self.trials_folder):
            for run in wanted:
                folder = self.trials_folder / run
                is_ours = not folder.is_dir() or (folder / MARKER).exists() or self._views.names(run)
                # Asked again at the end: another run may have begun to show it just now.
                if not is_ours and next(below(folder, EVENTS), None) and run not in self._views.parts():
                    raise SweepError(f"{folder} holds files of somebody else: move them away")
            self.trials_folder.mkdir(parents=True, exist_ok=True)
            if self._views.is_unknown:
                take_over(self._views, self._results)
        for part in parts:
            if part not in wanted and not part.startswith(f"{_SEARCH}/"):
                self._views.remove(self._views.names(part))
        for trial in wanted.values():
            self._show_trial(trial, records.get(trial.fingerprint))
        trials, refits = ([t for t in wanted.values() if t.is_refit == is_refit] for is_refit in (False, True))
        self._state = ranking.SweepState(self._sweep, trials, records, {}, "", refits=refits)
        self._overview.sync(self._state)

    def show(self, trial: Trial, record: Record) -> None:
        """Show a trial that has ended: its curves, one HParams row, nothing of earlier trials, and soon the mean."""
        self._show_trial(trial, record)
        self._overview.drop_live(trial)
        began = time.monotonic()
        if began >= self._next_overview:
            self._overview.show_architectures(self._state)
            took = time.monotonic() - began
            self._next_overview = began + max(_SECONDS_BETWEEN_OVERVIEWS, _SHARE_OF_OVERVIEWS * took)

    def _show_trial(self, trial: Trial, record: Record | None) -> None:
        run, state = run_of(trial), f"{trial.fingerprint} {record.status if record else IN_TRAINING}\n"
        if record is None:
            if self._marker(run) != state:  # else in training, perhaps by another sweep, or about to go on
                self._views.remove(self._views.names(run))
            return
        group = f"{self.folder.name}/{shown_name(trial)}"
        parts = [_FORMAT, state, self._results.content_key(trial.fingerprint), group]
        key = made_of([*parts, self._hparams.key(trial.architecture.name)])[:16]
        if not self._views.is_in_step(run, key):
            with writing(self.trials_folder / run):
                session, content = event_file("session", self._hparams.session(group, trial, [record]))
                events, shown = self._results.events(trial.fingerprint), {*self._views.names(run)}
                for name in events:
                    if f"{run}/{name}" in shown:  # a TensorBoard that has it open reads on
                        path = self._results.record_folder(trial.fingerprint) / "events" / name
                        self._views.grow(f"{run}/{name}", path, run, IN_TRAINING)
            contents = events | {session: content, MARKER: state}
            self._views.show(run, key, {f"{run}/{name}": content for name, content in contents.items()})

    def mirror(self, trial: Trial, live: Path, at_once: bool = False) -> None:
        """Show the curves of a trial in training as they are by now; at most once a second, unless `at_once`.

        A folder that shows another trial by now, since another run has the logs, is left to it. What cannot be written
        waits for the record: only its curves are late.

        Args:
            live: the folder of the `LiveLog`; nothing is shown where there is none, as on a cluster.
        """
        now, run, state = time.monotonic(), run_of(trial), f"{trial.fingerprint} {IN_TRAINING}\n"
        if not at_once and now - self._mirrored.get(trial.fingerprint, -math.inf) < _SECONDS_BETWEEN_MIRRORS:
            return
        with contextlib.suppress(OSError, SweepError):
            names = {path.relative_to(live).as_posix(): path for path in live.rglob(EVENTS)}
            marker = self._marker(run)
            if not names or (marker or state).split()[:1] not in ([], [trial.fingerprint]):
                return
            self._mirrored[trial.fingerprint] = now
            if marker != state:
                self._views.show(run, IN_TRAINING, {f"{run}/{MARKER}": state})
            kept = {f"{run}/{name}" for name in (*names, MARKER)}
            self._views.remove(name for name in self._views.names(run) if name not in kept)
            for name, path in names.items():
                self._views.grow(f"{run}/{name}", path, run, IN_TRAINING)
            self._overview.mirror(trial, names)

    def show_sweep(
        self, state: ranking.SweepState, rows: Sequence[TableRow], info: DataInfo, source: DataSource
    ) -> None:
        """Bring what belongs to no single trial in step: the overview with means, pages, table and projector.

        Needs no TensorFlow; a second when something has changed, a hash of the rows when nothing has.

        Args:
            state: what the table is made of.
            rows: of the table, from `table.write_tables`.
            info: of the images.
            source: of the images; read only where the embedding projector changes.

        Raises:
            SweepError: the logs cannot be written.
        """
        self._overview.show_sweep(state, rows, info, source)

    def show_candidates(self, log: SearchLog, records: Mapping[str, Record]) -> None:
        """An HParams row for each candidate of a search, each a run below `_search/`, with figures as far as it came.

        Raises:
            SweepError: the logs cannot be written.
        """
        found = {f"{_SEARCH}/{one.number}": one for candidates in log.rounds() for one in candidates}
        found = {part: one for part, one in found.items() if one.same_as is None and one.trial.fingerprint in records}
        hparams = HParams([one.architecture for one in found.values()])
        for part, one in found.items():
            key = made_of(
                [_FORMAT, self._results.content_key(one.trial.fingerprint), hparams.key(one.architecture.name)]
            )
            if not self._views.is_in_step(part, key):
                events = hparams.session(one.architecture.name, one.trial, [records[one.trial.fingerprint]])
                with writing(self.trials_folder / part):
                    name, content = event_file("session", events)
                self._views.show(part, key, {f"{part}/{name}": content})
        for part in self._views.parts():
            if part.startswith(f"{_SEARCH}/") and part not in found:
                self._views.remove(self._views.names(part))

    def take_notices(self) -> list[str]:
        """What is to be said of files that people changed, a line each; every line once."""
        notices = [*self._views.notices, *self._overview.views.notices]
        self._views.notices.clear()
        self._overview.views.notices.clear()
        return notices

    def _marker(self, run: str) -> str | None:
        """What the folder of a run says that it shows."""
        text = read_text(self.trials_folder / run / MARKER)
        return None if text is None else " ".join(text.split()[:2]) + "\n"

"""Which sweeps have results here: to which file each folder belongs, and what it asked for.

A line of memory for each sweep and each quick look, `_sweeps/<sweep>.json`, so that no two files share a folder, so
that a run can say what changed since the last, and so that `clean` has proof of what nobody asks for. It is a memory
only: where it is damaged, nothing is known, and the next run writes it anew.
"""

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fmnist_mlp import files
from fmnist_mlp.data.class_names import problem_with
from fmnist_mlp.errors import SweepError
from fmnist_mlp.results.views import JOURNAL
from fmnist_mlp.sweepfile.sweep import Sweep
from fmnist_mlp.sweepfile.trials import Trial


@dataclass(frozen=True)
class KnownSweep:
    """What is remembered of a sweep that was run here, or of a quick look, beside the records.

    Args:
        folder_name: of its folders under results and logs.
        sweep_file: None where that is not known, or what is remembered is damaged.
        former_files: those that the name belonged to before.
        asked_for: fingerprints of every trial that it ever asked for.
        memory: the file that this stands in.
    """

    folder_name: str
    sweep_file: Path | None
    former_files: tuple[Path, ...]
    asked_for: frozenset[str]
    memory: Path


class EarlierLooks(NamedTuple):
    """What a sweep compared in earlier runs: whoever looks again and again must be judged by all of it.

    Args:
        compared: `trials.identity_of` of every architecture that ever had a figure.
        designs: how verdicts were drawn, in the order in which that changed: each with the `seeds` (how many, and a
            hash of which), the `looks`, the `margin` and `select_by`.
    """

    compared: frozenset[str] = frozenset()
    designs: tuple[Mapping[str, Any], ...] = ()

    def and_now(self, sweep: Sweep, compared: Collection[str]) -> "EarlierLooks":
        """With what has figures now; without any, nobody has looked."""
        design = {
            "seeds": [len(sweep.seeds), files.made_of([*sweep.seeds])[:8]],
            "looks": [*sweep.looks],
            "margin": sweep.margin,
            "select_by": sweep.select_by,
        }
        is_new = bool(compared) and design not in self.designs[-1:]
        return EarlierLooks(self.compared.union(compared), (*self.designs, design) if is_new else self.designs)


class Registry:
    """The sweeps that were run here.

    Args:
        root: the results folder.
    """

    def __init__(self, root: Path):
        self.root = root

    def last_plan(self, sweep: Sweep) -> dict[str, dict]:
        """The settings of each architecture, by name, as the sweep's latest run found them; empty before the first."""
        architectures = self._memory_of(sweep.folder_name).get("architectures")
        return architectures if isinstance(architectures, dict) else {}

    def earlier_looks(self, sweep: Sweep) -> EarlierLooks:
        """What was compared here before; nothing where that is damaged."""
        memory = self._memory_of(sweep.folder_name)
        compared, designs = memory.get("compared"), memory.get("designs")
        return EarlierLooks(
            frozenset(one for one in compared if isinstance(one, str)) if isinstance(compared, list) else frozenset(),
            tuple(one for one in designs if isinstance(one, dict)) if isinstance(designs, list) else (),
        )

    def claim_sweep(
        self,
        sweep: Sweep,
        plan: Sequence[Trial],
        class_names: Sequence[str] = (),
        refits: Sequence[Trial] = (),
        compared: Collection[str] = (),
    ) -> None:
        """Remember that this sweep's folder (a quick look has its own) belongs to its file, and what is asked for now.

        Args:
            class_names: as the classes are called now.
            refits: those that are known by now.
            compared: of the architectures that have figures now, `trials.identity_of`.

        Raises:
            SweepError: it belongs to another file that still exists, or cannot be written.
        """
        # Relative to the results, so that the project folder can be moved or mounted elsewhere.
        ours = relative_to(sweep.path, self.root)
        # A quick look goes by the sweep's name too, so that name must not be another file's.
        for name in (sweep.name, sweep.folder_name):
            theirs = self._memory_of(name).get("sweep_file")
            other = _resolved(self.root, theirs)
            if theirs != ours and other is not None and exists(other):
                raise SweepError(
                    f"{self.root / name} holds the results of {other}: give {sweep.path} "
                    "a name of its own (name: ...) or use another --results-dir"
                )
        before = self.known_sweep(sweep.folder_name)
        looks = self.earlier_looks(sweep).and_now(sweep, compared)
        former = {*before.former_files, before.sweep_file} - {None, _resolved(self.root, ours)}
        content = {
            "sweep_file": ours,
            "former_files": sorted(relative_to(path, self.root) for path in former),
            "architectures": {t.architecture.name: t.settings for t in plan},
            "class_names": [*class_names],
            "compared": sorted(looks.compared),
            "designs": [*looks.designs],
            "asked_for": sorted(before.asked_for | {trial.fingerprint for trial in (*plan, *refits)}),
        }
        files.save_json(self._memory_file(sweep.folder_name), content)
        older = self._older_memory_file(sweep.folder_name)
        if _read_json(older):  # what an earlier version wrote is taken over
            with contextlib.suppress(OSError):
                older.unlink()

    def load_search(self, key: str) -> dict:
        """What `save_search` wrote; nothing where there is none, or it is damaged: it is proposed again, the same."""
        return files.load_json(self.root / "_searches" / f"{key}.json")

    def save_search(self, key: str, content: Mapping) -> None:
        """Keep the list of what a search has proposed."""
        files.save_json(self.root / "_searches" / f"{key}.json", content)

    def class_names(self, folder_name: str) -> tuple[str, ...]:
        """What the last run of a sweep called the classes; none where that is not known."""
        names = self._memory_of(folder_name).get("class_names")
        is_sound = isinstance(names, list) and not any(map(problem_with, names))
        return tuple(names) if is_sound else ()

    def sweeps(self) -> list[tuple[str, Path]]:
        """Every sweep and every quick look that was run here: the name of its folder, and its file."""
        known = (self.known_sweep(name) for name in self._names_of_sweeps())
        return [(sweep.folder_name, sweep.sweep_file) for sweep in known if sweep.sweep_file is not None]

    def known_sweeps(self) -> list[KnownSweep]:
        """Every sweep and every quick look that was run here or has results here, with all that is known of it."""
        has_results = {path.parent.name for path in self.root.glob(f"[!_]*/{JOURNAL}")}
        return [self.known_sweep(name) for name in sorted({*self._names_of_sweeps(), *has_results})]

    def known_sweep(self, folder_name: str) -> KnownSweep:
        memory = self._memory_of(folder_name)
        former = memory.get("former_files") if isinstance(memory.get("former_files"), list) else []
        asked_for = memory.get("asked_for") if isinstance(memory.get("asked_for"), list) else []
        return KnownSweep(
            folder_name,
            _resolved(self.root, memory.get("sweep_file")),
            tuple(path for path in (_resolved(self.root, one) for one in former) if path is not None),
            frozenset(one for one in asked_for if isinstance(one, str)),
            self._memory_file(folder_name),
        )

    def _names_of_sweeps(self) -> list[str]:
        names = {path.stem for path in self.root.glob("_sweeps/*.json")}
        return sorted(names | {path.parent.name for path in self.root.glob("[!_]*/sweep.json")})

    def _memory_of(self, folder_name: str) -> dict:
        """What `claim_sweep` wrote last, nothing where it is damaged; before that, what an earlier version wrote."""
        file = self._memory_file(folder_name)
        return files.load_json(file) if exists(file) else _read_json(self._older_memory_file(folder_name))

    def _memory_file(self, folder_name: str) -> Path:
        return self.root / "_sweeps" / f"{folder_name}.json"

    def _older_memory_file(self, folder_name: str) -> Path:
        return self.root / folder_name / "sweep.json"


# ---- helpers ------------------------------------------------------------------------------------------------------


def _read_json(path: Path) -> dict:
    """A small JSON object that is only a memory: nothing where it is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def relative_to(path: Path, root: Path) -> str:
    # realpath and not Path.resolve, which raises RuntimeError at a loop of links before Python 3.13.
    path = Path(os.path.realpath(path))
    try:
        return Path(os.path.relpath(path, os.path.realpath(root))).as_posix()
    except ValueError:  # another drive, on Windows
        return path.as_posix()


def _resolved(root: Path, remembered: Any) -> Path | None:
    """The path that a memory holds relative to `root`; None where it holds none (damaged, or not a path at all)."""
    try:
        return Path(os.path.realpath(root / remembered))
    except (TypeError, ValueError, OSError):
        return None


def exists(path: Path) -> bool:
    """Whether it is there; what cannot be looked at (a name too long, no permission) is for whoever writes to say."""
    try:
        return path.exists()
    except OSError:
        return False

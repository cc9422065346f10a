"""The engine of a run and its workers, which may stay warm for the next run."""

import contextlib
from collections.abc import Callable, Hashable

from fmnist_mlp.engines.calls import Engine


class Workers(contextlib.AbstractContextManager):
    """One engine at a time: warm workers of another would hold memory, a GPU or places of the cluster.

    In a `with` block it serves one run after the other; nothing outlives the block.

    Args:
        stay_warm: whether workers that a run does not need are kept for the next.

    Attributes:
        engine: the present one; None before the first and after `close`.
        environments: by worker, what it said of its surroundings.
        finds_no_gpu: though the machine seems to have one.
        is_paused: whether the present run is to end early and gently, so that another can begin.
        is_last_run: whether none is to follow the present one: it was asked to stop, perhaps with nothing left to stop.
    """

    def __init__(self, *, stay_warm: bool = False):
        self.stay_warm = stay_warm
        self.engine: Engine | None = None
        self.environments: dict[int, dict[str, str]] = {}
        self.finds_no_gpu = self.is_paused = self.is_last_run = False
        self._kind: Hashable = None
        self._open = contextlib.ExitStack()

    def __exit__(self, *exception) -> None:
        self.close()

    def engine_of(self, kind: Hashable, make: Callable[[], Engine]) -> Engine:
        """The present engine where it serves this kind and was not stopped, else a new one."""
        if self.engine is None or self.engine.is_stopped or kind != self._kind:
            self.close()
            self._kind, self.engine = kind, self._open.enter_context(make())
        return self.engine

    def pause(self) -> None:
        """End the run that goes on, soon; from any thread."""
        self.is_paused = True
        if (engine := self.engine) is not None:
            engine.pause()

    def end_run(self) -> None:
        """Let workers that no other run wants end while tables and pictures are made; `close` waits for them."""
        if self.engine is not None and not self.stay_warm:
            self.engine.release()

    def close(self) -> None:
        self._open.close()
        self.engine = None

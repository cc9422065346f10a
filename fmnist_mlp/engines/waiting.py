"""Calls that wait for a worker, and which of them is next."""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

from fmnist_mlp.engines.calls import Call


class Task:
    """A call on its way."""

    def __init__(self, call: Call, payload: bytes = b""):
        self.call = call
        self.payload = payload
        self.attempts = 0
        self.losses = 0  # attempts whose whole machine was lost, which is no fault of the call
        self.group = call.group or self  # without a group: one of its own


class Waiting:
    """The calls that are still to be handed out, by group, and the choice of the next.

    Args:
        calls: a collection, drawn at once, or an iterable, drawn by `draw`.
        make_task: what a call becomes when it is drawn.
    """

    def __init__(self, calls: Iterable[Call | None], make_task: Callable[[Call], Task] = Task):
        self._groups: dict[Any, deque[Task]] = {}
        self._costs: dict[Any, float] = {}
        self._count = 0
        self._alone: deque[Task] = deque()
        self._is_one_alone = False  # the last that was given a chance wants to be alone
        self._make_task = make_task
        self._calls = iter(calls)
        self.may_grow = not isinstance(calls, Collection)
        if not self.may_grow:
            for call in calls:
                self._take(call)

    def __len__(self) -> int:
        """How many may be handed out now."""
        return self._count

    @property
    def has_alone(self) -> bool:
        """Whether calls that want to be alone wait for their time."""
        return bool(self._alone)

    def draw(self, count: int, nothing_runs: bool):
        """Draw calls until so many may be handed out, or there are none for now.

        Args:
            nothing_runs: the time has come for a call that wants to be alone, if no other is left.
        """
        if nothing_runs and not self._count:
            self._is_one_alone = False
        while self.may_grow and self._count < count and not (self._alone or self._is_one_alone):
            try:
                call = next(self._calls)
            except StopIteration:
                self.may_grow = False
            else:
                if call is None:
                    break
                self._take(call)
        if nothing_runs and not self._count and self._alone:
            self._is_one_alone = True
            self.put_back(self._alone.popleft())

    def clear(self):
        self._groups, self._costs, self._count, self.may_grow = {}, {}, 0, False
        self._alone.clear()

    def pop(self, groups: Iterable, groups_in_work: set) -> Task:
        """The next call for a worker that has worked on `groups`, the last one first.

        Of the first of these that is left; of the group nobody works on with the most left to do; or else, so that
        nobody is idle, of the one with the most left to do. Earlier ones win ties.
        """
        group = next((group for group in groups if group in self._groups), None)
        if group is None:
            untouched = [other for other in self._groups if other not in groups_in_work]
            group = max(untouched or self._groups, key=self._costs.__getitem__)
        task = self._groups[group].popleft()
        self._costs[group] -= task.call.cost
        self._count -= 1
        if not self._groups[group]:
            del self._groups[group], self._costs[group]
        return task

    def put_back(self, task: Task):
        self._groups.setdefault(task.group, deque()).appendleft(task)
        self._count_in(task)

    def _take(self, call: Call):
        task = self._make_task(call)
        if call.alone:
            self._alone.append(task)
        else:
            self._groups.setdefault(task.group, deque()).append(task)
            self._count_in(task)

    def _count_in(self, task: Task):
        self._costs[task.group] = self._costs.get(task.group, 0.0) + task.call.cost
        self._count += 1

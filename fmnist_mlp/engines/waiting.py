"""Calls that wait for a worker, and which of them is next."""

from collections import deque
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
    """The calls that are still to be handed out, by group, and the choice of the next."""

    def __init__(self, tasks: list[Task]):
        self._groups: dict[Any, deque[Task]] = {}
        self._costs: dict[Any, float] = {}
        self._count = 0
        for task in tasks:
            self._groups.setdefault(task.group, deque()).append(task)
            self._costs[task.group] = self._costs.get(task.group, 0.0) + task.call.cost
            self._count += 1

    def __len__(self) -> int:
        return self._count

    def clear(self):
        self._groups, self._costs, self._count = {}, {}, 0

    def pop(self, group, groups_in_work: set) -> Task:
        """The next call for a worker that last worked on `group`: of that group; of the group nobody works on with the
        most left to do; or else, so that nobody is idle, of the one with the most left to do. Earlier ones win ties."""
        if group not in self._groups:
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
        self._costs[task.group] = self._costs.get(task.group, 0.0) + task.call.cost
        self._count += 1

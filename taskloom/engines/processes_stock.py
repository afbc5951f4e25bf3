"""What is left to do of a plan that several worker processes share, and who may do it."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from taskloom.engines.processes_account import Account
from taskloom.graph import Plan

NOWHERE = -1
SEVERAL = -2
LOOK_AT = 8  # ready tasks among which a worker chooses the one whose inputs it holds
WORTH_A_MOVE = 65_536  # bytes: smaller inputs are no reason to prefer a worker


class Stock:
    """Tasks by number, workers by number.

    A task is open while inputs of it are not done. It may join the queue of a worker all the same if that worker's
    queue holds all of those: so a worker gets chains and subtrees without a message for each task.

    Attributes
    ----------
    done : bytearray, per task whether its result is there.
    place : per task the worker that has it in its queue or holds its result; NOWHERE also for what was let go of.
    uses : per task how many tasks are still to take its result.
    account : who holds how many bytes.
    """

    def __init__(self, plan: Plan, workers: int, done: bytearray, place: list[int]) -> None:
        self.plan = plan
        self.dependents = plan.dependents
        self.done = done
        self.place = place
        self.account = Account(workers)
        self.workers = workers
        self.count()
        for task in range(len(plan)):
            if done[task] and not self.uses[task]:
                place[task] = NOWHERE  # it was let go of

    def count(self) -> None:
        """Count everything from `done` and `place`."""
        n = len(self.plan)
        done, place = self.done, self.place
        self.open = [0] * n
        self.uses = [0] * n
        self._local = [0] * n  # how many of the open inputs are in the queue of the worker `_home`
        self._home = [NOWHERE] * n
        self._own: list[list[int]] = [[] for _ in range(self.workers)]
        for task in range(n):
            if not done[task]:
                for slot in self.inputs(task):
                    self.uses[slot] += 1
                    if not done[slot]:
                        self.open[task] += 1
        for task in range(n):
            if not done[task] and place[task] >= 0:
                self._placed(task, place[task])
        self.ready = [task for task in range(n) if not done[task] and place[task] == NOWHERE and not self.open[task]]
        heapify(self.ready)

    def inputs(self, task: int) -> list[int]:
        """The tasks whose results it takes, as often as it does."""
        arg = self.plan.args[task]
        return [slot for slot in ((arg,) if arg.__class__ is int else arg) if slot >= 0]

    def users(self, task: int) -> Sequence[int]:
        users: Any = self.dependents[task]
        return () if users is None else users if users.__class__ is list else (users,)

    def put(self, task: int, worker: int) -> None:
        """The task joins the queue of a worker."""
        self.place[task] = worker
        self._placed(task, worker)

    def _placed(self, task: int, worker: int) -> None:
        for user in self.users(task):
            if self._home[user] == NOWHERE:
                self._home[user] = worker
            if self._home[user] != worker:
                self._home[user] = SEVERAL
                continue
            self._local[user] += 1
            if self._local[user] == self.open[user] and self.place[user] == NOWHERE:
                heappush(self._own[worker], user)

    def take_back(self, tasks: Sequence[int]) -> None:
        """They have left the queue that they were in, and have not begun."""
        for task in tasks:
            worker = self.place[task]
            self.place[task] = NOWHERE
            for user in self.users(task):
                if self._home[user] == worker:
                    self._local[user] -= 1
                    if not self._local[user]:
                        self._home[user] = NOWHERE
        for task in tasks:
            self.offer(task)

    def offer(self, task: int) -> None:
        """Let the task be taken, if it can be."""
        if self.place[task] == NOWHERE and not self.done[task]:
            if not self.open[task]:
                heappush(self.ready, task)
            elif self._is_own(task, self._home[task]):
                heappush(self._own[self._home[task]], task)

    def finish(self, task: int) -> list[int]:
        """The task is done; returns the inputs that nobody will take any more."""
        worker = self.place[task]
        self.done[task] = 1
        for user in self.users(task):
            self.open[user] -= 1
            if self._home[user] == worker:
                self._local[user] -= 1
            self.offer(user)
        dead = []
        for slot in self.inputs(task):
            self.uses[slot] -= 1
            if not self.uses[slot]:
                dead.append(slot)
        return dead

    def take(self, worker: int, idle: set[int], producers: bool) -> int:
        """A task for a worker, or -1; it is not put there yet. Without `producers`, only one that uses up inputs."""
        own, ready, sizes = self._own[worker], self.ready, self.account.sizes
        while own and not self._is_own(own[0], worker):
            heappop(own)
        seen: list[int] = []
        best, best_score = NOWHERE, 0.0
        looked = 0
        while ready and looked < LOOK_AT:
            task = heappop(ready)
            if self.place[task] != NOWHERE or self.done[task] or self.open[task] or (seen and seen[-1] == task):
                continue
            seen.append(task)
            inputs = self.inputs(task)
            if not producers and not inputs:
                continue
            looked += 1
            score = 0.0
            if sizes:
                held = [0.0] * self.workers
                for slot in inputs:
                    if self.place[slot] >= 0:
                        held[self.place[slot]] += sizes.get(slot, 0.0)
                if any(held[other] > held[worker] + WORTH_A_MOVE for other in idle):
                    continue  # it will be taken there
                score = 2 * held[worker] - sum(held)
                if abs(score) < WORTH_A_MOVE:
                    score = 0.0
            if best == NOWHERE or score > best_score:
                best, best_score = task, score
            if not sizes:
                break
        for task in seen:
            if task != best:
                heappush(ready, task)
        if own and (best == NOWHERE or own[0] < best):
            if best != NOWHERE:
                heappush(ready, best)
            return heappop(own)
        return best

    def _is_own(self, task: int, worker: int) -> bool:
        return (
            worker >= 0
            and self.place[task] == NOWHERE
            and not self.done[task]
            and self._home[task] == worker
            and self._local[task] == self.open[task]
        )

    def lose(self, worker: int, kept: Any, wanted: Sequence[int]) -> list[int]:
        """A worker is gone, or with NOWHERE only results whose place was set to that. Returns what must be made again:
        the results that were there and are needed, but for the ones in `kept`, and what they need."""
        done, place = self.done, self.place
        for task in range(len(self.plan)):
            if place[task] == worker and (not done[task] or task in kept):
                place[task] = NOWHERE
        needed = {task for task in wanted if task >= 0}
        for task in range(len(self.plan)):
            if not done[task]:
                needed.update(self.inputs(task))
        again: list[int] = []
        todo = list(needed)
        lost = set(todo)
        while todo:
            task = todo.pop()
            if not done[task] or (place[task] != worker and place[task] != NOWHERE) or task in kept:
                continue
            done[task] = 0
            place[task] = NOWHERE
            again.append(task)
            for slot in self.inputs(task):
                if slot not in lost:
                    lost.add(slot)
                    todo.append(slot)
        self.count()
        return again

"""The workers that come and go."""

from __future__ import annotations

import select
from collections.abc import Iterable, Sequence

from taskloom.engines.cluster.coordinator.crew import Crew
from taskloom.engines.cluster.coordinator.memory import MemoryWatch
from taskloom.engines.cluster.coordinator.output import Output
from taskloom.engines.cluster.coordinator.plugins import Plugins
from taskloom.engines.cluster.coordinator.questions import Questions
from taskloom.engines.cluster.coordinator.stops import Stops
from taskloom.engines.cluster.scheduler.scheduler import Scheduler
from taskloom.engines.cluster.scheduler.sizing import first_to_go


class Staffing:
    """The part of a `Coordinator` that has workers start and end, and tells all others of it. On its thread."""

    crew: Crew
    memory: MemoryWatch
    output: Output
    plugins: Plugins
    questions: Questions
    scheduler: Scheduler
    stops: Stops
    _poll: select.poll

    def _bury(self, number: int, expected: bool = False) -> None:
        """A worker has ended, or is to: another one takes its place."""
        process = self.crew.workers[number]
        if not expected and process.fate() is None:
            return
        self.output.copy(number)
        running = [id for _, id, _ in process.running()]
        packing = process.packing()
        ended_for = self.memory.fate(number)
        if (
            ended_for and not running and number in self.scheduler.workers
        ):  # who knows which one it was: without any it might go on for ever
            running = list(self.scheduler.workers[number].outstanding)[:1]
        elif packing >= 0 and not ended_for:
            running = [packing]
        end = self.crew.bury(number, self._poll)
        self.output.left(process.name, process.pid, end.fate, expected)
        self.questions.lost(number)
        self.stops.forget(number)
        fate = ended_for or end.fate
        self.scheduler.worker_left(number, fate, running, end.last_lines, end.out_of_memory, expected)
        if not running and not expected:
            self._died_idle(fate, end.last_lines)
        self._staff()

    def _died_idle(self, fate: str, last_lines: Sequence[str] = ()) -> None:
        if self.crew.has_died_idle() and not self.scheduler.workers:
            self.scheduler.no_worker_lives(fate, last_lines)

    def _staff(self) -> None:
        """Have the workers that are missing, and watch them."""
        crew = self.crew
        try:
            crew.replace()
        except Exception as error:  # such as for want of memory, or of open files
            self._died_idle(f"could not be started ({error})")
        for number in crew.newcomers():
            for file in crew.files(number):
                self._poll.register(file, select.POLLIN)
            self.output.joined(number)
            self.plugins.greet(number)

    def welcome(self, number: int) -> None:
        """A worker can be given tasks."""
        crew = self.crew
        worker = crew.workers[number]
        who = (number, worker.name, worker.pid)
        self.scheduler.worker_joined(*who, crew.threads, crew.memory_limit, crew.resources)
        self.questions.look()

    def dismiss(self, number: int) -> None:
        """End a worker that has nothing to do."""
        if number in self.crew.workers:
            self._bury(number, expected=True)

    def resize(self, n: int) -> None:
        """Have so many workers from now on; on the coordinator's thread."""
        staying = self.scheduler.staying()
        new = [number for number in self.crew.workers if number not in self.scheduler.workers]
        self.retire(first_to_go(staying, len(staying) - n))
        self.crew.size = n
        for number in new[: max(0, len(new) + len(staying) - n)]:
            self.dismiss(number)
        self.crew.held = False
        self.crew.try_again()
        self._staff()

    def retire(self, numbers: Iterable[int]) -> None:
        """Have fewer workers from now on: these go when their data are elsewhere; on the coordinator's thread."""
        for number in set(numbers) & self.crew.workers.keys() - self.crew.leaving:
            self.crew.size = max(0, self.crew.size - 1)
            self.crew.leaving.add(number)
            self.scheduler.retire(number)

    def restart(self) -> None:
        """End all tasks, and have new workers; on the coordinator's thread."""
        for number, client in list(self.scheduler.clients.items()):
            self.scheduler.cancel(number, list(client.futures), force=True, why="The cluster was restarted.")
        self.crew.held = False
        for number in list(self.crew.workers):
            self._bury(number, expected=True)

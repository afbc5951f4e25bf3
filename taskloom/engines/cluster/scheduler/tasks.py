"""What the scheduler knows: tasks, workers and clients, and the slices of plans in which clients submit tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from taskloom.graph import Key

SHIFT = 40  # a client makes up ids: its own number, and below this bit a count
ID_BITS = 53
MASK = (1 << ID_BITS) - 1  # the bits of an id within a rank

LEAST_LIMIT = 4096  # entries of a heap up to which it is not looked through

NOT_A_FUNCTION = -1  # the code of data, and of a task that is only meant if its key is known

ABSENT: Final = object()  # where there is no value

# What becomes of a task. The result of a released one nobody needs, but it may have to be computed again for its heirs.
WAITING = "waiting"  # for inputs
READY = "ready"
TRANSIT = "in transit"  # a worker was chosen, to which inputs are on their way
SENT = "sent"
DONE = "done"
ERRED = "erred"
RELEASED = "released"
FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Options:
    """How tasks are to be run.

    Attributes
    ----------
    priority : larger numbers run first.
    retries : how often a task that raised is tried again.
    deaths : how often a task is tried again after its worker died; None: as configured.
    workers : names of workers that may run it, None for all.
    allow_other_workers : whether others may as well if none of those is there.
    resources : what it needs of what workers have, such as ``(("GPU", 1.0),)``.
    actor : whether the result stands for an object that stays in the worker that has made it.
    given : what they were before the task asked to run elsewhere; None for those that a client has given.
    origin : the id of a task that submits them, None where it is none: they run when it is the turn of its client.
    """

    priority: int = 0
    retries: int = 0
    deaths: int | None = None
    workers: frozenset[str] | None = None
    allow_other_workers: bool = False
    resources: tuple[tuple[str, float], ...] = ()
    actor: bool = False
    given: Options | None = None
    origin: int | None = None

    @property
    def requirement(self) -> Requirement | None:
        """What a worker must be or have, None where any will do."""
        if self.workers is None and not self.resources:
            return None
        return Requirement(self.workers, self.allow_other_workers, self.resources)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a worker must be or have to run a task."""

    workers: frozenset[str] | None
    allow_other_workers: bool
    resources: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        parts = []
        if self.workers is not None:
            parts.append("one of the workers " + ", ".join(sorted(self.workers)))
        if self.resources:
            parts.append("a worker with " + ", ".join(f"{amount:g} {name}" for name, amount in self.resources))
        return " and ".join(parts)


_DEFAULTS = Options()


@dataclass(slots=True)
class Slice:
    """A part of a plan, in the form in which a client submits it.

    Attributes
    ----------
    first : the id of the first task; the others follow.
    keys : per task its key.
    codes : per task the code of its function.
    args : per task its arguments: ids of tasks or data, and -1 - i for the i-th of `plains`.
    plains : per task its constants that travel as they are.
    functions : the numbers of the parcels of those functions that are new to the coordinator, by code.
    data : the numbers of the parcels of packed constants, by id.
    wanted : ids of the tasks whose results the client will ask for.
    options : how to run them, None for the defaults.
    own : by id, how to run those for which something else was said.
    named : whether the keys are names that all clients share.
    chosen : whether a user gave those names: one that is in use for another function then is a mistake.
    bring : whether the wanted results are to be sent to the client as soon as they are there.
    """

    first: int
    keys: list[Key]
    codes: list[int]
    args: list[tuple[int, ...]]
    plains: list[tuple[Any, ...]]
    functions: dict[int, int] = field(default_factory=dict)
    data: dict[int, int] = field(default_factory=dict)
    wanted: list[int] = field(default_factory=list)
    options: Options | None = None
    own: dict[int, Options | None] = field(default_factory=dict)
    named: bool = False
    chosen: bool = False
    bring: bool = False


class Task:
    """A task, or data that a client has brought (which has no function).

    Attributes
    ----------
    rank : tasks with lower ones go first.
    inputs : the tasks whose results it takes, each once.
    dependents : the tasks that are to take its result, by id; None while there are none.
    heirs : how many tasks that may have to be computed, or computed again, take its result.
    wanted : the futures of it: the ids that clients know it by, and the numbers of those; None where there are none.
    open : how many inputs are not done.
    home : the worker that has its open inputs in its queue, as far as they have been sent; `local`: how many those are.
    worker : the worker to which it was sent.
    estimate : how many seconds it was expected to take then.
    holders : the numbers of the workers that have its result.
    value : the result itself, if it is small.
    parcel : the packed value of a constant, or of a result that outlives its workers.
    stays : whether the result is known not to be able to travel.
    takers : tasks in transit that wait for its result.
    askers : clients that wait for its result, and the ids by which they know it.
    error : the packed exception that it has ended with, its own or that of the task `blamed`.
    """

    __slots__ = (
        "args",
        "askers",
        "attempts",
        "blamed",
        "code",
        "dependents",
        "error",
        "estimate",
        "fetching",
        "heirs",
        "holders",
        "home",
        "id",
        "inputs",
        "key",
        "local",
        "missing",
        "named",
        "nbytes",
        "open",
        "options",
        "parcel",
        "plain",
        "raised",
        "rank",
        "state",
        "stays",
        "takers",
        "value",
        "wanted",
        "worker",
    )

    def __init__(
        self, id: int, key: Key, code: int, args: tuple[int, ...], plain: tuple[Any, ...], options: Options | None
    ) -> None:
        self.id = id
        self.key = key
        self.code = code
        self.args = args
        self.plain = plain
        self.options = options or _DEFAULTS
        self.rank = id if options is None else id - (options.priority << ID_BITS)
        self.state = WAITING
        self.inputs: tuple[Task, ...] = ()
        self.dependents: dict[int, Task] | None = None
        self.heirs = 0
        self.wanted: dict[int, int] | None = None
        self.open = 0
        self.home: WorkerState | None = None
        self.local = 0
        self.worker: WorkerState | None = None
        self.estimate = 0.0
        self.holders: tuple[int, ...] = ()
        self.value: Any = ABSENT
        self.parcel: Any = None
        self.nbytes = 0.0
        self.stays = False
        self.fetching = -1  # the worker that was asked for the result
        self.takers: list[Task] | None = None
        self.askers: list[tuple[int, int]] | None = None
        self.missing = 0  # how many inputs of one in transit have not come
        self.attempts = 0  # that ended with the worker's death
        self.raised = 0  # ... and with an exception
        self.error: Any = None
        self.blamed: Task | None = None
        self.named = False

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.key!r:.60}: {self.state}>"

    @property
    def has_function(self) -> bool:
        """Whether it can be computed, again if need be: data that a client brought cannot."""
        return self.code >= 0

    @property
    def can_be_lost(self) -> bool:
        """Whether its result, once it is there, could be computed again: the state of an actor could not."""
        return self.has_function and not self.options.actor


class Heap(list[int]):
    """Ranks of tasks, the lowest first. What has become of a task since is seen to when it comes to the top, or when
    there are more than `limit`.

    `home` is the worker that has the open inputs of all of them; None for tasks that are ready. `begins` says that they
    take no inputs: what is there already is used up before more is made, unless somebody wants it otherwise.
    """

    __slots__ = ("begins", "home", "limit")

    def __init__(self, home: WorkerState | None = None, begins: bool = False) -> None:
        super().__init__()
        self.home = home
        self.begins = begins
        self.limit = LEAST_LIMIT

    def comes_before(self, other: Heap) -> bool:
        """Whether its first task is to be run before that of another one."""
        one, two = self[0], other[0]
        return (one >> ID_BITS, self.begins, one) < (two >> ID_BITS, other.begins, two)

    def keep(self, ranks: Iterable[int]) -> None:
        """Have only these."""
        self[:] = sorted(ranks)
        self.limit = max(LEAST_LIMIT, 2 * len(self))


class WorkerState:
    """A worker.

    Attributes
    ----------
    outstanding : what was sent and has not been reported, by id, in the order in which it was sent.
    strays : ids of tasks that it may be running although nobody needs them any more.
    transit : tasks that are to go there when their inputs have come.
    load : the seconds that all of these are expected to take.
    own : ranks of tasks that are ready and should run here, for their data are.
    ahead : ranks of tasks whose open inputs are all in its queue.
    has : the tasks whose results it holds, in an order that does not depend on chance.
    moving : when it is leaving, the tasks whose results may have to go elsewhere.
    eager : whether it may have tasks that it has not begun: not if it was asked for some for others and had none.
    recalls : for each answer that it owes of what it has not begun, whether that was asked for others to do.
    batch, values, packed, dropped, dropped_codes, asks : what is to be told to it. It drops what it has to before it
        takes in what comes in the same message.
    """

    def __init__(
        self, number: int, name: str, pid: int, threads: int, memory_limit: float, resources: dict[str, float]
    ) -> None:
        self.number = number
        self.name = name
        self.pid = pid
        self.threads = threads
        self.memory_limit = memory_limit
        self.resources = resources
        self.free = dict(resources)
        self.outstanding: dict[int, Task] = {}
        self.strays: set[int] = set()
        self.transit: dict[int, Task] = {}
        self.load = 0.0
        self.blocked = 0  # tasks that have freed their slots
        self.own = Heap()
        self.ahead = Heap(self)
        self.has: dict[Task, None] = {}
        self.functions: set[int] = set()
        self.held = 0.0
        self.peak = 0.0
        self.giving_back = False  # it was asked to, and has not answered
        self.eager = False
        self.recalls: deque[bool] = deque()
        self.leaving = False  # nothing more is sent there
        self.paused = False  # nothing more is sent there for now: it has too much in memory
        self.stuck = False  # ... and that does not get less by itself
        self.spilled = 0.0  # bytes of what it holds that are on disk
        self.moving: list[Task] = []
        self.batch: list[Task] = []
        self.values: dict[int, Any] = {}
        self.packed: dict[int, Any] = {}
        self.dropped: list[int] = []
        self.dropped_bytes = 0.0
        self.dropped_codes: list[int] = []
        self.asks: list[tuple[Any, ...]] = []

    def __repr__(self) -> str:
        return f"<WorkerState {self.name}: {len(self.outstanding)} tasks, {len(self.has)} results>"

    def given(self) -> int:
        """How many tasks it has to run, or may be running."""
        return len(self.outstanding) + len(self.transit) + len(self.strays)

    def is_open(self) -> bool:
        """Whether it is to be given tasks. One that is paused and has nothing to do gets one at a time if nothing else
        helps: what that takes may go then."""
        if self.leaving or self.giving_back:
            return False
        return not self.paused or (self.stuck and self.given() <= self.blocked)

    def incoming(self) -> float:
        """Bytes of inputs that are on their way to there."""
        needed = {dep: None for task in self.transit.values() for dep in task.inputs if self.number not in dep.holders}
        return sum([dep.nbytes for dep in needed])

    def outgoing(self) -> float:
        """Bytes of results that it was asked to send."""
        return sum([task.nbytes for task in self.has if task.fetching == self.number])

    def satisfies(self, requirement: Requirement) -> bool:
        """Whether it could run tasks with this requirement when it has nothing else to do."""
        if requirement.workers is not None and self.name not in requirement.workers:
            return False
        return all(self.resources.get(name, 0.0) >= amount for name, amount in requirement.resources)

    def can_now(self, requirement: Requirement) -> bool:
        """Whether what tasks with this requirement need is free."""
        return all(self.free.get(name, 0.0) >= amount for name, amount in requirement.resources)


class ClientState:
    """A client.

    Attributes
    ----------
    futures : the tasks that it has futures of, by id.
    codes : those of the functions that it has sent and may use again.
    ready, roots : the ranks of its tasks that are ready, with inputs and without.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.futures: dict[int, Task] = {}
        self.codes: set[int] = set()
        self.ready = Heap()
        self.roots = Heap(begins=True)

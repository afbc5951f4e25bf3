"""Random clients share things. Nobody sees more than there may be, nothing is lost, and nobody waits for nothing."""

import itertools
from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from taskloom.engines.cluster.coordination.coordination import Coordination
from taskloom.engines.cluster.coordination.desk import LATE, Asker, Item

CLIENTS = st.integers(1, 3)
NAMES = st.sampled_from("xyz")
LIMITS = {"x": 1, "y": 2, "z": 3}  # of semaphores and queues


class Clients(RuleBasedStateMachine):
    """What three clients have asked, and what they have been told."""

    def __init__(self) -> None:
        super().__init__()
        self.coordination = Coordination()
        self.numbers = itertools.count()
        self.asked: dict[Asker, tuple[str, str, Any]] = {}  # that wait for an answer
        self.leases: dict[Asker, tuple[str, tuple[str, ...], int]] = {}
        self.loans: dict[Asker, tuple[str, list[Item]]] = {}
        self.put: Counter[Item] = Counter()  # into queues, and it was confirmed
        self.got: Counter[Item] = Counter()
        self.freed: Counter[Item] = Counter()
        self.made: list[Item] = []
        self.events: set[str] = set()
        self.variables: dict[str, Item] = {}

    # -- asking and hearing -----------------------------------------------------------------------------------------

    def ask(self, client: int, kind: str, action: str, *args: Any, about: Any = None) -> Asker:
        asker = client, next(self.numbers)
        self.asked[asker] = kind, action, about
        self.coordination.ask(asker, kind, action, *args)
        self.hear()
        return asker

    def item(self) -> Item:
        item = Item(len(self.made))
        self.made.append(item)
        return item

    def hear(self) -> None:
        for asker, value, items in self.coordination.take_answers():
            kind, action, about = self.asked.pop(asker)  # each is answered once, and none that was withdrawn
            if value is LATE:
                continue
            assert not isinstance(value, Exception)
            if action in ("acquire", "enter"):
                self.leases[asker] = kind, *about
            elif action == "put":
                self.put[about] += 1
            elif action in ("get", "get_all"):
                if items:
                    self.loans[asker] = kind, list(items)
                if kind == "variables":
                    assert list(items) == [self.variables[about]]
                elif action == "get":
                    assert len(items) == about
        for item in self.coordination.take_freed():
            self.freed[item] += 1
            assert self.freed[item] == 1
            assert not item.uses

    # -- what clients do --------------------------------------------------------------------------------------------

    @rule(client=CLIENTS, names=st.lists(NAMES, min_size=1, unique=True), data=st.data())
    def acquire(self, client: int, names: list[str], data: st.DataObject) -> None:
        needed = data.draw(st.integers(1, len(names)))
        self.ask(client, "multilocks", "acquire", names, needed, about=(tuple(names), needed))

    @rule(client=CLIENTS, name=NAMES)
    def enter(self, client: int, name: str) -> None:
        self.ask(client, "semaphores", "enter", name, LIMITS[name], about=((name,), 1))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        asker = data.draw(st.sampled_from(sorted(self.leases)))
        del self.leases[asker]
        self.coordination.withdraw(asker)
        self.hear()

    @rule(client=CLIENTS, name=NAMES)
    def put_to_queue(self, client: int, name: str) -> None:
        self.ask(client, "queues", "open", name, LIMITS[name])
        item = self.item()
        self.ask(client, "queues", "put", name, [item], about=item)

    @rule(client=CLIENTS, name=NAMES, count=st.integers(1, 3))
    def get_from_queue(self, client: int, name: str, count: int) -> None:
        self.ask(client, "queues", "open", name, LIMITS[name])
        self.ask(client, "queues", "get", name, count, about=count)

    @rule(client=CLIENTS, name=NAMES)
    def get_all_from_queue(self, client: int, name: str) -> None:
        self.ask(client, "queues", "get_all", name)

    @rule(client=CLIENTS, name=NAMES, what=st.sampled_from(["set", "clear"]))
    def change_event(self, client: int, name: str, what: str) -> None:
        (self.events.add if what == "set" else self.events.discard)(name)
        self.ask(client, "events", what, name)

    @rule(client=CLIENTS, name=NAMES)
    def wait_for_event(self, client: int, name: str) -> None:
        asker = self.ask(client, "events", "wait", name, about=name)
        assert (asker in self.asked) is (name not in self.events)

    @rule(client=CLIENTS, name=NAMES)
    def set_variable(self, client: int, name: str) -> None:
        item = self.variables[name] = self.item()
        self.ask(client, "variables", "set", name, [item])

    @rule(client=CLIENTS, name=NAMES)
    def get_variable(self, client: int, name: str) -> None:
        asker = self.ask(client, "variables", "get", name, about=name)
        assert (asker in self.asked) is (name not in self.variables)

    @rule(client=CLIENTS, name=NAMES)
    def delete_variable(self, client: int, name: str) -> None:
        self.variables.pop(name, None)
        self.ask(client, "variables", "delete", name)

    @precondition(lambda self: self.loans)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        asker = data.draw(st.sampled_from(sorted(self.loans)))
        kind, items = self.loans.pop(asker)
        self.coordination.confirm(asker)
        if kind == "queues":
            self.got.update(items)
        self.hear()

    @precondition(lambda self: self.loans)
    @rule(data=st.data())
    def have_no_use_for_it(self, data: st.DataObject) -> None:
        asker = data.draw(st.sampled_from(sorted(self.loans)))
        del self.loans[asker]
        self.coordination.withdraw(asker)
        self.hear()

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), late=st.booleans())
    def wait_no_more(self, data: st.DataObject, late: bool) -> None:
        asker = data.draw(st.sampled_from(sorted(self.asked)))
        if late:
            self.coordination.expire(asker)
            self.hear()
            assert asker not in self.asked
        else:
            del self.asked[asker]
            self.coordination.withdraw(asker)
            self.hear()

    @rule(client=CLIENTS)
    def leave(self, client: int) -> None:
        for known in self.asked, self.leases, self.loans:
            for asker in [asker for asker in known if asker[0] == client]:
                del known[asker]
        self.coordination.client_left(client)
        self.hear()

    # -- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def leases_are_as_many_as_there_may_be(self) -> None:
        for name, limit in LIMITS.items():
            entered = sum(kind == "semaphores" and names == (name,) for kind, names, _ in self.leases.values())
            wait = any(action == "enter" and about[0] == (name,) for _, action, about in self.asked.values())
            assert entered == limit if wait else entered <= limit
        needed = sum(needed for kind, _, needed in self.leases.values() if kind == "multilocks")
        assert needed <= len(LIMITS)
        if not needed:  # nobody waits for another who waits
            assert not any(kind == "multilocks" for kind, _, _ in self.asked.values())

    @invariant()
    def queues_lose_nothing(self) -> None:
        on_loan = [item for kind, items in self.loans.values() if kind == "queues" for item in items]
        assert all(n == 1 for n in self.got.values())
        assert not set(on_loan) & set(self.got)
        for item in self.put:
            assert (item in self.got) == bool(self.freed[item])

    @invariant()
    def what_is_kept_is_used(self) -> None:
        assert all(item.uses > 0 for item in self.coordination.items)
        kept = set(self.variables.values()) | {item for _, items in self.loans.values() for item in items}
        assert kept <= set(self.coordination.items)

    def teardown(self) -> None:
        """When all have left nothing is there but what is in queues and variables."""
        for client in 1, 2, 3:
            self.leave(client)
        assert not self.asked
        left = set(self.coordination.items)
        assert left == set(self.variables.values()) | {item for item in self.put if item not in self.got}
        assert self.coordination.client_left(1) == []
        for name in LIMITS:
            self.variables.pop(name, None)
            self.ask(1, "variables", "delete", name)
            self.ask(1, "queues", "close", name)
            self.ask(1, "semaphores", "close", name)
            self.ask(1, "events", "clear", name)
        assert not self.coordination.items
        assert self.freed.total() == len(self.made)


Clients.TestCase.settings = settings(max_examples=100, stateful_step_count=50)
TestClients = Clients.TestCase

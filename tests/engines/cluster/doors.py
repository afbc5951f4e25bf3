"""A cluster's door without the cluster behind it: what `test_remote` and `test_security` knock at."""

import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from taskloom.engines.cluster.door.address import PrivateDirectory
from taskloom.engines.cluster.door.listener import Listener
from taskloom.engines.cluster.door.messages import Message
from taskloom.engines.cluster.door.remote import RemoteClient, RemoteConnection, connect
from taskloom.engines.worker.link import Link
from taskloom.engines.worker.parcel import Parcel
from tests.engines.cases import PATIENCE


class Door:
    """Lets clients in, welcomes them, and keeps them in a queue."""

    def __init__(self) -> None:
        self.directory = PrivateDirectory()
        self.address = self.directory.address
        self.clients: SimpleQueue[RemoteClient] = SimpleQueue()
        self._count = 0
        self.listener = Listener(self.directory, self._adopt)

    def _adopt(self, link: Link) -> None:
        client = RemoteClient(link)
        self._count += 1
        client.send("welcome", self._count, False)
        self.clients.put(client)

    def next_client(self) -> RemoteClient:
        return self.clients.get(timeout=PATIENCE)

    def close(self) -> None:
        self.listener.close()
        while not self.clients.empty():
            self.clients.get().close()


@contextmanager
def open_door() -> Iterator[Door]:
    door = Door()
    try:
        yield door
    finally:
        door.close()


class Client:
    """A connected client: what it hears is in a queue. `there` is the coordinator's end of it."""

    def __init__(self, door: Door) -> None:
        self.heard: SimpleQueue[Message] = SimpleQueue()
        self.connection: RemoteConnection = connect(door.address, self._hear)
        self.there = door.next_client()

    def _hear(self, kind: str, fields: tuple[Any, ...], parcels: Sequence[Parcel]) -> None:
        self.heard.put((kind, fields, list(parcels)))

    def next_message(self) -> Message:
        return self.heard.get(timeout=PATIENCE)

    def close(self) -> None:
        self.connection.close()
        self.there.close()


def receive(client: RemoteClient) -> Message | None:
    """The next message of a client, as the loop of a coordinator would get it; None when it is gone."""
    poll = select.poll()
    while (message := client.receive()) is None and not client.gone:
        events = select.POLLIN | (select.POLLOUT if client.waiting else 0)
        poll.register(client, events)
        assert poll.poll(PATIENCE * 1000), "nothing comes"
        client.send_waiting()
    return message


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]

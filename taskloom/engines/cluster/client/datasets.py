"""Datasets that clients publish for others under names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from taskloom.engines.cluster.client.question import Outcome, Question
from taskloom.graph import Key

if TYPE_CHECKING:
    from taskloom.engines.cluster.client.client import Client

_NO_DEFAULT: Final = object()


class Publishing:
    """Datasets by name: collections and futures, also inside of containers, and anything else that can be pickled."""

    asynchronous: bool

    def publish_dataset(self, *args: Any, name: Key | None = None, override: bool = False, **kwargs: Any) -> Any:
        """Publish datasets, which other clients get by `get_dataset`. They stay when this client has gone.

        What is persisted stays in memory as long as it is published; what is not is published as it is, uncomputed.

        Parameters
        ----------
        args : a mapping of names to datasets; with ``name=``, what is to be published under it.
        override : whether they replace others of the same names.
        kwargs : datasets by name.

        Raises
        ------
        KeyError
            There is one of that name.
        SerializationError
            One of them cannot be pickled.

        Examples
        --------
        >>> from taskloom.distributed import Client
        >>> with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
        ...     client.publish_dataset(total=client.submit(sum, [1, 2, 3]))
        ...     client.get_dataset("total").result()
        6
        """
        datasets: dict[Key, Any] = dict(kwargs.items())
        if name is not None:
            if not args:
                raise ValueError("name= goes with what is to be published: publish_dataset(dataset, name='x').")
            datasets[name] = args[0] if len(args) == 1 else args
        elif args:
            if len(args) != 1 or not isinstance(args[0], Mapping):
                raise ValueError("Without name=, publish_dataset takes a mapping of names to datasets.")
            datasets.update(args[0])
        return self._of_datasets("publish", list(datasets), override, values=list(datasets.values()))

    def unpublish_dataset(self, name: Key | list[Key]) -> Any:
        """Have a dataset, or several in a list, published no more."""
        return self._of_datasets("unpublish", name if isinstance(name, list) else [name])

    def list_datasets(self) -> Any:
        """The names of all that are published."""

        def finish(outcome: Outcome, number: int) -> tuple[Key, ...]:
            return tuple(outcome.value)

        return self._of_datasets("names", finish=finish)

    def get_dataset(self, name: Key | list[Key], default: Any = _NO_DEFAULT) -> Any:
        """A dataset that is published, with futures of this client. A list of names gives a list.

        Parameters
        ----------
        default : given where there is none.

        Raises
        ------
        KeyError
            There is none, and no default.
        """
        names = name if isinstance(name, list) else [name]

        def finish(outcome: Outcome, number: int) -> Any:
            found = dict(zip(outcome.value, outcome.items, strict=True))
            if default is _NO_DEFAULT:
                for one in names:
                    if one not in found:
                        raise KeyError(f"Dataset {one!r:.100} not found. client.list_datasets() tells which there are.")
            datasets = [found.get(one, default) for one in names]
            return datasets if isinstance(name, list) else datasets[0]

        return self._of_datasets("get", names, finish=finish)

    def _of_datasets(self, action: str, *args: Any, values: Sequence[Any] = (), finish: Any = None) -> Any:
        client: Any = self
        return Question(client, "datasets", action, *args, values=values, finish=finish or _nothing).ask()

    @property
    def datasets(self) -> Datasets:
        """The published datasets as a mapping."""
        client: Any = self
        return Datasets(client)


def _nothing(outcome: Outcome, number: int) -> None:
    return None


class Datasets(MutableMapping[Key, Any]):
    """The datasets that are published, by name. What is set is published.

    In an asynchronous client ``await client.datasets[name]`` and ``async for`` work; for the rest there are methods.
    """

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getitem__(self, name: Key) -> Any:
        return self._client.get_dataset(name)

    def __setitem__(self, name: Key, value: Any) -> None:
        self._check("publish_dataset")
        self._client.publish_dataset(value, name=name)

    def __delitem__(self, name: Key) -> None:
        self._check("unpublish_dataset")
        self._client.unpublish_dataset(name)

    def __iter__(self) -> Iterator[Key]:
        self._check("list_datasets")
        return iter(self._client.list_datasets())

    async def __aiter__(self) -> AsyncIterator[Key]:
        for name in await self._client.list_datasets():
            yield name

    def __len__(self) -> int:
        self._check("list_datasets")
        return len(self._client.list_datasets())

    def _check(self, method: str) -> None:
        if self._client.asynchronous:
            raise TypeError(f"The client is asynchronous: use `await client.{method}(...)`.")

    def __repr__(self) -> str:
        return f"<Datasets of {self._client!r}>"

"""What docstrings say of dask.distributed's public names is true of the dask.distributed that is installed."""

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import distributed
import pytest

import taskloom.distributed as ours
from taskloom.engines.cluster.client.asked import asked_for
from taskloom.engines.cluster.compared import Comparison

CLASSES = (
    "Actor",
    "Client",
    "Event",
    "Future",
    "LocalCluster",
    "Lock",
    "MultiLock",
    "Queue",
    "SchedulerPlugin",
    "Semaphore",
    "Variable",
    "Worker",
    "WorkerPlugin",
    "as_completed",
)

OF_OLDER_VERSIONS = {"Pub", "Sub"}  # which programs may still ask for


class Said(NamedTuple):
    """What a docstring says."""

    same: list[str]
    differs: dict[str, str]
    missing: dict[str, str]

    @property
    def here(self) -> list[str]:
        return [*self.same, *[name for name in self.differs if not name.endswith("()")]]


def said_of(thing: Any) -> Said:
    text = inspect.getdoc(thing) or ""
    _, _, section = text.partition("Compared with dask.distributed\n------------------------------\n")
    assert section, f"The docstring of {thing} does not compare."
    said = Said([], {}, {})
    names: list[str] = []
    for line in section.strip().splitlines():
        kind, listed, *about = line.split(" : ", 2)
        names += listed.split(", ")
        if kind == "the same":
            said.same.extend(listed.split(", "))
        else:
            assert about[0].endswith("."), line
            {"differs": said.differs, "missing": said.missing}[kind].update(dict.fromkeys(listed.split(", "), about[0]))
    assert [name for name, n in Counter(names).items() if n > 1] == [], "listed more than once"
    return said


def public(thing: Any) -> set[str]:
    """The public names of a class or module, without those that a module only has as it imports them."""
    if isinstance(thing, ModuleType):
        return set(thing.__all__)
    return {name for name in dir(thing) if not name.startswith("_")}


def parameters(thing: Any) -> list[str]:
    """The names of the parameters of something that is called; those of others are not known."""
    try:
        found = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in found if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def accepted(thing: Any) -> set[str]:
    """The names of the parameters that something takes, also by ``**options`` of tasks."""
    options = any(one.name == "options" for one in inspect.signature(thing).parameters.values())
    return {*parameters(thing), "self", *(inspect.signature(asked_for).parameters if options else ())}


@pytest.fixture(scope="module")
def objects() -> Iterator[dict[str, Any]]:
    """An object of each class."""
    with ours.Client(n_workers=1, threads_per_worker=1, processes=False) as client:
        named = {name: getattr(ours, name)("a") for name in ("Event", "Lock", "Queue", "Variable")}
        yield {
            **named,
            "Actor": client.submit(Counter, actor=True).result(),
            "Client": client,
            "Future": client.submit(abs, -1),
            "LocalCluster": client.cluster,
            "MultiLock": ours.MultiLock(["a"]),
            "SchedulerPlugin": ours.SchedulerPlugin(),
            "Semaphore": ours.Semaphore(1, "a"),
            "Worker": client.submit(ours.get_worker).result(),
            "WorkerPlugin": ours.WorkerPlugin(),
            "as_completed": ours.as_completed(),
        }


def test_each_name_of_the_module_is_listed() -> None:
    said = said_of(ours)
    assert {*said.here, *said.missing} - OF_OLDER_VERSIONS == public(distributed)
    assert set(said.here) <= set(ours.__all__)


def test_what_else_a_module_has_is_no_interface() -> None:
    beside = {name: getattr(distributed, name) for name in dir(distributed) if not name.startswith("_")}
    beside = {name: thing for name, thing in beside.items() if name not in distributed.__all__}
    assert {type(thing).__name__ for thing in beside.values()} <= {"module", "_Feature"}


def test_who_imports_what_is_missing_is_told_what_to_use() -> None:
    for name, instead in said_of(ours).missing.items():
        with pytest.raises(ImportError, match=re.escape(instead)):
            getattr(ours, name)


@pytest.mark.parametrize("name", CLASSES)
def test_each_name_of_a_class_is_listed(name: str, objects: dict[str, Any]) -> None:
    said = said_of(type(objects[name]))
    assert {*said.here, *said.missing} == public(getattr(distributed, name))


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_listed_is_here_or_not(name: str, objects: dict[str, Any]) -> None:
    thing = objects[name]
    said = said_of(type(thing))
    assert [listed for listed in said.here if not hasattr(thing, listed)] == []
    assert [listed for listed in said.missing if hasattr(thing, listed)] == []


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "Actor"])  # which asks the actor's class
def test_who_asks_for_what_is_missing_is_told_what_to_use(name: str, objects: dict[str, Any]) -> None:
    for listed, instead in said_of(type(objects[name])).missing.items():
        with pytest.raises(AttributeError, match=re.escape(instead)):
            getattr(objects[name], listed)


@pytest.mark.parametrize("name", CLASSES)
def test_parameters_that_are_not_here_are_listed(name: str, objects: dict[str, Any]) -> None:
    here, there = type(objects[name]), getattr(distributed, name)
    said = said_of(here)
    pairs = {listed: (getattr(here, listed, None), getattr(there, listed)) for listed in said.here}
    for listed, (own, theirs) in pairs.items():
        if callable(own):
            unlisted = unmentioned(own, theirs, said.differs.get(listed, ""))
            assert unlisted == [], f"{name}.{listed}"
    if name != "Worker":  # which nobody makes
        assert unmentioned(here, there, said.differs.get(f"{name}()", "")) == [], f"{name}()"


@pytest.mark.parametrize("method", said_of(ours.SchedulerPlugin).missing)
def test_who_registers_a_plugin_with_a_method_that_is_never_called_is_told(
    method: str, objects: dict[str, Any]
) -> None:
    plugin = type("Plugin", (ours.SchedulerPlugin,), {method: lambda self, *args, **kwargs: None})()
    with pytest.warns(UserWarning, match=rf"Plugin\.{method} is never called"):
        objects["Client"].register_plugin(plugin, name="a")
    objects["Client"].unregister_scheduler_plugin("a")


@pytest.mark.parametrize("name", ["Client", "LocalCluster"])
def test_who_gives_an_option_that_is_missing_is_told_what_to_use(name: str) -> None:
    for option in re.findall(r"(\w+)=", said_of(getattr(ours, name)).differs[f"{name}()"]):
        with pytest.raises(TypeError, match=f"no option '{option}', unlike in dask.distributed. [A-Z]"):
            getattr(ours, name)(**{option: None})


def test_parameters_of_functions_are_here() -> None:
    said = said_of(ours)
    for name in said.here:
        own, theirs = getattr(ours, name), getattr(distributed, name)
        if inspect.isfunction(theirs):
            assert unmentioned(own, theirs, said.differs.get(name, "")) == [], name


def unmentioned(own: Any, theirs: Any, how: str) -> list[str]:
    """Public parameters that only dask.distributed's has, and the text does not say so."""
    known = accepted(own)
    return [name for name in parameters(theirs) if name[0] != "_" and name not in known and f"{name}=" not in how]


def test_errors_inside_of_a_property_are_not_hidden() -> None:
    class Broken:
        @property
        def value(self) -> Any:
            raise AttributeError("inner")

        def __getattr__(self, name: str) -> Any:
            return Comparison("", missing={"gone": "Use value."}).absent(self, name)

    with pytest.raises(AttributeError, match=r"^inner$"):
        _ = Broken().value
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = Broken().other


def test_sizes_of_results() -> None:
    with ours.Client(n_workers=1, threads_per_worker=1) as client:
        futures = [client.submit(bytes, size, key=f"data-{size}") for size in (100_000, 200_000)]
        ours.wait(futures)
        assert client.futures_of({"a": futures}) == futures
        sizes = client.nbytes(["data-200000", "unknown"], summary=False)
        assert list(sizes) == ["data-200000"]
        assert 200_000 <= sizes["data-200000"] < 201_000
        assert 300_000 <= client.nbytes()["data"] < 302_000


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"n_worker": 1}, "n_workers"),
        ({"nworkers": 1}, "n_workers"),
        ({"num_workers": 1}, "n_workers"),
        ({"thread_per_worker": 1}, "threads_per_worker"),
        ({"memorylimit": 1}, "memory_limit"),
    ],
)
@pytest.mark.parametrize("name", ["Client", "LocalCluster"])
def test_a_misspelt_option_names_the_nearest(name: str, given: dict[str, Any], meant: str) -> None:
    (option,) = given
    with pytest.raises(TypeError, match=rf"^{name} has no option '{option}'. Did you mean '{meant}'\? There are: "):
        getattr(ours, name)(**given)


def test_a_misspelt_option_of_a_client_that_connects_or_waits_is_named_at_once() -> None:
    with pytest.raises(TypeError, match=r"'tmeout'. Did you mean 'timeout'\?"):
        ours.Client("unix:///nowhere", tmeout=1)
    with pytest.raises(TypeError, match=r"'set_as_defualt'. Did you mean 'set_as_default'\?"):
        ours.Client(asynchronous=True, set_as_defualt=False)
    with pytest.raises(TypeError, match="n_workers= would be options of a new LocalCluster"):
        ours.Client("unix:///nowhere", n_workers=1)


@pytest.mark.parametrize("name", ["Client", "LocalCluster"])
def test_scheduler_is_told_where_it_belongs(name: str) -> None:
    with pytest.raises(TypeError, match=r"no option 'scheduler'. It belongs to taskloom\.compute and "):
        getattr(ours, name)(scheduler="threads")


def test_misspelt_options_of_tasks_name_the_nearest(objects: dict[str, Any]) -> None:
    client = objects["Client"]
    value = ours.higher["delayed"](abs)(-1)
    for call in (client.compute, client.persist):
        with pytest.raises(TypeError, match=r"'retry'. Did you mean 'retries'\?"):
            call(value, retry=1)
    with pytest.raises(TypeError, match=r"'prioritys'. Did you mean 'priority'\?"):
        client.get_executor(prioritys=1)

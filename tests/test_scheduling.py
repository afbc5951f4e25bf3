from __future__ import annotations

import threading
from base64 import b64encode
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import add

import pytest

import taskloom
from taskloom import config, delayed
from taskloom.collections.base import CollectionMethods, DefaultScheduler, is_collection
from taskloom.scheduling import get_scheduler

Pair = namedtuple("Pair", "left right")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch):
    for variable in ("TASKLOOM_SCHEDULER", "TASKLOOM_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    config.refresh()
    yield
    monkeypatch.undo()
    config.refresh()


class Recorder:
    """A scheduler that notes what it was asked for."""

    def __init__(self):
        self.calls = []

    def __call__(self, dsk, keys, **options):
        self.calls.append((dict(dsk), keys, options))
        return taskloom.get(dsk, keys)


class Chunks(CollectionMethods):
    """A collection of several chunks, by the protocol alone."""

    __dask_scheduler__ = "sync"

    def __init__(self, dsk, keys):
        self.dsk, self.keys = dsk, keys

    def __dask_graph__(self):
        return self.dsk

    def __dask_keys__(self):
        return self.keys

    def __dask_postcompute__(self):
        return list, ()

    def __dask_postpersist__(self):
        return Chunks, (self.keys,)


def chunks(name="x", n=3):
    return Chunks({(name, i): (add, i, 10) for i in range(n)}, [(name, i) for i in range(n)])


# -- compute ---------------------------------------------------------------------------------------------------------


def test_arguments_without_collections_come_back_as_they_are():
    data = {"a": [1, 2]}
    (answer,) = taskloom.compute(data)
    assert answer is data
    assert taskloom.compute() == ()
    assert taskloom.persist(data) == (data,)
    assert taskloom.optimize(data) == (data,)


def test_collections_in_containers():
    @dataclass
    class Point:
        x: object
        y: object = 0
        z: object = field(default=5, init=False)

    a = delayed(add)(1, 2)
    plain = [1, 2]
    answer = taskloom.compute(
        [a, (a, "a")], {"k": a, a: 1}, {a}, Pair(a, 1), Point(a), slice(a, None), OrderedDict(k=a), plain, a
    )
    assert answer == (
        [3, (3, "a")],
        {"k": 3, 3: 1},
        {3},
        Pair(3, 1),
        Point(3),
        slice(3, None),
        OrderedDict(k=3),
        plain,
        3,
    )
    assert answer[7] is plain
    assert type(answer[6]) is OrderedDict


def test_dataclasses_need_not_be_built_by_their_init():
    @dataclass(frozen=True)
    class Odd:
        x: object
        double: object = field(init=False)

        def __init__(self, twice):
            object.__setattr__(self, "x", twice)

    odd = Odd(delayed(add)(1, 2))
    (answer,) = taskloom.compute(odd)
    assert answer.x == 3
    assert not hasattr(answer, "double")
    assert isinstance(odd.x, taskloom.collections.delayed.Delayed)  # the argument is as it was


def test_iterators_are_left_alone():
    numbers = iter([1, 2])
    answer, three = taskloom.compute(numbers, delayed(add)(1, 2))
    assert (answer, three) == (numbers, 3)
    assert list(answer) == [1, 2]


def test_traverse_false_looks_only_at_the_arguments():
    a = delayed(add)(1, 2)
    inner, outer = taskloom.compute([a], a, traverse=False)
    assert inner[0] is a
    assert outer == 3


def test_shared_work_runs_once():
    runs = []

    @delayed
    def load():
        runs.append(threading.get_ident())
        return 1

    loaded = load()
    assert taskloom.compute(loaded + 1, {"a": [loaded * 2]}, loaded, scheduler="threads") == (2, {"a": [2]}, 1)
    assert len(runs) == 1


def test_collections_of_several_keys_and_kinds():
    assert taskloom.compute(chunks(), scheduler="sync") == ([10, 11, 12],)
    assert taskloom.compute(chunks(n=1), delayed(add)(1, 2), scheduler="sync") == ([10], 3)


def test_a_collection_without_a_graph_is_plain_data():
    empty = Chunks(None, [])
    assert not is_collection(empty)
    assert taskloom.compute(empty) == (empty,)


def test_is_collection():
    assert is_collection(delayed(1))
    assert is_collection(chunks())
    assert not is_collection(Chunks)
    assert not is_collection(object())


def test_an_exception_arrives_as_itself():
    class Bad(Exception):
        def __init__(self, one, two):
            super().__init__(one, two)

    @delayed
    def fail():
        raise Bad(1, 2)

    with pytest.raises(Bad) as caught:
        fail().compute()
    assert caught.value.args == (1, 2)


def test_collections_with_one_optimizer_are_optimized_together():
    calls = []

    def optimizer(dsk, keys, **_):
        calls.append(sorted(keys))
        return dsk

    class Optimized(Chunks):
        __dask_optimize__ = staticmethod(optimizer)

    x, y = Optimized({"x": (add, 1, 1)}, ["x"]), Optimized({"y": (add, 2, 2)}, ["y"])
    assert taskloom.compute(x, y, scheduler="sync") == ([2], [4])
    assert calls == [["x", "y"]]
    taskloom.compute(x, scheduler="sync", optimize_graph=False)
    assert len(calls) == 1


def test_a_graph_that_is_no_mapping_is_refused():
    with pytest.raises(taskloom.GraphError, match="must return a mapping, not list"):
        taskloom.compute(Chunks([1], ["x"]))


# -- which scheduler -------------------------------------------------------------------------------------------------


def test_the_argument_wins_over_config_and_collection():
    chosen, configured = Recorder(), Recorder()
    with config.set(scheduler=configured):
        assert chunks().compute(scheduler=chosen) == [10, 11, 12]
    assert len(chosen.calls) == 1
    assert not configured.calls


def test_the_newest_setting_wins():
    first, second = Recorder(), Recorder()
    config.set(scheduler=first)
    with config.set(scheduler=second):
        chunks().compute()
    assert (len(first.calls), len(second.calls)) == (0, 1)
    chunks().compute()
    assert (len(first.calls), len(second.calls)) == (1, 1)


def test_a_setting_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("TASKLOOM_SCHEDULER", "sync")
    config.refresh()
    here = delayed(threading.get_ident)()
    assert here.compute() == threading.get_ident()
    configured = Recorder()
    with config.set(scheduler=configured):
        here.compute()
    assert len(configured.calls) == 1


def test_the_environment_wins_over_the_collection(monkeypatch):
    monkeypatch.setenv("TASKLOOM_SCHEDULER", "threads")
    config.refresh()
    chunks().compute()
    assert taskloom.last_run().engine == "threads"


def test_without_a_choice_the_collection_decides():
    chunks().compute()
    assert taskloom.last_run().engine == "sync"
    delayed(add)(1, 2).compute()
    assert taskloom.last_run().engine == "threads"


def test_collections_that_disagree_need_a_choice():
    a, b = chunks(), delayed(add)(1, 2)
    with pytest.raises(taskloom.ConfigError, match=r'sync, threads.*scheduler="threads"'):
        taskloom.compute(a, b)
    assert taskloom.compute(a, b, scheduler="threads") == ([10, 11, 12], 3)


@pytest.mark.parametrize("name", ["sync", "synchronous", "single-threaded", "Sync"])
def test_names_of_the_sync_engine(name):
    delayed(add)(1, 2).compute(scheduler=name)
    assert taskloom.last_run().engine == "sync"


@pytest.mark.parametrize("name", ["threads", "threading", "THREADS"])
def test_names_of_the_threads_engine(name):
    delayed(add)(1, 2).compute(scheduler=name)
    assert taskloom.last_run().engine == "threads"


@pytest.mark.parametrize("name", ["thread", "thraeds"])
def test_an_unknown_name_tells_the_nearest(name):
    with pytest.raises(taskloom.ConfigError, match=f"{name}.*Did you mean 'threads'.*'sync'"):
        delayed(add)(1, 2).compute(scheduler=name)
    with pytest.raises(taskloom.ConfigError, match="Did you mean"):
        taskloom.compute(1, scheduler=name)


@pytest.mark.parametrize("scheduler", [3, object(), {}, ThreadPoolExecutor])
def test_what_cannot_run_a_graph_is_refused(scheduler):
    with pytest.raises(taskloom.ConfigError, match="cannot run a graph"):
        delayed(add)(1, 2).compute(scheduler=scheduler)


def test_an_executor_runs_the_tasks():
    with ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
        name = delayed(lambda: threading.current_thread().name)()
        assert name.compute(scheduler=pool).startswith("mine")
        with config.set(scheduler=pool):
            assert name.compute().startswith("mine")


def test_an_object_with_a_get_method_is_a_client():
    class Client:
        get = staticmethod(Recorder())

    assert delayed(add)(1, 2).compute(scheduler=Client()) == 3
    assert len(Client.get.calls) == 1


def test_options_reach_the_scheduler():
    recorder = Recorder()
    delayed(add)(1, 2).compute(scheduler=recorder, num_workers=3)
    assert recorder.calls[0][2] == {"num_workers": 3}
    with pytest.raises(TypeError, match="num_worker"):
        delayed(add)(1, 2).compute(num_worker=3)


def test_default_schedulers_are_shared_objects():
    assert get_scheduler(default=DefaultScheduler("sync"))({"a": 1}, "a") == 1


# -- persist, optimize, visualize ------------------------------------------------------------------------------------


def test_persist_computes_once():
    runs = []
    a = delayed(lambda: runs.append(1) or "result")()
    kept, (other,) = taskloom.persist(a, [a + "!"])
    assert kept.key == a.key
    assert taskloom.compute(kept + "?", other) == ("result?", "result!")
    assert len(runs) == 1


@pytest.mark.parametrize("value", ["x", b"x", 1, 1.5, True, None, ("x",), (len, "x"), ["x"], {"x": "x"}, {"x"}, len])
def test_persisted_values_are_never_taken_for_keys_or_tasks(value):
    kept, x = taskloom.persist(delayed(lambda: value)(), delayed(add)("e", "x", dask_key_name="x"))
    assert taskloom.compute(kept, x) == (value, "ex")


def test_persist_of_a_collection_with_several_keys():
    kept = chunks().persist(scheduler="sync")
    assert isinstance(kept, Chunks)
    assert kept.compute() == [10, 11, 12]


def test_optimize_leaves_out_what_is_not_needed():
    big = Chunks({"x": (add, 1, 1), "unused": (add, 2, 2)}, ["x"])
    (small,) = taskloom.optimize(big)
    assert list(small.dsk) == ["x"]
    assert small.optimize().compute() == [2]


def test_visualize_writes_svg(tmp_path):
    total = delayed(sum)([delayed(add)(1, 2, dask_key_name="one"), delayed(add)(3, 4)])
    drawing = total.visualize(filename=str(tmp_path / "graph"))
    text = (tmp_path / "graph.svg").read_text()
    assert str(drawing) == text == drawing._repr_svg_()
    assert text.count("data-key=") == 3
    assert 'data-key="one"' in text
    assert b64encode(text.encode()).decode() in drawing._repr_html_()


def test_visualize_takes_several_collections_and_graphs():
    text = str(taskloom.visualize({"a": 1, "b": (abs, "a")}, [delayed(add)(1, 2)], chunks()))
    assert text.count("data-key=") == 6


@pytest.mark.parametrize("option", ["nworkers", "n_workers", "num_worker"])
def test_a_misspelt_option_names_the_nearest(option):
    with pytest.raises(TypeError, match=rf"No engine has an option '{option}'. Did you mean 'num_workers'\?"):
        taskloom.compute(taskloom.delayed(abs)(-1), **{option: 1})


def test_scheduler_is_no_option_of_a_door_for_graphs():
    with pytest.raises(TypeError, match=r"scheduler= belongs to taskloom\.compute"):
        taskloom.threaded.get({"x": 1}, "x", scheduler="sync")

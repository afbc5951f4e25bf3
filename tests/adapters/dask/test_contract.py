"""What Dask and its users expect of a scheduler, point by point; callbacks are in test_callbacks_contract.py."""

import os
import pickle
import subprocess
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import ContextVar
from multiprocessing import get_context
from multiprocessing.pool import ThreadPool
from operator import add
from threading import Barrier, current_thread
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Alias, DataNode, Dict, List, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph

import taskloom
from taskloom.distributed import Client, Future

Get = Callable[..., Any]
NAMES = ("sync", "synchronous", "single-threaded", "threads", "threading", "processes", "multiprocessing")


def inc(x: Any) -> Any:
    return x + 1


def fail() -> None:
    raise ZeroDivisionError("of the user's making")


def keywords(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def last_run() -> taskloom.Run:
    run = taskloom.last_run()
    assert run is not None
    return run


@pytest.fixture
def get(scheduler: str) -> Get:
    """The function that Dask calls for each engine."""
    found: Get = dask.base.get_scheduler(scheduler=scheduler)
    return found


# -- calling -----------------------------------------------------------------------------------------------------------


def test_1_graphs_of_all_kinds(get: Get) -> None:
    handed = []

    def look(dsk: Any, keys: Any, **options: Any) -> Any:
        handed.append(dsk)
        return get(dsk, keys, **options)

    assert da.ones(4, chunks=2).sum().compute(scheduler=look) == 4
    (dsk,) = handed
    assert not isinstance(dsk, Mapping)
    layers = HighLevelGraph.from_collections("x", {"x": (inc, 1)})
    assert get(layers, "x") == 2
    assert get({"x": (inc, 1)}, "x") == 2


def test_2_task_objects_and_tuples_mixed(get: Get) -> None:
    inner = Task.fuse(Task("i", inc, TaskRef("data")), Task("j", add, TaskRef("i"), TaskRef("i")), key="j")
    dsk = {
        "data": DataNode("data", 1),
        "other": Alias("other", "data"),
        "third": Alias("third", "other"),
        "tuple": (add, "third", (inc, ["x", "data"][1])),
        "j": inner,
        "named": Task("named", keywords, TaskRef("j"), "data", x=TaskRef("tuple"), y=List(TaskRef("data"), "data")),
        "nested": Task("nested", keywords, Task(None, inc, TaskRef("j")), Dict({"k": TaskRef("other"), "l": 5})),
        "list": ["data", "no key", (inc, "data")],
        "literal": ("no key", 0),
        "nothing": Task("nothing", keywords),
    }
    expected = {
        "data": 1, "third": 1, "tuple": 3, "j": 4, "named": ((4, "data"), {"x": 3, "y": [1, "data"]}),
        "nested": ((5, {"k": 1, "l": 5}), {}), "list": [1, "no key", 2], "literal": ("no key", 0), "nothing": ((), {}),
    }  # fmt: skip
    keys = list(expected)
    assert dict(zip(keys, get(dsk, keys), strict=True)) == expected


def test_2_a_fused_task_that_is_one_of_its_inputs(get: Get) -> None:
    end = Task("c", add, TaskRef("b"), TaskRef("a"))
    fused = Task.fuse(Task("a", inc, TaskRef("x")), Alias("b", "a"), end, key="c")
    assert get({"x": 1, "c": fused}, "c") == 4
    assert get({"x": 1, "b": Task.fuse(Task("a", inc, TaskRef("x")), Alias("b", "a"), key="b")}, "b") == 2


def test_2_fused_tasks_of_one_shape_share_a_program() -> None:
    da.ones(1000, chunks=(10,)).sum().compute(scheduler="sync")
    plan = last_run().graph.plan
    assert plan is not None
    assert len(plan) > 100
    assert len(set(map(id, plan.functions))) <= 6


def test_2_what_is_applied_gives_the_name(get: Get) -> None:
    dsk = {"x": 1, "y": (dask.utils.apply, keywords, ["x", 2], {"z": 3}), "z": (dask.utils.apply, keywords, ["y"])}
    assert get(dsk, "z") == ((((1, 2), {"z": 3}),), {})
    assert set(last_run().graph.functions) - {"identity"} == {"keywords"}


def test_3_answers_are_tuples_nested_as_the_keys(get: Get) -> None:
    dsk = {"a": 1, "b": (inc, "a"), "l": (list, (range, 2))}
    assert get(dsk, "b") == 2
    assert get(dsk, ["a", "l"]) == (1, [0, 1])
    assert get(dsk, [["a"], ["b", []]]) == ((1,), (2, ()))
    assert get(dsk, []) == ()


def test_4_unknown_keywords_are_passed_over(scheduler: str) -> None:
    options = {"flush": True, "chunksize": 3, "rerun_exceptions_locally": False}
    assert dask.delayed(inc)(1).compute(scheduler=scheduler, **options) == 2


def fail_with_pid(x: int) -> None:
    local = x + 1
    raise ValueError(os.getpid(), local)


def fail_elsewhere(here: int) -> None:
    if os.getpid() != here:
        raise OSError("there")


def compute_in_pool(value: Any) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        value.compute(scheduler="processes", rerun_exceptions_locally=True, pool=pool)


def compute_as_configured(value: Any) -> None:
    with dask.config.set(rerun_exceptions_locally=True):
        value.compute(scheduler="processes")


RERUN: dict[str, Callable[[Any], None]] = {
    "argument": lambda value: value.compute(scheduler="processes", rerun_exceptions_locally=True),
    "configuration": compute_as_configured,
    "pool": compute_in_pool,
    "inside a task": lambda value: dask.delayed(lambda: compute_as_configured(value))().compute(scheduler="threads"),
}


@pytest.mark.parametrize("how", RERUN)
def test_4_a_failed_task_is_run_again_here(how: str) -> None:
    with pytest.raises(ValueError, match=rf"\({os.getpid()}, 3\)") as caught:
        RERUN[how](dask.delayed(fail_with_pid)(dask.delayed(inc)(1)))
    *_, (frame, _) = traceback.walk_tb(caught.value.__traceback__)
    assert frame.f_code is fail_with_pid.__code__
    assert frame.f_locals["local"] == 3
    assert caught.value.__context__ is None
    assert "failed in run" in caught.value.__notes__[0]


def test_4_and_not_where_nobody_wants_it() -> None:
    with dask.config.set(rerun_exceptions_locally=True), pytest.raises(ValueError, match=r", 2\)") as caught:
        dask.delayed(fail_with_pid)(1).compute(scheduler="processes", rerun_exceptions_locally=False)
    assert caught.value.args[0] != os.getpid()


def test_4_an_exception_that_is_not_raised_here_stands() -> None:
    with pytest.raises(OSError, match="there") as caught:
        dask.delayed(fail_elsewhere)(os.getpid()).compute(scheduler="processes", rerun_exceptions_locally=True)
    assert caught.value.__notes__[-1].endswith("the task succeeds.")


def test_4_a_task_that_ends_its_process_is_not_run_here() -> None:
    with pytest.raises(taskloom.WorkerDied):
        dask.delayed(os._exit)(1).compute(scheduler="processes", rerun_exceptions_locally=True)


def test_5_what_is_wrong_with_a_graph(get: Get) -> None:
    with pytest.raises(KeyError, match="nope"):
        get({"a": 1}, "nope")
    with pytest.raises(ValueError, match=r"'b' needs 'aa', which is not in the graph"):
        get({"a": 1, "b": Task("b", inc, TaskRef("aa"))}, "b")
    with pytest.raises(ValueError, match="Missing dependency"):
        get({"b": Task("b", keywords, List(TaskRef("aa")))}, ["b"])
    with pytest.raises(RuntimeError, match="Cycle detected"):
        get({"a": Alias("a", "b"), "b": Alias("b", "a")}, "a")
    with pytest.raises(RuntimeError, match="Cycle detected"):
        get({"a": Task("a", inc, TaskRef("b")), "b": Task("b", inc, TaskRef("a"))}, "a")
    with pytest.raises(ZeroDivisionError, match="of the user's making"):
        get({"a": (fail,)}, "a")


def test_6_a_long_chain(get: Get) -> None:
    n = 10_000
    dsk: dict[Any, Any] = {("x", 0): DataNode(("x", 0), 0)}
    dsk |= {("x", i): Task(("x", i), inc, TaskRef(("x", i - 1))) for i in range(1, n)}
    assert get(dsk, ("x", n - 1)) == n - 1


def thread_name(_: Any) -> str:
    return current_thread().name


@pytest.mark.parametrize("how", ["argument", "configuration"])
@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ThreadPool])
def test_7_pools(how: str, kind: Any) -> None:
    with kind(2) as pool:
        words = db.from_sequence([1, 2], npartitions=2).map(thread_name)
        if how == "argument":
            names = words.compute(scheduler="threads", pool=pool)
        else:
            with dask.config.set(pool=pool, scheduler="threads"):
                names = words.compute()
    assert all(name.startswith(("ThreadPoolExecutor", "Thread-")) for name in names), names


def test_7_pools_of_processes() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool:
        own = pool.submit(os.getpid).result()
        assert dask.delayed(os.getpid)().compute(scheduler="processes", pool=pool) == own
        assert dask.delayed(os.getpid)().compute(scheduler=pool) == own
        with pytest.warns(UserWarning, match="initializer"):
            dask.delayed(os.getpid)().compute(scheduler="processes", pool=pool, initializer=print)


@pytest.mark.parametrize("scheduler_name", ["threads", "processes"])
def test_7_num_workers_of_the_call_and_of_the_configuration(scheduler_name: str) -> None:
    value = dask.delayed(sum)([dask.delayed(inc)(i) for i in range(50)])
    for how in ({"num_workers": 1}, {}):
        with dask.config.set(num_workers=1):
            value.compute(scheduler=scheduler_name, **how)
        assert len(last_run().workers) == 1


def test_7_num_workers_of_the_environment() -> None:
    program = """
import dask, taskloom, threading
taskloom.enable_dask()
barrier = threading.Barrier(7)
dask.compute(*[dask.delayed(barrier.wait)(20, dask_key_name=str(i)) for i in range(7)])
print(len(taskloom.last_run().workers))
"""
    environment = {**os.environ, "DASK_NUM_WORKERS": "7"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout == "7\n"


# -- plugging in -------------------------------------------------------------------------------------------------------


def test_8_one_function_for_each_engine_wherever_dask_looks() -> None:
    threads = {dask.threaded.get, da.Array.__dask_scheduler__, dask.delayed(1).__dask_scheduler__}
    threads |= {dd.from_pandas(pd.DataFrame({"a": [1]}), npartitions=1).__dask_scheduler__}
    threads |= {dask.base.named_schedulers[name] for name in ("threads", "threading")}
    assert len(threads) == 1
    processes = {dask.multiprocessing.get, db.Bag.__dask_scheduler__, db.Item.__dask_scheduler__}
    processes |= {dask.base.named_schedulers[name] for name in ("processes", "multiprocessing")}
    assert len(processes) == 1
    assert len({dask.get, dask.local.get_sync, *[dask.base.named_schedulers[name] for name in NAMES[:3]]}) == 1
    assert dask.compute(da.ones(2, chunks=1).sum(), dask.delayed(inc)(1)) == (2, 2)
    for name in NAMES:
        assert dask.delayed(inc)(1).compute(scheduler=name.upper()) == 2
        assert last_run().engine in ("sync", "threads", "processes")


def test_8_on_and_off_as_often_as_one_likes() -> None:
    taskloom.enable_dask()
    assert dask.threaded.get.__module__.startswith("taskloom")
    taskloom.disable_dask()
    taskloom.disable_dask()

    def what_stands() -> list[Any]:
        places = [dask.threaded.get, dask.multiprocessing.get, dask.local.get_sync, dask.get]
        places += [da.Array.__dask_scheduler__, db.Bag.__dask_scheduler__, dask.base.get_scheduler]
        places += [dask.config.get("admin.traceback.shorten"), *dask.base.named_schedulers.values()]
        return places

    plain = what_stands()
    assert not [get for get in plain if getattr(get, "__module__", "").startswith("taskloom")]
    taskloom.enable_dask()
    assert dask.base.named_schedulers["threads"].__module__.startswith("taskloom")
    assert [get.__name__ for get in what_stands()[:4]] == [get.__name__ for get in plain[:4]]
    taskloom.disable_dask()
    assert what_stands() == plain
    before = taskloom.last_run()
    assert dask.delayed(inc)(1).compute(scheduler="sync") == 2
    assert taskloom.last_run() is before


def test_8_classes_that_were_made_before() -> None:
    taskloom.disable_dask()

    class Mine(dask.base.DaskMethodsMixin):
        __dask_scheduler__ = staticmethod(dask.threaded.get)
        __dask_optimize__ = None

        def __dask_graph__(self) -> Any:
            return {"mine": (inc, 1)}

        def __dask_keys__(self) -> Any:
            return ["mine"]

        def __dask_postcompute__(self) -> Any:
            return list, ()

    taskloom.enable_dask()
    before = taskloom.last_run()
    assert Mine().compute() == [2]
    assert last_run() is not before
    assert dask.compute(Mine(), dask.delayed(inc)(1)) == ([2], 2)


def test_9_locks_are_those_of_the_engine() -> None:
    assert dask.base.get_scheduler(scheduler="processes") == dask.multiprocessing.get
    assert type(dask.utils.get_scheduler_lock(da.ones(1), scheduler="threads")).__name__ == "SerializableLock"
    assert type(dask.utils.get_scheduler_lock(db.range(1, npartitions=1))).__name__ == "MachineLock"


def test_9_locks_of_a_manager_work_in_tasks() -> None:
    with get_context("spawn").Manager() as manager, dask.config.set(scheduler="processes", num_workers=2):
        lock = manager.Lock()
        assert dask.compute(*[dask.delayed(hold)(lock, i) for i in range(4)]) == (0, 1, 2, 3)


def hold(lock: Any, value: int) -> int:
    with lock:
        return value


@pytest.mark.parametrize("how", ["default", "argument", "configuration", "name"])
def test_10_a_client(how: str) -> None:
    frame = dd.from_pandas(pd.DataFrame({"a": range(10), how: 0}), npartitions=3)
    is_default = how in ("default", "name")
    with Client(n_workers=1, threads_per_worker=2, processes=False, set_as_default=is_default) as client:
        options: dict[str, Any] = {"scheduler": client} if how == "argument" else {}
        with dask.config.set(scheduler={"configuration": client, "name": "distributed"}.get(how)):
            assert da.ones(4, chunks=2).sum().compute(**options) == 4
            assert last_run().engine == "distributed"
            kept = (da.ones(4, chunks=2) + 1).persist(**options)
            assert {type(value) for value in dict(kept.dask).values()} == {Future}
            (again,) = dask.persist(kept.sum(), **options)
            rows = frame[frame.a > 2].persist(**options)
            assert (rows.a.sum().compute(**options), again.compute(**options)) == (42, 8)
    with pytest.raises(taskloom.distributed.CancelledError, match="its client was closed"):
        again.compute(scheduler="sync")


def test_11_dasks_configuration_wins() -> None:
    used = []

    def count(dsk: Any, keys: Any, **options: Any) -> Any:
        used.append(keys)
        return dask.get(dsk, keys, **options)

    with taskloom.config.set(scheduler="processes"):
        assert dask.delayed(inc)(1).compute() == 2
        assert last_run().engine == "processes"
        with dask.config.set(scheduler="threads"):
            dask.delayed(inc)(1).compute()
        assert last_run().engine == "threads"
        with dask.config.set(scheduler=count):
            dask.delayed(inc)(1).compute()
            assert dask.delayed(inc)(1).compute(scheduler="sync") == 2
    assert len(used) == 1
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        assert dask.delayed(thread_name)(1).compute(scheduler=pool) == "mine_0"


@pytest.mark.parametrize(
    ("door", "engine"),
    [(taskloom.get, "sync"), (taskloom.threaded.get, "threads"), (taskloom.multiprocessing.get, "processes")],
)
def test_11_taskloom_functions_are_schedulers(door: Get, engine: str) -> None:
    assert da.ones(4, chunks=2).sum().compute(scheduler=door, num_workers=1, of_somebody_else=1) == 4
    assert last_run().engine == engine


# -- threads -----------------------------------------------------------------------------------------------------------


def test_12_tasks_that_wait_for_each_other() -> None:
    parties = dask.system.CPU_COUNT
    barrier = Barrier(parties)
    dsk = {str(i): (barrier.wait, 20) for i in range(parties)}
    assert sorted(dask.threaded.get(dsk, list(dsk))) == list(range(parties))


def test_13_the_caller_takes_no_place_in_a_pool() -> None:
    barrier = Barrier(20)
    dsk = {str(i): (barrier.wait, 20) for i in range(20)}
    with ThreadPoolExecutor(20) as pool:
        assert sorted(dask.threaded.get(dsk, list(dsk), pool=pool)) == list(range(20))


context = ContextVar("context", default="none")


def test_14_context_and_warnings() -> None:
    def read(_: int) -> str:
        warnings.warn("from a task", stacklevel=2)
        return context.get()

    for value in ("first", "second"):
        context.set(value)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            values = dask.compute(*[dask.delayed(read)(i) for i in range(3)], scheduler="threads")
        assert values == (value, value, value)
        assert [str(warning.message) for warning in caught] == ["from a task"] * 3


# -- processes ---------------------------------------------------------------------------------------------------------


def set_flag() -> None:
    os.environ["TASKLOOM_TEST_FLAG"] = "set"


def flag() -> Any:
    return os.environ.get("TASKLOOM_TEST_FLAG")


@pytest.mark.parametrize("how", ["argument", "configuration"])
def test_15_initializers(how: str) -> None:
    value = dask.delayed(flag)()
    if how == "argument":
        assert value.compute(scheduler="processes", initializer=set_flag) == "set"
    else:
        with dask.config.set({"multiprocessing.initializer": set_flag}):
            assert value.compute(scheduler="processes") == "set"
    assert value.compute(scheduler="processes") is None
    assert dask.delayed(os.getpid)().compute(scheduler="processes") != os.getpid()


class Unreadable:
    def __getstate__(self) -> int:
        return 1

    def __setstate__(self, state: int) -> None:
        raise BufferError("cannot be read")


def test_16_what_cannot_be_unpickled_raises_its_own_exception() -> None:
    with pytest.raises(BufferError, match="cannot be read"):
        dask.multiprocessing.get({"x": (keywords, Unreadable()), "y": (keywords, "x")}, "y")


state = types.ModuleType("state_of_this_process")
sys.modules["state_of_this_process"] = state


def read_state() -> Any:
    return vars(sys.modules["state_of_this_process"])["value"]


def test_17_forks_see_this_process_as_it_is() -> None:
    for value in ("first", "second"):
        vars(state)["value"] = value
        with dask.config.set({"multiprocessing.context": "fork"}):
            assert dask.delayed(read_state)().compute(scheduler="processes", num_workers=1) == value


def hashes() -> int:
    return hash("taskloom")


def random_number(_: int) -> float:
    return float(np.random.random())


def test_17_hashes_agree_and_random_numbers_do_not() -> None:
    with dask.config.set(scheduler="processes", num_workers=2):
        found = dask.compute(*[dask.delayed(hashes)(dask_key_name=str(i)) for i in range(8)])
        assert len(set(found)) == 1
        numbers = dask.compute(*[dask.delayed(random_number)(i) for i in range(8)])
        assert len(set(numbers)) == 8


def test_18_processes_fuse_chains_unless_told_not_to() -> None:
    dsk = {"x": 1, "y": (inc, "x"), "z": (add, 10, "y")}
    for options, count in (({}, 1), ({"optimize_graph": False}, 2)):
        keys: list[Any] = []
        with dask.callbacks.Callback(pretask=lambda key, *_, keys=keys: keys.append(key)):
            assert dask.multiprocessing.get(dsk, "z", **options) == 12
        assert len([key for key in keys if key != "z" or count > 1]) == count  # or z stands for what was fused
    assert dask.multiprocessing.get(dsk, ["y", "z"]) == (2, 12)


def test_process_engines_shuffle_by_tasks(scheduler: str) -> None:
    frame = dd.from_pandas(pd.DataFrame({"a": [1, 2, 1, 2], "b": range(4)}), npartitions=2).shuffle("a")
    with dask.config.set(scheduler=scheduler):
        assert frame.b.sum().compute() == 6
        on_disk = "maybe_buffered_partd" in last_run().graph.functions
        assert on_disk == (scheduler in ("sync", "threads"))
        with dask.config.set({"dataframe.shuffle.method": "tasks" if on_disk else "disk"}):
            assert frame.b.max().compute() == 3
        assert ("maybe_buffered_partd" in last_run().graph.functions) == (not on_disk)


WAYS: dict[str, Callable[[Any, str], Any]] = {
    "compute": lambda frame, scheduler: frame.compute(scheduler=scheduler),
    "persist": lambda frame, scheduler: frame.persist(scheduler=scheduler),
    "dask.persist": lambda frame, scheduler: dask.persist(frame, scheduler=scheduler),
    "taskloom.compute": lambda frame, scheduler: taskloom.compute(frame, scheduler=scheduler),
    "taskloom.persist": lambda frame, scheduler: taskloom.persist(frame, scheduler=scheduler),
}


@pytest.mark.parametrize("compute", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", ["shuffle", "set_index", "merge"])
def test_process_engines_shuffle_by_tasks_however_they_are_chosen(
    kind: str, compute: Callable[[Any, str], Any]
) -> None:
    frame = dd.from_pandas(pd.DataFrame({"a": np.arange(40) % 7, "b": np.arange(40.0)[::-1]}), npartitions=3)
    shuffled = {
        "shuffle": lambda: frame.shuffle("a"),
        "set_index": lambda: frame.set_index("b"),  # which computes its divisions while its graph is made
        "merge": lambda: frame.merge(frame, on="a", how="outer"),
    }[kind]
    for scheduler in ("processes", "threads"):
        compute(shuffled(), scheduler)
        assert last_run().engine == scheduler
        assert ("maybe_buffered_partd" in last_run().graph.functions) == (scheduler == "threads")


def test_who_asks_for_a_scheduler_and_computes_nothing_leaves_no_trace() -> None:
    dask.base.get_scheduler(scheduler="processes")
    with dask.config.set(scheduler="threads"):
        assert not shuffles_by_tasks(db.from_sequence(range(20), npartitions=2).groupby(is_odd))


@pytest.mark.parametrize("name", ["threaded", "multiprocessing"])
def test_functions_of_dasks_that_were_imported_before(name: str) -> None:
    taskloom.disable_dask()
    before = getattr(dask, name).get
    taskloom.enable_dask()
    assert taskloom.get({"another": 1}, "another") == 1
    assert da.ones(4, chunks=2).sum().compute(scheduler=before) == 4
    assert last_run().engine == {"threaded": "threads", "multiprocessing": "processes"}[name]


def is_odd(x: int) -> bool:
    return x % 2 == 1


def shuffles_by_tasks(collection: Any) -> bool:
    return not [key for key in collection.__dask_graph__() if "partd" in str(key)]


def test_bags_are_grouped_as_the_scheduler_in_force_can() -> None:
    bag = db.from_sequence(range(20), npartitions=2)
    assert shuffles_by_tasks(bag.groupby(is_odd)), "in worker processes, which bags prefer"
    for scheduler in ("sync", "threads", "processes", "distributed"):
        with dask.config.set(scheduler=scheduler):
            assert shuffles_by_tasks(bag.groupby(is_odd)) == (scheduler in ("processes", "distributed"))


# -- errors ------------------------------------------------------------------------------------------------------------


def test_19_errors_show_the_users_frames_alone(scheduler: str) -> None:
    with pytest.raises(ZeroDivisionError, match="of the user's making") as caught:
        da.ones(4, chunks=2).map_blocks(lambda block: fail(), dtype=float, meta=np.ones(1)).sum().compute(
            scheduler=scheduler
        )
    frames = traceback.extract_tb(caught.value.__traceback__)
    files = [frame.filename for frame in frames]
    assert not [file for file in files if f"taskloom{os.sep}engines" in file or f"taskloom{os.sep}adapters" in file]
    assert frames[-1].name == "fail"
    assert any("replay" in note or "failed in run" in note for note in caught.value.__notes__)


def test_collections_can_be_pickled() -> None:
    x = da.ones(4, chunks=2).sum()
    assert pickle.loads(pickle.dumps(x)).compute() == 4

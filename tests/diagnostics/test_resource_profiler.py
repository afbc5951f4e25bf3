"""The profiler of CPU and memory: when it samples, and that nothing of it stays."""

import threading
from time import perf_counter
from typing import Any

import psutil
import pytest

import taskloom
from taskloom.diagnostics import ResourceData, ResourceProfiler

DEADLINE = 10.0  # seconds


def sampling_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "taskloom-resources"]


def wait_for(condition: Any) -> None:
    """Return once the condition holds."""
    end = perf_counter() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert perf_counter() < end, "it did not happen in time"
        pause.wait(0.005)


def compute(function: Any) -> None:
    taskloom.threaded.get({"a": (lambda: function(),)}, "a")


def test_a_block_is_sampled_from_its_start_to_its_end() -> None:
    with ResourceProfiler(dt=0.02) as profiler:
        wait_for(lambda: len(profiler.results) >= 5)  # nothing computes
        assert len(sampling_threads()) == 1
    assert sampling_threads() == []

    assert ResourceData._fields == ("time", "mem", "cpu")
    times = [row.time for row in profiler.results]
    assert profiler.start_time <= times[0]
    assert times[-1] <= profiler.end_time
    assert all(time - times[0] >= 0.019 * number for number, time in enumerate(times[:-1]))  # the last came at the end
    assert times == sorted(times)
    rss = psutil.Process().memory_info().rss / 1e6
    assert all(rss / 3 < row.mem < 3 * rss for row in profiler.results)
    assert profiler.results[0].cpu == 0.0
    assert all(row.cpu >= 0.0 for row in profiler.results)


def test_a_short_block_has_a_sample() -> None:
    with ResourceProfiler() as profiler:
        compute(int)
    assert len(profiler.results) == 1


def test_work_shows_as_cpu_use() -> None:
    def work() -> None:
        end = perf_counter() + DEADLINE
        while len(profiler.results) < 3 and perf_counter() < end:
            sum(range(10_000))

    with ResourceProfiler(dt=0.1) as profiler:
        compute(work)
    assert max(row.cpu for row in profiler.results) > 1


def test_registered_it_samples_while_something_runs() -> None:
    profiler = ResourceProfiler(dt=0.02)
    profiler.register()
    try:
        assert sampling_threads() == []
        compute(lambda: wait_for(lambda: len(profiler.results) >= 3))
        assert sampling_threads() == []
        seen = len(profiler.results)
        compute(lambda: wait_for(lambda: len(profiler.results) >= seen + 3))
    finally:
        profiler.unregister()
    seen = len(profiler.results)
    compute(int)
    assert len(profiler.results) == seen
    with pytest.raises(KeyError):
        profiler.unregister()


def test_registered_it_goes_on_until_the_last_run_has_ended() -> None:
    profiler = ResourceProfiler(dt=0.02)
    profiler.register()
    end = threading.Event()
    outer = threading.Thread(target=compute, args=(lambda: end.wait(DEADLINE),))
    outer.start()
    try:
        wait_for(lambda: profiler.results)
        compute(int)
        seen = len(profiler.results)
        wait_for(lambda: len(profiler.results) >= seen + 3)
    finally:
        end.set()
        outer.join()
        assert sampling_threads() == []
        profiler.unregister()


def test_unregistered_in_the_middle_of_a_run_it_stops() -> None:
    profiler = ResourceProfiler(dt=0.02)
    profiler.register()

    def stop() -> None:
        wait_for(lambda: profiler.results)
        profiler.unregister()
        assert sampling_threads() == []

    compute(stop)


def test_close_stops_and_clear_forgets() -> None:
    with ResourceProfiler(dt=0.02) as profiler:
        profiler.close()
        assert sampling_threads() == []
    assert profiler.results
    profiler.clear()
    assert profiler.results == []


def test_a_failed_block_leaves_no_thread() -> None:
    with pytest.raises(ZeroDivisionError), ResourceProfiler():
        compute(lambda: 1 / 0)
    assert sampling_threads() == []


@pytest.mark.parametrize("dt", [0, -1, float("nan")])
def test_a_bad_interval_is_an_error(dt: float) -> None:
    with pytest.raises(ValueError, match="dt="):
        ResourceProfiler(dt=dt)

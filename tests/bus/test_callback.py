"""Callbacks: registration. When and with what they are called is part of the engines' contract."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import taskloom
from taskloom import Callback
from taskloom.bus.callback import hooks_of

PATIENCE = 20.0  # seconds until a test gives up


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    assert not Callback.active
    yield
    assert not Callback.active


class Keys(Callback):
    """Notes what runs. As many written for Dask, it does not call `super().__init__`."""

    def __init__(self) -> None:
        self.keys: list[Any] = []

    def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
        self.keys.append(key)


def compute(key: str = "a", **options: Any) -> Any:
    return taskloom.get({key: (abs, -1)}, key, **options)


def test_active_as_a_context_manager() -> None:
    callback = Keys()
    compute("before")
    with callback as entered:
        assert entered is callback
        assert len(Callback.active) == 1
        compute("a")
    compute("after")
    assert callback.keys == ["a"]


def test_active_from_register_to_unregister() -> None:
    callback = Keys()
    callback.register()
    callback.register()  # a cell that is run again
    compute("a")
    callback.unregister()
    compute("after")
    assert callback.keys == ["a"]


def test_unregister_of_what_is_not_registered() -> None:
    with pytest.raises(KeyError):
        Keys().unregister()


def test_a_context_ends_when_its_body_raises() -> None:
    callback = Keys()
    with pytest.raises(ZeroDivisionError), callback:
        taskloom.get({"bad": (divmod, 1, 0)}, "bad")
    compute("after")
    assert callback.keys == ["bad"]


def test_hooks_are_five_functions_in_dasks_order() -> None:
    def f(*args: Any) -> None: ...

    with Callback(posttask=f):
        (hooks,) = Callback.active
    assert hooks == (None, None, None, f, None)
    callback = Keys()
    with callback:
        assert list(Callback.active) == [(None, None, callback._pretask, None, None)]
        assert callback._callback in Callback.active


def test_several_at_once_each_hear_all() -> None:
    first, second = Keys(), Keys()
    with first, second:
        compute()
    with second:
        compute("b")
    assert (first.keys, second.keys) == (["a"], ["a", "b"])


def test_registration_counts_for_runs_of_any_thread() -> None:
    callback = Keys()
    with callback:
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
    assert callback.keys == ["a"]


def test_active_is_empty_inside_a_run_and_full_again_after_it() -> None:
    callback = Keys()
    inside: list[Any] = []

    def task() -> None:
        inside.append((len(Callback.active), list(Callback.active), callback._callback in Callback.active))
        compute("nested")

    with callback:
        for get in (taskloom.get, taskloom.threaded.get):
            get({"task": (task,)}, "task")
            assert len(Callback.active) == 1
            with pytest.raises(ZeroDivisionError):
                get({"bad": (divmod, 1, 0)}, "bad")
            assert len(Callback.active) == 1
    assert inside == [(0, [], False)] * 2
    assert callback.keys == ["task", "bad"] * 2, "nested runs fire nothing"


def test_a_callback_entered_inside_a_task_hears_of_nested_runs() -> None:
    outer, inner = Keys(), Keys()

    def task() -> None:
        with inner:
            compute("nested")

    with outer:
        taskloom.get({"task": (task,)}, "task")
    assert (outer.keys, inner.keys) == (["task"], ["nested"])


def test_runs_that_overlap_lose_no_registration() -> None:
    """One run begins before another and ends before it: both have callbacks, and neither takes the other's away."""
    callback = Keys()
    first_runs, second_runs, first_over = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        first_runs.set()
        assert second_runs.wait(PATIENCE)

    def second() -> None:
        second_runs.set()
        assert first_over.wait(PATIENCE)

    with callback:
        one = threading.Thread(target=taskloom.get, args=({"first": (first,)}, "first"))
        one.start()
        assert first_runs.wait(PATIENCE)
        other = threading.Thread(target=taskloom.get, args=({"second": (second,)}, "second"))
        other.start()
        one.join()
        first_over.set()
        other.join()
        assert len(Callback.active) == 1
        compute("after")
    assert sorted(callback.keys) == ["after", "first", "second"]


def test_the_callbacks_option_replaces_those_registered() -> None:
    registered, given, other = Keys(), Keys(), Keys()
    with registered:
        compute("a", callbacks=given)
        compute("b", callbacks=[given, other._callback])
        compute("c", callbacks=())
    assert (registered.keys, given.keys, other.keys) == ([], ["a", "b"], ["b"])


@pytest.mark.parametrize(
    ("callbacks", "count"),
    [
        (None, 0),
        ([], 0),
        (Keys(), 1),
        ((None, None, print, None, None), 1),
        ([Keys(), (None, None, print, None, None)], 2),
        ((Keys(), Keys()), 2),
        ({Keys()}, 1),
        (iter([Keys()]), 1),
    ],
)
def test_hooks_of_one_or_several(callbacks: Any, count: int) -> None:
    hooks = hooks_of(callbacks)
    assert len(hooks) == count
    assert all(len(hook) == 5 for hook in hooks)


@pytest.mark.parametrize("callbacks", [print, 5, [print], "abcde", [(None, None)], [None], [(1, 2, 3, 4, 5)]])
def test_what_is_no_callback_is_named_before_anything_runs(callbacks: Any) -> None:
    ran: list[int] = []
    with pytest.raises(TypeError, match=r"is no callback: .* taskloom.Callback or a tuple of 5 functions"):
        taskloom.get({"a": (ran.append, 1)}, "a", callbacks=callbacks)
    assert not ran

"""Figures are drawn by a thread of their own: it keeps nobody waiting, and draws the end."""

import threading

import pytest

from taskloom.views.figures.painter import Painter

DEADLINE = 20  # seconds


def test_waking_waits_for_no_drawing() -> None:
    drawing, go_on, calls = threading.Event(), threading.Event(), []

    def draw() -> None:
        calls.append(threading.current_thread())
        drawing.set()
        assert go_on.wait(DEADLINE)

    painter = Painter(draw)
    painter.wake()
    assert drawing.wait(DEADLINE)
    for _ in range(100):
        painter.wake()  # returns although the drawing hangs
    assert len(calls) == 1
    go_on.set()
    painter.close()
    assert threading.current_thread() not in calls


def test_what_came_while_it_drew_is_drawn_once() -> None:
    first, second, go_on, state, seen = threading.Event(), threading.Event(), threading.Event(), [0], []

    def draw() -> None:
        seen.append(state[0])
        (second if first.is_set() else first).set()
        assert go_on.wait(DEADLINE)

    painter = Painter(draw)
    painter.wake()
    assert first.wait(DEADLINE)
    for number in range(1, 10):
        state[0] = number
        painter.wake()
    go_on.set()
    assert second.wait(DEADLINE)
    painter.close()
    assert seen == [0, 9]


def test_flush_draws_what_is_missing_in_the_calling_thread() -> None:
    calls: list[threading.Thread] = []
    painter = Painter(lambda: calls.append(threading.current_thread()))
    painter.flush()
    assert calls == []
    painter.wake()
    painter.flush()
    assert len(calls) == 1  # by whichever thread came first, and before `flush` returned
    painter.close()
    painter.wake()
    painter.flush()
    assert len(calls) == 1


def test_a_drawing_that_fails_is_reported_and_is_the_last() -> None:
    failed = threading.Semaphore(0)

    def fail() -> None:
        failed.release()
        raise ZeroDivisionError

    def wake_twice() -> None:
        painter.wake()
        assert failed.acquire(timeout=DEADLINE)
        painter.wake()
        painter.flush()

    painter = Painter(fail)
    with pytest.warns(RuntimeWarning, match=r"stands still from now on:\n(?s:.*)ZeroDivisionError"):
        wake_twice()
    painter.close()
    assert not failed.acquire(blocking=False)


def test_its_thread_ends() -> None:
    painter = Painter(lambda: None)
    painter.close()
    painter.close()
    assert "taskloom-painter" not in {thread.name for thread in threading.enumerate()}

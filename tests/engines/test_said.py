"""Warnings and log records of tasks in worker processes reach the caller as if they had run here."""

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import taskloom

from .cases import Get, case_named, check_child


@pytest.fixture(params=["processes-spawn", "processes-fork", "cluster-spawn", "cluster-fork"])
def get(request: pytest.FixtureRequest) -> Iterator[Get]:
    name, _, context = request.param.partition("-")
    with taskloom.config.set(multiprocessing={"context": context}), case_named(name).open(2) as get:
        yield get


class Careful(UserWarning):
    pass


class Stubborn(UserWarning):
    def __reduce__(self) -> Any:
        raise TypeError("not me")


def warn(i: int, category: type[Warning] = UserWarning) -> int:
    warnings.warn(category(f"careful {i}"), stacklevel=1)
    return i


@pytest.mark.parametrize("observed", [False, True], ids=["plain", "observed"])
def test_warnings_reach_the_caller(get: Get, observed: bool) -> None:
    callbacks = {"callbacks": taskloom.Callback()} if observed else {}
    dsk = {("x", i): (warn, i, Careful) for i in range(10)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        get(dsk, list(dsk), **callbacks)
    assert sorted(str(warning.message) for warning in caught) == sorted(f"careful {i}" for i in range(10))
    assert {warning.category.__name__ for warning in caught} == {"Careful"}
    assert {warning.filename for warning in caught} == {__file__}


def test_the_callers_filters_hold_in_tasks(get: Get) -> None:
    dsk = {("x", i): (warn, 0) for i in range(10)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        get(dsk, list(dsk))
        assert caught == []
        warnings.simplefilter("default")  # each once, from however many workers
        get(dsk, list(dsk))
        assert len(caught) == 1
        warnings.resetwarnings()
        warnings.filterwarnings("ignore")
        warnings.filterwarnings("always", module=re.escape(__name__))
        get(dsk, list(dsk))
        assert len(caught) == 1 + 10
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="careful 0"):
            get(dsk, list(dsk))


def test_a_warning_that_cannot_be_pickled_comes_as_text(get: Get) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        get({"a": (warn, 1, Stubborn)}, "a")
    (warning,) = caught
    assert str(warning.message) == "Stubborn: careful 1"
    assert warning.category is UserWarning


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def handler_of(name: str, level: int = logging.NOTSET) -> Iterator[Kept]:
    logger = logging.getLogger(name)
    handler = Kept()
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def log(i: int, *arguments: Any) -> int:
    logger = logging.getLogger("taskloom-test.part")
    logger.debug("debug %d", i)
    logger.info("info %d", i, extra={"task": i})
    logger.warning("warning %d", i)
    return i


@pytest.mark.parametrize(
    ("level", "names"), [(logging.DEBUG, 3), (logging.INFO, 2), (logging.WARNING, 1), (logging.ERROR, 0)]
)
def test_log_records_reach_the_callers_handlers(get: Get, level: int, names: int) -> None:
    dsk = {("x", i): (log, i) for i in range(5)}
    with handler_of("taskloom-test", level) as handler:
        get(dsk, list(dsk))
    expected = [f"{name} {i}" for name in ("debug", "info", "warning")[3 - names :] for i in range(5)]
    assert sorted(record.getMessage() for record in handler.records) == sorted(expected)
    assert {record.name for record in handler.records} <= {"taskloom-test.part"}
    assert [record.task for record in handler.records if record.levelno == logging.INFO] == [  # type: ignore[attr-defined]
        record.args[0]  # type: ignore[index]
        for record in handler.records
        if record.levelno == logging.INFO
    ]


def test_a_level_that_changes_between_runs(get: Get) -> None:
    for level, count in ((logging.WARNING, 1), (logging.DEBUG, 3), (logging.ERROR, 0)):
        with handler_of("taskloom-test", level) as handler:
            get({"a": (log, 1)}, "a")
        assert len(handler.records) == count


def test_a_record_that_cannot_be_pickled_comes_as_text(get: Get) -> None:
    def task() -> None:
        try:
            raise ValueError("inner")
        except ValueError:
            logging.getLogger("taskloom-test").exception("with %s", threading.Lock(), extra={"lock": threading.Lock()})

    with handler_of("taskloom-test") as handler:
        get({"a": (task,)}, "a")
    (record,) = handler.records
    text = logging.Formatter().format(record)
    assert "with <unlocked _thread.lock" in text
    assert "ValueError: inner" in text
    assert record.lock.startswith("<unlocked _thread.lock")  # type: ignore[attr-defined]


def test_without_handlers_a_warning_is_shown_once() -> None:
    program = """
import logging, sys, taskloom
sys.stderr = sys.stdout
def task(i):
    logging.warning("careful %d", i)
taskloom.multiprocessing.get({"a": (task, 1)}, "a", num_workers=1)
"""
    assert check_child(program) == "careful 1\n"


def test_a_script_warns_once_for_each_line() -> None:
    """By Python's own filters: a DeprecationWarning is shown if it is the script's own."""
    program = """
import sys, warnings, taskloom
warnings.resetwarnings()
for action, category, module in (("ignore", DeprecationWarning, ""), ("default", DeprecationWarning, "__main__")):
    warnings.filterwarnings(action, "", category, module)
shown = []
warnings.showwarning = lambda message, *_: shown.append(str(message))
def task(i):
    warnings.warn("old", DeprecationWarning)
taskloom.multiprocessing.get({("x", i): (task, i) for i in range(9)}, ("x", 3), num_workers=2)
taskloom.multiprocessing.get({("x", i): (task, i) for i in range(9)}, [("x", i) for i in range(9)], num_workers=2)
print(shown)
"""
    assert check_child(program) == "['old']\n"

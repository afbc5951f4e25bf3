"""The names people see for keys and functions."""

from functools import partial, wraps
from operator import methodcaller
from typing import Any
from unittest.mock import Mock

import pytest

from taskloom.graph import apply, compile_plan, function_name, is_task, task_name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("x", "x"),
        ("x-1", "x"),
        ("x-1-2-3", "x"),
        ("load-2", "load"),
        ("hello-world-1", "hello-world"),
        ("read-csv-8a0f31c2d4e5b697", "read-csv"),
        ("add-3f2e0000aaaabbbbccccddddeeeeffff", "add"),
        (("add-3f2e0000aaaabbbbccccddddeeeeffff", 0), "add"),
        (("x-2", 1), "x"),
        (("sum-8a0f31c2d4e5b697", 0, 3), "sum"),
        ((("x", 1), 2), "x"),
        ("finish-line", "finish-line"),
        ("under_score-7", "under_score"),
        ("made-defaced", "made-defaced"),  # letters alone are a word, not a token
        (b"hello-world-1", "hello-world"),
        (b"\xff-1", "\ufffd"),
        (7, "int"),
        (1.5, "float"),
        (None, "NoneType"),
        ((), "tuple"),
        ((3, "x"), "int"),
        ("größe-3", "größe"),
    ],
)
def test_task_name(key: Any, name: str) -> None:
    assert task_name(key) == name


def test_task_name_of_a_huge_key_is_short() -> None:
    assert len(task_name("x" * 1_000_000)) <= 1000


def wrapped() -> Any:
    def inner(x: int) -> int:
        return x

    @wraps(inner)
    def outer(x: int) -> int:
        return inner(x)

    return outer


class Adder:
    def __call__(self, x: int) -> int:
        return x + 1


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (len, "len"),
        (int, "int"),
        (lambda: None, "<lambda>"),
        (partial(int, base=2), "int"),
        (partial(partial(max, 1), 2), "max"),
        (wrapped(), "inner"),
        (Adder(), "Adder"),
        (Adder, "Adder"),
        ([].append, "append"),
        (methodcaller("upper"), "methodcaller"),
        (Mock(), "Mock"),  # whose `func` is a mock, whose `func` is a mock ...
    ],
)
def test_function_name(function: Any, name: str) -> None:
    assert function_name(function) == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ((len, (str, "x")), "len"),
        ((apply, (partial(int), "1"), []), "apply"),
        ((apply, int, ["11"], (dict, [["base", 2]])), "int"),
        ([(len, "x")], "list"),
        ("other", "identity"),
    ],
)
def test_a_nested_task_is_named_by_its_outermost_function(value: Any, name: str) -> None:
    plan = compile_plan({"key": value, "other": (str, 1)}, "key")
    assert function_name(plan.functions[-1]) == name


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ((len,), True),
        ((len, "x"), True),
        ((), False),
        (("x", 0), False),
        ([len, "x"], False),
        (len, False),
        ("x", False),
    ],
)
def test_is_task(value: Any, answer: bool) -> None:
    assert is_task(value) is answer

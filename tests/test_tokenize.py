from __future__ import annotations

import functools
import operator
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from taskloom.tokenize import tokenize

SAME = 5


def recursive(x, known={"a", "b", "c"}):  # noqa: B006
    return x in {"p", "q", "r"} or recursive(x - SAME, known)


@dataclass
class Record:
    number: int
    tags: set = field(default_factory=set)


class Own:
    def __init__(self, token):
        self.token, self.lock = token, threading.Lock()

    def __dask_tokenize__(self):
        return self.token


def frame():
    return pd.DataFrame({"n": [1, 2], "text": ["x", None], "when": pd.date_range("2020", periods=2)})


EQUAL = {
    "numbers": lambda: (1, 2.5, 1j, True, None, 10**50, ...),
    "text": lambda: ["".join(["a", "b"]), "ab", b"ab"],
    "sets": lambda: {"x": {"a", "b", "c"}, "y": frozenset({("d", 1), ("e", 2)})},
    "function": lambda: recursive,
    "lambda": lambda: lambda x: x in {"a", "b", "c"},
    "partial": lambda: functools.partial(recursive, known={"u", "v", "w"}),
    "builtin": lambda: [len, operator.add, "".join, int, operator.itemgetter(1)],
    "instance": lambda: Record(1, {"a", "b", "c"}),
    "method": lambda: Record(1).__eq__,
    "own": lambda: Own("same"),
    "module": lambda: os,
    "array": lambda: np.arange(10)[::2],
    "objects": lambda: np.array(["a", {"x", "y", "z"}], dtype=object),
    "dates": lambda: np.array(["2020-01-01"], "M8[D]"),
    "empty": lambda: np.zeros((0, 3)),
    "scalar": lambda: np.float64(2),
    "frame": frame,
    "column": lambda: frame()["text"],
    "index": lambda: frame().set_index("text"),
    "categories": lambda: pd.Categorical(["a", "b", "a"]),
    "slice": lambda: (slice(1, 2), range(3)),
}


@pytest.mark.parametrize("make", EQUAL.values(), ids=EQUAL)
def test_equal_values_have_equal_tokens(make):
    assert tokenize(make()) == tokenize(make())


def test_different_values_have_different_tokens():
    values = [make() for make in EQUAL.values()]
    values += [1, 1.0, True, "1", b"1", 0.0, -0.0, [1], (1,), {1}, {1: 1}, [[1]], [1, [1]], Record(2), Own("other")]
    values += [
        lambda x: x,
        lambda x: x + 1,
        lambda y=1: y,
        lambda y=2: y,
        np.zeros(3),
        np.zeros((3, 1)),
        np.zeros(3, int),
    ]
    values += [frame().assign(n=[1, 3]), frame().rename(columns={"n": "m"}), (x for x in ()), threading.Lock()]
    tokens = [tokenize(value) for value in values]
    assert len(set(tokens)) == len(tokens)
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)


def test_tokens_are_the_same_in_every_process():
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_tokenize as t\n"
        "print([t.tokenize(make()) for make in t.EQUAL.values()])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(seen) == 1


def test_functions_of_a_notebook_count_by_what_they_do():
    def cell(source):
        namespace = {"__name__": "__main__"}
        exec(compile(source, "cell", "exec"), namespace)
        return tokenize(namespace["f"])

    one = cell("def f(x):\n    return g(x)\ndef g(x):\n    return 1")
    assert one == cell("# moved down\n\ndef g(x):\n    return 1\ndef f(x):\n    return g(x)")
    assert one != cell("def f(x):\n    return g(x)\ndef g(x):\n    return 2")
    assert one != cell("def f(x):\n    return 1")


def test_classes_of_a_notebook_count_by_what_they_do():
    def make(result):
        class Local:
            __slots__ = ("a",)

            def method(self):
                return Local, result

            @property
            def value(self):
                return result

            @staticmethod
            def other():
                return result

        return Local

    assert tokenize(make(1)) == tokenize(make(1))
    assert tokenize(make(1)) != tokenize(make(2))


def test_order_counts_where_it_means_something():
    assert tokenize({"a": 1, "b": 2}) == tokenize({"b": 2, "a": 1})
    assert tokenize(1, 2) != tokenize(2, 1)
    assert tokenize(a=1, b=2) == tokenize(b=2, a=1)


def test_layout_in_memory_does_not_count():
    array = np.arange(12).reshape(3, 4)
    assert tokenize(array.T.copy().T) == tokenize(array)
    assert tokenize(array[:, ::2]) == tokenize(array[:, ::2].copy())
    data = frame()
    assert tokenize(data) == tokenize(data.copy())


@pytest.mark.parametrize("make", [threading.Lock, lambda: (x for x in ()), lambda: [threading.Lock()]])
def test_what_cannot_be_told_gets_a_new_token_each_time(make):
    value = make()
    assert tokenize(value) != tokenize(value)


def test_values_that_contain_themselves_get_a_new_token_each_time():
    itself = []
    itself.append(itself)
    assert tokenize(itself) != tokenize(itself)
    mapping = {}
    mapping["self"] = mapping
    assert tokenize(mapping) != tokenize(mapping)

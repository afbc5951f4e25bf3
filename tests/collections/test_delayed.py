from __future__ import annotations

import copy
import gc
import operator
import pickle
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass

import cloudpickle
import numpy as np
import pandas as pd
import pytest

import taskloom
from taskloom import delayed
from taskloom.collections.delayed import Delayed

Pair = namedtuple("Pair", "left right")


@dataclass
class Box:
    content: object
    label: str = "box"


def inc(x):
    return x + 1


def compute(value):
    return value.compute(scheduler="sync")


# -- calls -----------------------------------------------------------------------------------------------------------


def test_call_and_decorator():
    @delayed
    def double(x):
        """Twice as much."""
        return 2 * x

    @delayed(pure=True)
    def triple(x):
        return 3 * x

    assert compute(triple(double(delayed(inc)(1)))) == 12
    assert double.__name__ == "double"
    assert double.__doc__ == "Twice as much."
    assert double.__wrapped__(2) == 4


def test_keyword_arguments():
    def function(*args, **kwargs):
        return args, kwargs

    a = delayed(inc)(1)
    assert compute(delayed(function)(1, a, x=a, y=3, z=[a])) == ((1, 2), {"x": 2, "y": 3, "z": [2]})
    assert compute(delayed(function)(a, y=3)) == ((2,), {"y": 3})
    assert compute(delayed(function)(y=3)) == ((), {"y": 3})
    assert compute(delayed(function)()) == ((), {})


def test_nested_arguments():
    a, b = delayed(inc)(1), delayed(inc)(2)
    nested = [a, (b, [a, 5]), {"k": a, b: {a}}, Pair(a, 1), Box(b), slice(a, None, b), frozenset([a])]
    answer = compute(delayed(lambda *args: args)(nested, *nested))
    assert list(answer[1:]) == answer[0]
    assert answer[0] == [2, (3, [2, 5]), {"k": 2, 3: {2}}, Pair(2, 1), Box(3), slice(2, None, 3), frozenset([2])]


def test_a_container_is_one_value():
    a = delayed(inc)(1)
    assert compute(delayed([a, {"k": a}])) == [2, {"k": 2}]
    assert compute(delayed(Box(a))).content == 2
    assert compute(delayed({a: a})[2]) == 2


def test_traverse_false_leaves_containers_alone():
    a = delayed(inc)(1)
    assert compute(delayed([a], traverse=False))[0] is a


def test_iterators_over_lists_are_lists():
    a = delayed(inc)(1)
    assert compute(delayed(list)(iter([a, 5]))) == [2, 5]


def test_plain_containers_are_passed_as_they_are():
    data = [[1, 2], {"a": (3,)}]
    assert compute(delayed(lambda x: x)(data)) is data


def test_a_delayed_value_can_be_called():
    function = delayed(lambda n: lambda x, *, plus: x * n + plus)(3)
    assert compute(function(5, plus=delayed(inc)(0))) == 16


def test_what_cannot_be_called_says_so_at_once():
    with pytest.raises(TypeError, match="'int', which cannot be called"):
        delayed(5)(1)


def test_delayed_methods_of_a_class():
    class Account:
        balance = 5

        @delayed
        def plus(self, x):
            return self.balance + x

    assert compute(Account().plus(2)) == 7


# -- keys ------------------------------------------------------------------------------------------------------------


def test_impure_calls_have_keys_of_their_own():
    assert delayed(inc)(1).key != delayed(inc)(1).key
    assert delayed(inc, pure=True)(1, pure=False).key != delayed(inc, pure=True)(1, pure=False).key


def test_pure_calls_share_keys():
    pure = delayed(inc, pure=True)
    assert pure(1).key == delayed(inc, pure=True)(1).key == delayed(inc)(1, pure=True).key
    assert pure(1).key != pure(2).key
    assert pure(1).key != delayed(operator.neg, pure=True)(1).key
    assert pure(pure(1)).key == pure(pure(1)).key
    assert delayed(dict, pure=True)(a=1, b=2).key == delayed(dict, pure=True)(b=2, a=1).key
    assert delayed([1, 2], pure=True).key == delayed([1, 2], pure=True).key


def test_pure_calls_run_once():
    runs = []
    note = delayed(lambda x: runs.append(x), pure=True)
    taskloom.compute(note(1), [note(1)], note(2), scheduler="sync")
    assert sorted(runs) == [1, 2]


def test_pure_keys_are_the_same_in_every_process():
    code = (
        "from taskloom import delayed\n"
        "f = delayed(sorted, pure=True)\n"
        "print(f({'a', 'b', 'c'}, key=lambda x: x in {'p', 'q'}).key, (delayed({'x', 'y'}, pure=True) | 1).key)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in "123"
    }
    assert len(seen) == 1


def test_chosen_keys():
    value = delayed(inc)(1, dask_key_name="chosen")
    assert value.key == "chosen"
    assert repr(value) == "Delayed('chosen')"
    assert len(repr(delayed("x" * 1_000_000, name="x" * 1_000_000))) < 300
    assert delayed(5, name="five").key == "five"
    assert value.bit_length(dask_key_name=("m", 0)).key == ("m", 0)
    assert compute(value.bit_length(dask_key_name=("m", 0))) == 2


def test_keys_begin_with_the_name_of_what_they_do():
    a = delayed(inc)(1)
    assert a.key.startswith("inc-")
    assert (a + 1).key.startswith("add-")
    assert (a & 1).key.startswith("and-")
    assert a.real.key.startswith("getattr-")
    assert a.bit_length().key.startswith("bit_length-")
    assert delayed([1]).key.startswith("list-")


def test_operators_and_attributes_are_pure_and_methods_are_not():
    a = delayed(inc)(1)
    assert (a + 1).key == (a + 1).key
    assert (a + 1).key != (1 + a).key
    assert a.real.key == a.real.key
    assert a.bit_length().key != a.bit_length().key
    assert a.bit_length(pure=True).key == a.bit_length(pure=True).key


# -- operators, attributes, methods ----------------------------------------------------------------------------------

BINARY = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow),
    *(operator.lshift, operator.rshift, operator.and_, operator.or_, operator.xor, divmod),
    *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge),
]


@pytest.mark.parametrize("function", BINARY)
def test_binary_operators(function):
    seven, two = delayed(7), delayed(inc)(1)
    expected = function(7, 2)
    for result in (function(seven, two), function(seven, 2), function(7, two)):
        assert isinstance(result, Delayed)
        assert compute(result) == expected


@pytest.mark.parametrize("function", [operator.neg, operator.pos, operator.invert, abs])
def test_unary_operators(function):
    assert compute(function(delayed(-7))) == function(-7)


def test_matrix_product_and_arrays_on_the_left():
    m = np.arange(4).reshape(2, 2)
    lazy = delayed(m)
    for product in (lazy @ m, m @ lazy):
        assert (compute(product) == m @ m).all()
    for product in (m * delayed(2), pd.Series([1, 2]) * delayed(2)):
        assert isinstance(product, Delayed)
        assert list(np.ravel(compute(product)))[:2] in ([0, 2], [2, 4])


def test_items_attributes_and_methods():
    text = delayed("some words")
    assert compute(text[1:4]) == "ome"
    assert compute(delayed({"k": 5})["k"]) == 5
    assert compute(text.upper().split(" ", maxsplit=delayed(inc)(0))) == ["SOME", "WORDS"]
    assert compute(delayed(2 + 3j).imag) == 3
    assert compute(delayed([1, 2])[delayed(inc)(0)]) == 2


def test_a_missing_attribute_fails_when_it_is_computed():
    missing = delayed(5).no_such_method(1)
    with pytest.raises(AttributeError, match="no_such_method"):
        compute(missing)
    with pytest.raises(AttributeError, match="_private"):
        delayed(5)._private  # noqa: B018
    with pytest.raises(AttributeError):
        delayed(5).dtype.dtype  # noqa: B018


def test_unpacking():
    quotient, rest = delayed(divmod, nout=2)(17, 5)
    assert taskloom.compute(quotient, rest) == (3, 2)
    assert len(delayed(divmod, nout=2)(17, 5)) == 2
    assert list(delayed(tuple, nout=0)()) == []
    with pytest.raises(TypeError, match="nout=2"):
        iter(delayed(inc)(1))
    with pytest.raises(TypeError, match=r"delayed\(len\)"):
        len(delayed(inc)(1))
    for bad in (-1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="nout"):
            delayed(inc, nout=bad)


def test_what_a_delayed_value_refuses():
    value = delayed(inc)(1)
    with pytest.raises(TypeError, match=r"neither true nor false.*\.compute\(\)"):
        bool(value)
    with pytest.raises(TypeError, match="cannot be changed"):
        value.attribute = 5
    with pytest.raises(TypeError, match="cannot be changed"):
        value[0] = 5


def test_hash_and_equality():
    value = delayed(inc)(1)
    assert hash(value) == hash(value.key)
    assert len({value, value}) == 1
    assert isinstance(value == value, Delayed)


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_pickling(dumps):
    leaf = delayed(inc, name="leaf", pure=True, nout=2)
    value = delayed(divmod, nout=2)(17, delayed(inc)(4))
    for original in (value, value[0] + 1, value.real, delayed([1, 2])):
        copied = pickle.loads(dumps(original))
        assert copied.key == original.key
        assert repr(copied) == repr(original)
    assert compute(pickle.loads(dumps(value[0] + 1))) == 4
    assert len(pickle.loads(dumps(value))) == 2
    assert pickle.loads(dumps(leaf))(1).key == leaf(1).key
    assert compute(copy.copy(value)) == (3, 2)


# -- constants that look like keys or tasks --------------------------------------------------------------------------

HOSTILE = ["x", b"x", 1, 1.0, True, ("x", 0), ("x",), ["x", ["x"]], (len, "x"), {"x": "x"}, {"x"}, np.str_("x"), None]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("key", ["x", b"x", 1, ("x", 0)])
def test_constants_are_never_taken_for_keys_or_tasks(value, key):
    other = delayed(inc)(41, dask_key_name=key)

    @delayed
    def keep(*args, **kwargs):
        return args, kwargs

    assert compute(keep(value, other, value, k=value, o=other)) == ((value, 42, value), {"k": value, "o": 42})
    assert compute(keep(other, [value, other])) == ((42, [value, 42]), {})
    assert taskloom.compute(delayed(value), other, scheduler="sync") == (value, 42)
    assert taskloom.compute(keep(value), other, scheduler="sync") == (((value,), {}), 42)


def test_the_key_of_a_value_as_an_argument_is_text():
    a = delayed(inc)(1)
    assert compute(delayed(lambda *args: args)(a, a.key)) == (2, a.key)


# -- size ------------------------------------------------------------------------------------------------------------


def test_a_sum_over_many_calls():
    n = 100_000
    total = delayed(sum)([delayed(inc)(i) for i in range(n)])
    assert len(total.dask) == n + 1
    assert compute(total) == n * (n + 1) // 2


def test_values_used_twice_are_visited_once():
    value = delayed(inc)(0)
    for _ in range(100):
        value = value + value  # 2 ** 100 ways to the first one
    assert len(value.dask) == 101
    assert compute(value) == 2**100


def test_a_task_does_not_carry_what_made_its_inputs():
    unpicklable = delayed(lambda: 1)()
    value = delayed(Box(unpicklable, label="kept"))
    function, *keys = value.dask[value.key]
    assert keys == [unpicklable.key]
    assert pickle.loads(pickle.dumps(function))(5) == Box(5, "kept")


def test_a_long_chain_neither_recurses_nor_crashes_when_it_is_dropped():
    value = delayed(inc)(0)
    for _ in range(100_000):
        value = delayed(inc)(value)
    assert compute(value) == 100_001
    assert compute(pickle.loads(pickle.dumps(value))) == 100_001
    del value
    gc.collect()


def test_many_values_over_one_shared_chain_give_one_graph():
    shared = delayed(inc)(0)
    for _ in range(1_000):
        shared = shared + 1
    values = [shared + i for i in range(1_000)]
    assert len(taskloom.optimize(*values)[0].dask) == 2_001
    assert taskloom.compute(*values, scheduler="sync") == tuple(range(1_001, 2_001))


# -- other collections -----------------------------------------------------------------------------------------------


def test_a_collection_of_another_kind_as_an_argument():
    class Numbers:
        def __dask_graph__(self):
            return {("n", 0): (inc, 0), ("n", 1): (inc, 1)}

        def __dask_keys__(self):
            return [("n", 0), ("n", 1)]

        def __dask_postcompute__(self):
            return (lambda results, extra: [*results, extra]), ("extra",)

        def __dask_postpersist__(self):
            raise NotImplementedError

    assert compute(delayed(len)(Numbers())) == 3
    assert compute(delayed(Numbers())) == [1, 2, "extra"]


def test_a_graph_of_ones_own():
    assert compute(Delayed("b", {"a": 1, "b": (inc, "a")}) + 1) == 3
    with pytest.raises(ValueError, match="'c' is not in the graph"):
        Delayed("c", {"a": 1})

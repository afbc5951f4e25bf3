"""Annotations change no result on any engine."""

from operator import add

import taskloom

from .conftest import Engine


def test_annotated_tasks_run_as_others_do(engine: Engine) -> None:
    with taskloom.annotate(priority=3, retries=1):
        values = [taskloom.delayed(add)(i, 1) for i in range(5)]
        total = taskloom.delayed(sum)(values)
    assert total.compute(scheduler=engine.get) == 15
    with taskloom.annotate(priority=1):
        assert total.compute(scheduler=engine.get) == 15

"""A cell's code for magics that run it themselves: compiled as the shell does it, top-level ``await`` included."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from inspect import CO_COROUTINE
from threading import Event, Thread
from types import CodeType
from typing import Any


def compile_cell(shell: Any, source: str, filename: str) -> CodeType:
    """Compile a cell, magics in it included."""
    tree = shell.transform_ast(shell.compile.ast_parse(shell.transform_cell(source)))
    flags = shell.compile.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(tree, filename, "exec", flags)
    return code


def run_code(code: CodeType, namespace: dict[str, Any], on_interrupt: Callable[[], None]) -> None:
    """Run what `compile_cell` made.

    An interrupt calls `on_interrupt`, which is to stop what the code waits for in another thread, if it does.
    """
    result = eval(code, namespace)
    if code.co_flags & CO_COROUTINE:
        _run_coroutine(result, on_interrupt)


def _run_coroutine(coroutine: Coroutine[Any, Any, None], on_interrupt: Callable[[], None]) -> None:
    """Run it to its end in a thread of its own: in this one the kernel's event loop is running, and cannot go on."""
    begun: Future[Callable[[], object]] = Future()
    over: Future[None] = Future()
    stopped = Event()  # an interrupt may come at any time, also before the coroutine has begun

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        begun.set_result(partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel))
        if stopped.is_set():
            coroutine.close()
        else:
            await coroutine

    def run() -> None:
        try:
            over.set_result(asyncio.run(main()))
        except BaseException as error:
            over.set_exception(error)

    thread = Thread(target=copy_context().run, args=(run,), name="taskloom-await", daemon=True)
    try:
        thread.start()
        over.result()
    except KeyboardInterrupt:
        if not over.done():  # it was this thread that was interrupted
            stopped.set()
            if begun.done():
                begun.result()()
            on_interrupt()
        raise
    finally:
        if thread.is_alive():
            thread.join()

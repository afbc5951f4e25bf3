"""``%load_ext taskloom`` has Dask run on taskloom, once somebody imports it; and a program without Dask."""

import subprocess
import sys

import pytest

PROLOGUE = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
shell.history_manager.enabled = False
def engine():
    import taskloom
    return taskloom.last_run() and taskloom.last_run().engine
"""

LOADED = """
shell.run_line_magic("load_ext", "taskloom")
assert "dask" not in sys.modules
shell.run_cell("import dask.array as da; value = da.ones(4, chunks=2).sum().compute()")
assert shell.user_ns["value"] == 4 and engine() == "threads", engine()
shell.run_line_magic("scheduler", "sync")
shell.run_cell("da.ones(4, chunks=2).sum().compute()")
assert engine() == "sync", engine()
shell.run_line_magic("unload_ext", "taskloom")
import taskloom, dask
before = taskloom.last_run()
shell.run_cell("da.ones(4, chunks=2).sum().compute(scheduler='sync')")
assert taskloom.last_run() is before
assert da_module(shell).Array.__dask_scheduler__.__module__.startswith("dask")
""".replace("da_module(shell)", 'shell.user_ns["da"]')

SWITCHED_OFF = """
import taskloom
taskloom.config.set({"notebook.dask": False})
shell.run_line_magic("load_ext", "taskloom")
shell.run_cell("import dask; dask.delayed(abs)(1).compute(scheduler='sync')")
assert engine() is None
"""

UNLOADED_BEFORE = """
shell.run_line_magic("load_ext", "taskloom")
shell.run_line_magic("unload_ext", "taskloom")
shell.run_cell("import dask; dask.delayed(abs)(1).compute(scheduler='sync')")
assert engine() is None
assert not [finder for finder in sys.meta_path if "taskloom" in type(finder).__module__]
"""

IMPORTED_BEFORE = """
import dask
shell.run_line_magic("load_ext", "taskloom")
dask.delayed(abs)(1).compute()
assert engine() == "threads"
"""

DISTRIBUTED_FIRST = """
shell.run_line_magic("load_ext", "taskloom")
import importlib.util
for name in ("dask", "distributed"):
    assert importlib.util.find_spec(name)  # as xarray does, to see what is installed
result = shell.run_cell("import distributed")  # which imports Dask before it has a client to follow
assert result.error_in_exec is None, result.error_in_exec
import dask, distributed
dask.delayed(abs)(1).compute()
assert engine() == "threads"
init = distributed.Client.__init__
assert init.__module__ != "distributed.client" or init.__wrapped__
shell.run_line_magic("unload_ext", "taskloom")
assert not hasattr(distributed.Client.__init__, "__wrapped__")
"""

CLIENT_ELSEWHERE = """
import taskloom
taskloom.enable_dask()
from taskloom.distributed import Client
try:
    Client("tcp://127.0.0.1:1", timeout=0.1)  # which imports the library
except OSError:
    pass
else:
    raise AssertionError("connected")
import distributed
assert distributed.Client.__init__.__wrapped__
"""

FAILURE = """
shell.run_line_magic("load_ext", "taskloom")
shell.run_cell('''
import dask.array as da
def bad(block, block_info=None):
    if block_info and block_info[0]["chunk-location"] == (1,):
        raise ZeroDivisionError("chunk 1")
    return block
x = da.ones(6, chunks=2).map_blocks(bad, dtype=float, meta=da.ones(1)._meta)
''')
for scheduler in ("threads", "processes"):
    result = shell.run_cell(f"x.sum().compute(scheduler={scheduler!r}, num_workers=1)")
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    try:
        taskloom_run().failure.replay()
    except ZeroDivisionError as error:
        last = error.__traceback__
        while last.tb_next:
            last = last.tb_next
        assert last.tb_frame.f_code.co_name == "bad", last
        assert (last.tb_frame.f_locals["block"] == 1).all()
    else:
        raise AssertionError("it runs without an error")
from taskloom.engines.worker.pool import pool
pool.close()
""".replace("taskloom_run()", '__import__("taskloom").last_run()')

FAILS_HALFWAY = """
import dask, taskloom
from taskloom.adapters.dask import plugging
def places():
    return [getattr(holder, name, None) for holder, name in plugging._loaded_places()], dask.base.get_scheduler
before, start = places(), plugging.start_drawing
del plugging.start_drawing
try:
    taskloom.enable_dask()
except taskloom.ConfigError as error:
    assert f"dask {dask.__version__} cannot be used" in str(error)
else:
    raise AssertionError("enabled")
assert places() == before
plugging.start_drawing = start
taskloom.enable_dask()
assert places() != before
"""

WITHOUT_DASK = """
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dask", "distributed", "xarray"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
shell.run_line_magic("load_ext", "taskloom")
import taskloom
assert taskloom.delayed(abs)(-1).compute() == 1
assert taskloom.compute([taskloom.delayed(abs)(-1), 5]) == ([1, 5],)
try:
    taskloom.enable_dask()
except ImportError as error:
    assert "pip install 'taskloom[dask]'" in str(error)
else:
    raise AssertionError("enabled")
taskloom.disable_dask()
shell.run_line_magic("unload_ext", "taskloom")
"""


PROGRAMS = {
    "loaded": LOADED,
    "switched off": SWITCHED_OFF,
    "unloaded before": UNLOADED_BEFORE,
    "imported before": IMPORTED_BEFORE,
    "distributed first": DISTRIBUTED_FIRST,
    "client elsewhere": CLIENT_ELSEWHERE,
    "failure": FAILURE,
    "fails halfway": FAILS_HALFWAY,
    "without dask": WITHOUT_DASK,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_extension(program: str) -> None:
    command = [sys.executable, "-c", PROLOGUE + PROGRAMS[program]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


_AT_ONCE = """
import sys, threading
import dask, distributed, taskloom
from taskloom.views.graph_sources import graph_sources

def state():
    return dask.base.get_scheduler, distributed.Client.__init__, list(graph_sources), list(sys.meta_path)

def switch():
    start.wait()
    for _ in range(1000):
        taskloom.enable_dask()
        taskloom.disable_dask()

taskloom.enable_dask()  # which loads what it needs
taskloom.disable_dask()
before = state()
sys.setswitchinterval(1e-6)
start = threading.Barrier(4)
threads = [threading.Thread(target=switch) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert state() == before
"""


def test_threads_may_enable_and_disable_at_once() -> None:
    ended = subprocess.run([sys.executable, "-c", _AT_ONCE], capture_output=True, text=True, check=True, timeout=120)
    assert not ended.stderr

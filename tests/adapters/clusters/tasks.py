"""What tests have workers do that have no taskloom: a worker imports the module of a function to unpickle it."""

import os
from pathlib import Path
from typing import Any

import distributed

from tests.adapters.clusters.processes import wait_for


def bytes_received(dask_worker: Any) -> int:
    return sum(transfer["total"] for transfer in dask_worker.transfer_incoming_log)


def when_all_may(block: Any, place: Path) -> Any:
    """Say that this worker has begun, and wait until all may go on."""
    (place / str(distributed.get_worker().name)).touch()
    wait_for((place / "go").exists, lambda: "nobody said go")
    return block


def slurm_job() -> str | None:
    return os.environ.get("SLURM_JOB_NAME")


def imports_taskloom() -> bool:
    try:
        import taskloom  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True

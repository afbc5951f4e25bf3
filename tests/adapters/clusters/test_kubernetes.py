"""What KubeCluster sends to Kubernetes, carried out without it: each pod is a host with the one container it is to run.

What Kubernetes would do (names to addresses, variables in arguments) is done here in its place. The images
have dask only.
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array
import numpy
import psutil
import pytest
from distributed import Client
from distributed.core import rpc
from distributed.deploy import Cluster

import taskloom
import taskloom.distributed
from tests.adapters.clusters import manifests
from tests.adapters.clusters.processes import ONLY_DASK, PATIENCE, Host, kill, start

MANIFESTS = json.loads(manifests.FILE.read_text())


class KubeCluster(Cluster):
    """What is left of dask-kubernetes's where all pods run: it knows the address of the scheduler."""

    def __init__(self, address: str):
        super().__init__(name=manifests.CLUSTER)
        self._address = address
        self._loop_runner.start()
        self.sync(self._start)

    async def _start(self) -> None:
        self.scheduler_comm = rpc(self._address)
        await super()._start()


@pytest.fixture
def cluster(three_hosts: list[Host], tmp_path: Path) -> Iterator[KubeCluster]:
    """The scheduler's pod and the pods of two workers."""
    with contextlib.ExitStack() as pods:
        for host, deployment in zip(three_hosts, [MANIFESTS["scheduler"], *MANIFESTS["workers"]], strict=True):
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            command, environment = _command(container, {_service(): three_hosts[0].address})
            log = tmp_path / f"{deployment['metadata']['name']}.log"
            pods.callback(kill, start(host, command, log, environment))
        with KubeCluster(f"tcp://{three_hosts[0].address}:{_port()}") as cluster:
            yield cluster


def test_the_service_leads_to_the_port_of_the_scheduler() -> None:
    labels = MANIFESTS["scheduler"]["spec"]["template"]["metadata"]["labels"]
    (container,) = MANIFESTS["scheduler"]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert labels.items() >= MANIFESTS["service"]["spec"]["selector"].items()
    for port in MANIFESTS["service"]["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    for worker in MANIFESTS["workers"]:
        (container,) = worker["spec"]["template"]["spec"]["containers"]
        assert _environment(container)["DASK_SCHEDULER_ADDRESS"] == f"tcp://{_service()}:{_port()}"


def test_collections_are_computed_through_the_address_of_the_scheduler_alone(cluster: KubeCluster) -> None:
    numbers = numpy.arange(10_000.0).reshape(100, 100)
    array = dask.array.from_array(numbers, chunks=(20, 20))
    with Client(cluster, timeout=PATIENCE) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        names = {worker["name"] for worker in client.scheduler_info()["workers"].values()}
        numpy.testing.assert_allclose((array @ array.T).sum(axis=0).compute(), (numbers @ numbers.T).sum(axis=0))
        assert _peers() == {cluster.scheduler_address.removeprefix("tcp://")}  # a forwarded port leads no further
    assert names == {worker["metadata"]["name"] for worker in MANIFESTS["workers"]}


def test_runs_are_recorded_through_the_address_of_the_scheduler_alone(cluster: KubeCluster) -> None:
    with taskloom.distributed.Client(cluster, timeout=PATIENCE) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        assert dask.array.arange(100, chunks=10).sum().compute() == 4950
        run = taskloom.last_run()
        assert _peers() == {cluster.scheduler_address.removeprefix("tcp://")}
    assert run
    assert run.n_done == run.n_tasks == len(run.graph.keys) > 10
    assert {worker.name for worker in run.workers} <= {worker["metadata"]["name"] for worker in MANIFESTS["workers"]}


def _command(container: dict[str, Any], addresses: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command of a container and its environment, on a machine that has no names for addresses."""
    environment = _environment(container)
    program, *arguments = (
        re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], argument) for argument in container["args"]
    )
    for name, address in addresses.items():
        environment = {variable: value.replace(name, address) for variable, value in environment.items()}
    subcommand = program.removeprefix("dask-")  # newest releases of dask have no `dask-worker`, only `dask worker`
    command = [sys.executable, "-m", "dask", subcommand, *arguments]
    return command, os.environ | environment | {"PYTHONPATH": ONLY_DASK}


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def _service() -> str:
    return f"{MANIFESTS['service']['metadata']['name']}.{manifests.NAMESPACE}.svc.cluster.local"


def _port() -> int:
    (port,) = (port["port"] for port in MANIFESTS["service"]["spec"]["ports"] if port["name"] == "tcp-comm")
    return int(port)


def _peers() -> set[str]:
    """The addresses, other than of loopback, to which this process has connections."""
    connections = psutil.Process().net_connections(kind="tcp")
    peers = {connection.raddr for connection in connections if connection.raddr}
    return {f"{peer.ip}:{peer.port}" for peer in peers if not peer.ip.startswith("127.")}

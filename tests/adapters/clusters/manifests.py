"""What dask-kubernetes would send to Kubernetes for a cluster, as stored in manifests.json.

    python tests/adapters/clusters/manifests.py     # makes it anew, where dask-kubernetes is installed

It is stored, not made by the tests: dask-kubernetes brings thirty packages and pins some, and there being no
Kubernetes, no test could do more with it than this.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("manifests.json")

CLUSTER = "loom"
NAMESPACE = "default"


def make() -> dict[str, Any]:
    """Make the manifests as KubeCluster(n_workers=2) and, from what that sends, the operator do."""
    from dask_kubernetes.operator import make_cluster_spec
    from dask_kubernetes.operator.controller import controller

    cluster = make_cluster_spec(name=CLUSTER, n_workers=2)
    scheduler, worker = cluster["spec"]["scheduler"], cluster["spec"]["worker"]
    for part in (scheduler, worker):
        for container in part["spec"]["containers"]:
            container["env"] = container["env"] or []  # Kubernetes reads null as nothing
    workers = [
        controller.build_worker_deployment_spec(
            f"{CLUSTER}-default", NAMESPACE, CLUSTER, str(number), worker["spec"], annotations={}, labels={}
        )
        for number in range(worker["replicas"])
    ]
    return {
        "made_by": f"dask-kubernetes {version('dask-kubernetes')}",
        "cluster": cluster,
        "scheduler": controller.build_scheduler_deployment_spec(CLUSTER, scheduler["spec"], annotations={}, labels={}),
        "service": controller.build_scheduler_service_spec(CLUSTER, scheduler["service"], annotations={}, labels={}),
        "workers": workers,
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1) + "\n")

"""A real SLURM of one node on loopback, for as long as a ``with`` block or a command lasts.

    python -m tests.adapters.clusters.slurm squeue     # any command, and what it starts, finds this SLURM

Its three daemons (munged, slurmctld, slurmd) belong to the user who starts them and run in the foreground as children
of this process, with which they end; all their files are in a temporary directory. Nothing in /etc is written, no
systemd, cgroups or database is wanted: a container has what is needed once Debian's packages slurmctld, slurmd,
slurm-client and munge are installed (``make slurm`` does that).
"""

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.adapters.clusters.processes import LOOPBACK, PATIENCE, wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue", "sinfo")
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # users have no daemons in theirs

SETTINGS = """\
ClusterName=loopback
SlurmctldHost=localhost({address})
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
PlugStackConfig={folder}/plugstack.conf
# Processes are found by their parents, and nothing is confined or counted: that would take cgroups of our own.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides # the node has what the line below says, on a smaller machine, too
KillWait=2
NodeName=localhost NodeHostname={hostname} NodeAddr={address} CPUs=4 RealMemory=8192
PartitionName=all Nodes=ALL Default=YES
"""


def missing() -> str:
    """Return which of SLURM's programs are not installed, separated by commas."""
    return ", ".join(program for program in PROGRAMS if not shutil.which(program, path=PATH))


@contextlib.contextmanager
def slurm() -> Iterator[Path]:
    """Start SLURM, point the programs of this process to it, and yield the folder in which its logs are."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as name, contextlib.ExitStack() as daemons:
        folder = Path(name)
        _settle(folder)
        munged = ["munged", "--foreground", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"]
        munged += [f"--{what}-file={folder}/munged.{what}" for what in ("pid", "seed")]
        with _environment(SLURM_CONF=f"{folder}/slurm.conf", PATH=PATH, **_site(folder)):
            daemons.enter_context(_daemon(folder, *munged))
            wait_for((folder / "munge.socket").exists, lambda: _logs(folder))
            daemons.enter_context(_daemon(folder, "slurmctld", "-D"))
            daemons.enter_context(_daemon(folder, "slurmd", "-D"))
            wait_for(lambda: _said("sinfo", "--noheader", "--format=%t") == "idle", lambda: _logs(folder))
            try:
                yield folder
            finally:
                _end_jobs(folder)


def jobs() -> list[str]:
    """Return the names of the jobs that wait or run."""
    return _said("squeue", "--noheader", "--format=%j").split()


def _settle(folder: Path) -> None:
    """Write what the daemons read."""
    folder.chmod(0o711)  # munged wants its socket to be reachable for all users
    (folder / "munge.key").write_bytes(secrets.token_bytes(64))
    (folder / "munge.key").chmod(0o600)
    (folder / "plugstack.conf").touch()
    for place in ("state", "spool"):
        (folder / place).mkdir()
    controller_port, node_port = _free_ports(2)
    settings = SETTINGS.format(
        address=LOOPBACK,
        controller_port=controller_port,
        node_port=node_port,
        user=getpass.getuser(),
        folder=folder,
        hostname=socket.gethostname().partition(".")[0],
    )
    (folder / "slurm.conf").write_text(settings)


def _site(folder: Path) -> dict[str, str]:
    """What the configuration of a site tells dask-jobqueue, so that users need not."""
    places = {"LOCAL_DIRECTORY": str(folder), "LOG_DIRECTORY": str(folder)}
    return {f"DASK_JOBQUEUE__SLURM__{name}": value for name, value in ({"INTERFACE": "lo"} | places).items()}


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(number)]
        return [listener.getsockname()[1] for listener in listeners]


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _daemon(folder: Path, *command: str) -> Iterator[None]:
    with open(folder / f"{command[0]}.log", "ab") as log:
        tied = ["setpriv", "--pdeathsig", "TERM", *command]  # ends when this process is killed, too
        process = subprocess.Popen(tied, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_jobs(folder: Path) -> None:
    """End what a test left: jobs live on without their daemons."""
    if jobs():
        subprocess.run(["scancel", "--user", getpass.getuser()], check=True, timeout=PATIENCE)
    wait_for(lambda: not jobs(), lambda: _logs(folder))


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout.strip()


def _logs(folder: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(folder.glob("*.log")))


if __name__ == "__main__":
    with slurm():
        sys.exit(subprocess.run(sys.argv[1:]).returncode)

"""Hosts with addresses of their own: network namespaces on one bridge, to whose other side this process belongs.

Their names begin with a prefix of this process, by which all of them are taken away again.
"""

import contextlib
import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator

import psutil

from tests.adapters.clusters.processes import Host

PREFIX = "loom{}-"  # of namespaces and interfaces, with the number of their process; these may have 15 characters
OURS = PREFIX.format(os.getpid())
BRIDGE = f"{OURS}br"


class Impossible(Exception):
    """No hosts can be made here, for a reason that is said."""


@contextlib.contextmanager
def hosts(number: int) -> Iterator[list[Host]]:
    """Make so many hosts, which reach each other and this process, until the block ends."""
    if os.geteuid():
        raise Impossible("network namespaces want root")
    try:
        _remove_orphans()
        made = _make(number)
    except FileNotFoundError as error:
        raise Impossible(f"network namespaces want iproute2: {error}") from error
    except subprocess.CalledProcessError as error:
        _remove(OURS)
        raise Impossible(f"no network namespaces here: {error.stderr.strip()}") from error
    try:
        yield made
    finally:
        _remove(OURS)


def unplug(host: Host) -> None:
    """Cut a host off. Nobody is told: what is sent to it gets no answer."""
    _ip(f"link set {_plug(host)} down")


def plug_in(host: Host) -> None:
    """Connect a host again."""
    _ip(f"link set {_plug(host)} up")


def _plug(host: Host) -> str:
    """The end of a host's cable that is in the bridge."""
    return f"{host.entrance[-1]}p"


def _add_host(name: str, address: str) -> Host:
    host = Host(address, ("ip", "netns", "exec", name))
    _ip(f"netns add {name}")
    _ip(f"link add {_plug(host)} master {BRIDGE} type veth peer name eth0 netns {name}")
    _ip(f"-netns {name} address add {address}/24 dev eth0")
    for interface in ("lo", "eth0"):
        _ip(f"-netns {name} link set {interface} up")
    plug_in(host)
    return host


def _make(number: int) -> list[Host]:
    network = f"198.18.{random.randrange(256)}"  # of the range for tests of networks: nobody has it
    _ip(f"link add {BRIDGE} type bridge")
    _ip(f"address add {network}.254/24 dev {BRIDGE}")
    _ip(f"link set {BRIDGE} up")
    return [_add_host(f"{OURS}{nth}", f"{network}.{nth + 1}") for nth in range(number)]


def _remove_orphans() -> None:
    """Remove what processes left that were killed."""
    for name in [*_namespaces(), *_interfaces()]:
        if (its := re.match(PREFIX.format(r"(\d+)"), name)) and not psutil.pid_exists(int(its[1])):
            _remove(its[0])


def _remove(prefix: str) -> None:
    for name in _namespaces():
        if name.startswith(prefix):
            for pid in _ip(f"netns pids {name}").split():
                os.kill(int(pid), signal.SIGKILL)
            _ip(f"netns delete {name}")  # and the cable that ends in it
    for name in _interfaces():
        if name.startswith(prefix):
            subprocess.run(["ip", "link", "delete", name], capture_output=True)  # a cable may just go by itself


def _namespaces() -> list[str]:
    return [line.split()[0] for line in _ip("netns list").splitlines()]


def _interfaces() -> list[str]:
    return [line.split()[0].partition("@")[0] for line in _ip("-brief link").splitlines()]


def _ip(command: str) -> str:
    return subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True).stdout

"""Where the processes of a run are: on loopback, or as root in network namespaces with a cable to a bridge."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess

_CLONE_NEWNET, _CLONE_NEWUTS = 0x40000000, 0x04000000


class Network:
    """The addresses of the processes: loopback, or network namespaces joined by a bridge."""

    def __init__(self, count: int, apart: bool):
        self.count, self.apart = count, apart
        self._name = f"relo{os.getpid()}"
        self.hosts = [f"10.213.0.{i + 1}" for i in range(count)] if apart else ["127.0.0.1"] * count

    def __enter__(self) -> Network:
        if self.apart:
            self._ip("link", "add", self._name, "type", "bridge")
            self._ip("link", "set", self._name, "up")
            for i, address in enumerate(self.hosts):
                space, cable = f"{self._name}-{i}", f"{self._name}{i}"
                self._ip("netns", "add", space)
                self._ip("link", "add", cable, "type", "veth", "peer", "name", "relo", "netns", space)
                self._ip("link", "set", cable, "master", self._name, "up")
                self._ip("-n", space, "addr", "add", f"{address}/24", "dev", "relo")
                for device in ("lo", "relo"):
                    self._ip("-n", space, "link", "set", device, "up")
        return self

    def __exit__(self, *_) -> None:
        if self.apart:
            for i in range(self.count):
                self._ip("netns", "del", f"{self._name}-{i}", check=False)
            self._ip("link", "del", self._name, check=False)

    def _ip(self, *argv: str, check: bool = True) -> None:
        subprocess.run(["ip", *argv], check=check, capture_output=True)

    def mend(self) -> None:
        """Plugs in all cables."""
        for i in range(self.count if self.apart else 0):
            self._ip("-n", f"{self._name}-{i}", "link", "set", "relo", "up")

    def enter(self, index: int) -> None:
        """Puts this process into its namespace, with its address as its name, which JAX's collectives look up."""
        if not self.apart:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self._name}-{index}") as space:
            if libc.setns(space.fileno(), _CLONE_NEWNET) or libc.unshare(_CLONE_NEWUTS):
                raise OSError(ctypes.get_errno(), "cannot enter the namespace")
        socket.sethostname(self.hosts[index])


def can_make_namespaces() -> bool:
    """Whether this process may make network namespaces and cables."""
    if not hasattr(os, "geteuid") or os.geteuid() or shutil.which("ip") is None:
        return False
    with contextlib.suppress(subprocess.CalledProcessError), Network(1, apart=True):
        return True
    return False

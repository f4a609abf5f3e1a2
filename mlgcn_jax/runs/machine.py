"""Facts of this machine that no environment variable tells."""

import importlib.util
import pathlib
import re
import socket
import subprocess


class Machine:
    """Asks the machine it runs on."""

    def address_of(self, node: str) -> str | None:
        """Returns what reaches a node of SLURM: its name, or the address SLURM has.

        None where the name does not resolve and SLURM does not say.
        """
        try:
            socket.getaddrinfo(node, None)
            return node
        except OSError:
            pass
        try:
            shown = subprocess.run(
                ["scontrol", "show", "node", node],
                capture_output=True,
                text=True,
                timeout=30,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return None
        address = re.search(r"NodeAddr=(\S+)", shown)
        return address[1] if address else None

    def num_gpus(self) -> int:
        """Returns how many NVIDIA GPUs there are."""
        return len(list(pathlib.Path("/dev").glob("nvidia[0-9]*")))

    def has_tpus(self) -> bool:
        """Returns whether there are TPU chips, and what drives them is installed."""
        return importlib.util.find_spec("libtpu") is not None and (
            any(pathlib.Path("/dev").glob("accel[0-9]*"))
            or any(pathlib.Path("/dev/vfio").glob("[0-9]*"))
        )

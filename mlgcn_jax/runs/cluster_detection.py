"""Finds out where this process runs: alone, or as one of several of a launcher.

From flags and environment variables. JAX's own detection serves Cloud TPU VMs alone:
elsewhere it takes every process of a SLURM job for a task, and gives each task one GPU.
"""

import re
import zlib
from collections.abc import Mapping

from mlgcn_jax.runs import cluster, local_gpus, slurm
from mlgcn_jax.runs import machine as machines

# Not among the ports that Linux gives to outgoing connections by default (32768-60999).
_FIRST_PORT = 61440
_NUM_PORTS = 4096
_TPU_PORT = 8482
_FLAGS = "--coordinator=HOST:PORT --num_processes=N --process_id=0..N-1"
_COORDINATOR_VARIABLE = "JAX_COORDINATOR_ADDRESS"
_NUM_PROCESSES_VARIABLE = "JAX_NUM_PROCESSES"


def detect(
    environ: Mapping[str, str],
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    machine: machines.Machine | None = None,
) -> cluster.Cluster:
    """Returns where this process runs; what is given beats what the environment says.

    Args:
        environ: Environment variables.
        coordinator: HOST:PORT of process 0.
        num_processes: 1 is enough to be alone, whatever started the process.
        process_id: Of this process, from 0.
        machine: Asked what no variable tells; this one by default.

    Raises:
        ValueError: what is given or found is incomplete or contradicts itself.
    """
    if not (coordinator is None and num_processes is None and process_id is None):
        return _explicit(coordinator, num_processes, process_id)
    machine = machine or machines.Machine()
    # The inner launcher first: Open MPI starts its processes by way of SLURM where that
    # is there, and Kubernetes an indexed job on the hosts of a TPU.
    for look in (_openmpi, _slurm, _kubernetes, _tpu):
        found = look(environ, machine)
        if found is not None:
            return found
    return cluster.Cluster("single", _why_single(environ))


def _explicit(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> cluster.Cluster:
    if num_processes == 1 and process_id in (None, 0):
        return cluster.Cluster("single", "--num_processes=1")
    if coordinator is None or num_processes is None or process_id is None:
        given = {
            "--coordinator": coordinator,
            "--num_processes": num_processes,
            "--process_id": process_id,
        }
        names = ", ".join(name for name, value in given.items() if value is not None)
        raise ValueError(f"found {names} alone; give {_FLAGS}, or none of them")
    return cluster.Cluster(
        "explicit",
        "flags",
        _checked_address(coordinator, "--coordinator"),
        *_checked_place(num_processes, process_id),
    )


def _openmpi(
    environ: Mapping[str, str], machine: machines.Machine
) -> cluster.Cluster | None:
    if "OMPI_COMM_WORLD_SIZE" not in environ:
        return None
    size, rank, local_size, local_rank = (
        int(environ[f"OMPI_COMM_WORLD_{name}"])
        for name in ("SIZE", "RANK", "LOCAL_SIZE", "LOCAL_RANK")
    )
    found = f"Open MPI, {size} rank(s), {local_size} of them on this machine"
    if size == 1:
        return cluster.Cluster("single", found)
    return cluster.Cluster(
        "openmpi",
        found,
        _chosen_address(environ)
        or _openmpi_coordinator(environ, is_local=local_size == size),
        *_checked_place(size, rank),
        local_gpus.share(
            environ, machine, local_rank=local_rank, local_size=local_size
        ),
    )


def _openmpi_coordinator(environ: Mapping[str, str], *, is_local: bool) -> str:
    """Returns the machine of mpirun, on which rank 0 runs, and a port for its job."""
    uri = environ.get("OMPI_MCA_orte_hnp_uri", "")  # to version 4
    namespace = environ.get("PMIX_NAMESPACE", "")  # from version 4
    host = (
        re.search(r"tcp://([^,:]+)|tcp6://\[([^,\]]+)", uri)
        # prterun-HOST-PROCESS@JOB, where a host may have hyphens
        or re.fullmatch(r"prterun-(.+)-\d+@\d+", namespace)
    )
    if is_local:
        name = "localhost"
    elif host is not None:
        name = next(group for group in host.groups() if group)
    else:
        raise ValueError(
            "Open MPI started this process with others on other machines, but neither "
            "OMPI_MCA_orte_hnp_uri nor PMIX_NAMESPACE says where mpirun runs; give "
            f"mpirun -x {_COORDINATOR_VARIABLE}=HOST:PORT, a host on which rank 0 runs"
        )
    return _address(name, _port(zlib.crc32((uri or namespace).encode())))


def _slurm(
    environ: Mapping[str, str], machine: machines.Machine
) -> cluster.Cluster | None:
    # A script of sbatch has a job and perhaps SLURM_NTASKS, but no step; a shell of
    # srun is a step of one task.
    num_tasks = int(environ.get("SLURM_STEP_NUM_TASKS", 1))
    if num_tasks == 1 or "SLURM_PROCID" not in environ:
        return None
    job_id, step_id = int(environ["SLURM_JOB_ID"]), int(environ["SLURM_STEP_ID"])
    nodes = environ["SLURM_STEP_NODELIST"]
    tasks_per_node = slurm.expand_counts(environ["SLURM_STEP_TASKS_PER_NODE"])
    coordinator = _chosen_address(environ)
    if coordinator is None:
        node = slurm.first_node(nodes)
        # srun runs on the first node where a script of sbatch calls it.
        host = machine.address_of(node) or environ.get("SLURM_LAUNCH_NODE_IPADDR")
        if host is None:
            raise ValueError(
                f"found no address of node {node}, on which task 0 runs; set "
                f"{_COORDINATOR_VARIABLE}=HOST:PORT before srun"
            )
        coordinator = _address(host, _port(slurm.step_number(job_id, step_id)))
    return cluster.Cluster(
        "slurm",
        f"SLURM job {job_id}, step {step_id}, {num_tasks} tasks on {nodes}",
        coordinator,
        *_checked_place(num_tasks, int(environ["SLURM_PROCID"])),
        local_gpus.share(
            environ,
            machine,
            local_rank=int(environ["SLURM_LOCALID"]),
            local_size=tasks_per_node[int(environ["SLURM_NODEID"])],
        ),
    )


def _kubernetes(
    environ: Mapping[str, str], machine: machines.Machine
) -> cluster.Cluster | None:
    del machine
    # An indexed job without the other variable may be one of many runs.
    if not {"JOB_COMPLETION_INDEX", _NUM_PROCESSES_VARIABLE} <= environ.keys():
        return None
    num_processes = int(environ[_NUM_PROCESSES_VARIABLE])
    found = f"indexed job of Kubernetes, {num_processes} pod(s)"
    if num_processes == 1:
        return cluster.Cluster("single", found)
    coordinator = _chosen_address(environ)
    if coordinator is None:
        raise ValueError(
            f"found JOB_COMPLETION_INDEX and {_NUM_PROCESSES_VARIABLE}, but not "
            f"{_COORDINATOR_VARIABLE}; set it to JOB-0.SERVICE:PORT, as "
            "examples/kubernetes.yaml does"
        )
    index = int(environ["JOB_COMPLETION_INDEX"])
    return cluster.Cluster(
        "kubernetes", found, coordinator, *_checked_place(num_processes, index)
    )


def _tpu(
    environ: Mapping[str, str], machine: machines.Machine
) -> cluster.Cluster | None:
    hosts = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES")
    if hosts is None:  # GKE sets it; a Cloud TPU VM has metadata
        may_use = "tpu" in environ.get("JAX_PLATFORMS", "tpu")
        if not may_use or "TPU_SKIP_MDS_QUERY" in environ or not machine.has_tpus():
            return None
        found = "Cloud TPU VM, whose metadata says more"
        return cluster.Cluster("tpu", found, num_processes=None, process_id=None)
    names = [host.rpartition(":")[0] or host for host in hosts.split(",")]
    num_slices = int(environ.get("MEGASCALE_NUM_SLICES", 1))
    slice_id = int(environ.get("MEGASCALE_SLICE_ID", 0))
    num_processes = len(names) * num_slices
    found = f"TPU, {num_slices} slice(s) of {len(names)} host(s)"
    if num_processes == 1:
        return cluster.Cluster("single", found)
    first = environ.get("MEGASCALE_COORDINATOR_ADDRESS", names[0])
    return cluster.Cluster(
        "tpu",
        found,
        _chosen_address(environ)
        or _address(first.rpartition(":")[0] or first, _TPU_PORT),
        *_checked_place(
            num_processes, slice_id * len(names) + int(environ["TPU_WORKER_ID"])
        ),
    )


def _why_single(environ: Mapping[str, str]) -> str:
    if int(environ.get("SLURM_NTASKS", 1)) > 1:
        return (
            f"SLURM job {environ.get('SLURM_JOB_ID')} has {environ['SLURM_NTASKS']} "
            "tasks, but no srun started this one; put srun before the command"
        )
    return "nothing found that started others"


def _chosen_address(environ: Mapping[str, str]) -> str | None:
    address = environ.get(_COORDINATOR_VARIABLE)
    return _checked_address(address, _COORDINATOR_VARIABLE) if address else None


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _port(number: int) -> int:
    return _FIRST_PORT + number % _NUM_PORTS


def _checked_address(address: str, name: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"{name}={address} is not HOST:PORT, with a port below 65536")
    return address


def _checked_place(num_processes: int, process_id: int) -> tuple[int, int]:
    if not 0 <= process_id < num_processes:
        raise ValueError(
            f"process {process_id} of {num_processes} processes cannot be; they are "
            f"counted from 0 to {num_processes - 1}"
        )
    return num_processes, process_id

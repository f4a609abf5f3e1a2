"""Which GPUs of its machine belong to a process that shares the machine with others."""

from collections.abc import Mapping

from mlgcn_jax.runs import machine as machines

_ADVICE = (
    "let the launcher give each its own (srun --gpus-per-task=K), start as many tasks "
    "as divide the GPUs, or set JAX_LOCAL_DEVICE_IDS for each"
)


def share(
    environ: Mapping[str, str],
    machine: machines.Machine,
    *,
    local_rank: int,
    local_size: int,
) -> tuple[int, ...] | None:
    """Returns which of the GPUs that the process sees are its own; None: all of them.

    Numbers are places in CUDA_VISIBLE_DEVICES, as JAX counts. JAX by itself gives a
    process the GPU of its local rank, which leaves seven of eight idle where there is
    one process a machine, and is not there where each sees but one.

    Args:
        environ: Environment variables.
        machine: Tells the number of GPUs where no variable does.
        local_rank: Of this process among those on the machine, from 0.
        local_size: How many processes of the job the machine has.

    Raises:
        ValueError: the GPUs cannot be shared out evenly.
    """
    if chosen := environ.get("JAX_LOCAL_DEVICE_IDS"):
        return tuple(int(number) for number in chosen.split(","))
    if local_size == 1 or not _may_use_gpus(environ):
        return None
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        num_visible = machine.num_gpus()
    else:
        num_visible = len(_listed(visible))
        if num_visible == 1 or _is_bound_by_slurm(environ, num_visible):
            return None
    if num_visible == 0:
        return None
    size, rest = divmod(num_visible, local_size)
    if rest or not size:
        raise ValueError(
            f"{local_size} processes on this machine see the same {num_visible} "
            f"GPU(s), which cannot be shared out evenly; {_ADVICE}"
        )
    return tuple(range(local_rank * size, (local_rank + 1) * size))


def _may_use_gpus(environ: Mapping[str, str]) -> bool:
    platforms = environ.get("JAX_PLATFORMS", "")
    return not platforms or "cuda" in platforms or "gpu" in platforms


def _listed(visible: str) -> list[str]:
    """Returns the GPUs of CUDA_VISIBLE_DEVICES; -1 and SLURM's NoDevFiles mean none."""
    return [name for name in visible.split(",") if name not in ("", "-1", "NoDevFiles")]


def _is_bound_by_slurm(environ: Mapping[str, str], num_visible: int) -> bool:
    """Returns whether SLURM shows each task its own GPUs and not those of the node."""
    return num_visible < int(environ.get("SLURM_GPUS_ON_NODE", 0))

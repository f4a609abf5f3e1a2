"""What a compiled program costs each chip: bytes, memory, messages."""

from typing import Any, NamedTuple

import jax
from jaxlib import xla_client

from mlgcn_jax.devices import program_memory
from mlgcn_jax.planning import collectives


class Costs(NamedTuple):
    """Costs of one run of a program to each chip.

    Attributes:
        bytes_accessed: read from and written to memory.
        peak_bytes: arguments, results and temporaries together.
        collectives: the messages between chips.
    """

    bytes_accessed: float
    peak_bytes: int
    collectives: tuple[collectives.Collective, ...]


def of_compiled(compiled: jax.stages.Compiled) -> Costs:
    """Returns the costs, as the compiler for the chip counts them.

    Where that does not count bytes (GPUs), they are those of XLA's analysis of the
    optimised program. It leaves out results that come as a tuple, those of cuDNN's
    convolutions among them, and takes an operand for read whole that a fusion converts
    before it slices it: good to compare with other counts of this kind, and neither an
    upper nor a lower bound on what the GPU moves.
    """
    program: Any = compiled.runtime_executable()
    analysis = compiled.cost_analysis() or _analyse(program.hlo_modules()[0])
    return Costs(
        bytes_accessed=analysis["bytes accessed"],
        peak_bytes=program_memory.peak_bytes(compiled),
        collectives=collectives.in_program(compiled.as_text() or ""),
    )


def count_flops(lowered: jax.stages.Lowered) -> float:
    """Returns the arithmetic of the program as it is written, over all chips.

    Before compilation: a convolution that a GPU hands to cuDNN has no count after it.
    """
    program: Any = lowered.compiler_ir("hlo")
    return _analyse(program.as_hlo_module())["flops"]


def _analyse(module: Any) -> dict[str, float]:
    client = jax.devices("cpu")[0].client
    xla: Any = xla_client  # JAX has no public name for it
    return xla._xla.hlo_module_cost_analysis(client, module)

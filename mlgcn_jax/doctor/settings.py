"""What the environment tells XLA, and whether that lets it compute right."""

from collections.abc import Iterator

import jax

from mlgcn_jax.devices import compiler, xla_flags
from mlgcn_jax.doctor import findings

PART = "settings"
WITHOUT_REDUCTIONS = (
    f"take {compiler.YNN_FUSIONS} out of XLA_FLAGS, or set it to -reduce: with "
    "YNNPACK's reduce fusions XLA computes some products wrong on CPUs"
)


def check_flags() -> Iterator[findings.Finding]:
    """Yields a fault where XLA refuses its flags; comes before any device is asked."""
    try:
        xla_flags.check()
    except ValueError as error:
        yield findings.failed(PART, "XLA_FLAGS", error, advice="nothing can compute")


def check() -> Iterator[findings.Finding]:
    """Yields a finding for each flag of the user's that stands in place of ours."""
    ours = compiler.options()
    of_user = xla_flags.of_user()
    for name, value in of_user.items():
        is_wrong = name == compiler.YNN_FUSIONS and asks_for_reductions()
        yield findings.Finding(
            PART,
            f"XLA_FLAGS --{name}",
            f"{value or 'set'} (respected)",
            status="fault" if is_wrong else "ok",
            advice=WITHOUT_REDUCTIONS if is_wrong else "",
        )
    for name, value in ours.items():
        yield findings.Finding(PART, f"compiled with {name}", value)


def asks_for_reductions() -> bool:
    """Whether the user's XLA_FLAGS give YNNPACK the reductions that it gets wrong."""
    value = xla_flags.of_user().get(compiler.YNN_FUSIONS)
    return (
        jax.default_backend() == "cpu"
        and value is not None
        and xla_flags.asks_for_reductions(value)
    )

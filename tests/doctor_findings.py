"""What the doctor has found, as tests look it up."""

from mlgcn_jax.doctor import findings


def by_name(found) -> dict[str, findings.Finding]:
    return {finding.name: finding for finding in found}

"""One process's examination: part after part, whatever fails goes on with the next."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator

from mlgcn_jax.devices import compilation_cache
from mlgcn_jax.doctor import (
    cache,
    decoding,
    devices,
    edge_speed,
    findings,
    folders,
    settings,
    step,
    versions,
)
from mlgcn_jax.doctor.numbers import check as numbers

_LOOK_AT_IT = "run `mlgcn doctor --debug` for what it logs, and report it with that"


@dataclasses.dataclass
class Examination:
    """What was found until now.

    Attributes:
        process: Of the job, from 0.
        found: In order.
        current: The part that is being looked at.
    """

    process: int
    found: list[findings.Finding] = dataclasses.field(default_factory=list)
    current: str = ""

    def look(
        self, part: str, check: Callable[[], Iterator[findings.Finding]]
    ) -> list[findings.Finding]:
        """Adds what a part yields; its end by an error is a fault as well."""
        self.current = part
        start = len(self.found)
        try:
            for finding in check():
                self.add(finding)
        except Exception as error:  # what is broken here may raise anything
            self.add(findings.failed(part, part, error, advice=_LOOK_AT_IT))
        return self.found[start:]

    def add(self, finding: findings.Finding) -> None:
        """Adds a finding, as one of this process."""
        self.found.append(dataclasses.replace(finding, process=self.process))


def examine(
    examination: Examination,
    *,
    data_dir: pathlib.Path | None,
    workdir: pathlib.Path | None,
) -> bool:
    """Looks at all that a process can see by itself.

    Args:
        examination: Filled.
        data_dir: Of a dataset, or None.
        workdir: Of a run to come, or None.

    Returns:
        Whether there are devices that can be asked for messages.
    """
    compilation_cache.enable()
    places = {"temporary folder": pathlib.Path(tempfile.gettempdir())}
    if workdir is not None:
        places["workdir"] = workdir
    if (compiled := compilation_cache.folder()) and "://" not in compiled:
        places["compilation cache"] = pathlib.Path(compiled)

    examination.look(versions.PART, versions.check)
    examination.look(folders.PART, lambda: folders.check(places))
    examination.look(decoding.PART, lambda: decoding.check(data_dir))
    # XLA aborts the process where its flags are wrong.
    there = examination.look(settings.PART, settings.check_flags)
    if findings.worst(there) != "fault":
        there = examination.look(devices.PART, devices.check)
    if findings.worst(there) == "fault":
        return False
    examination.look(settings.PART, settings.check)
    examination.look("known", versions.check_known_faults)
    if examination.process == 0:  # JAX lets no other one write
        examination.look(cache.PART, cache.check)
    examination.look(numbers.PART, numbers.check)
    examination.look(step.PART, step.check)
    examination.look(edge_speed.PART, edge_speed.check)
    return True

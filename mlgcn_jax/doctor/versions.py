"""What is installed, and what is known against it on the devices that are there."""

import importlib.metadata
import platform as python_platform
import subprocess
from collections.abc import Iterator

import jax

import mlgcn_jax
from mlgcn_jax.doctor import findings, known_faults, settings

PART = "versions"
# Of the accelerator ones those that are installed are shown, whatever their CUDA.
_ALWAYS = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_WHERE_INSTALLED = (
    *(f"jax-cuda{n}-{kind}" for n in (12, 13) for kind in ("plugin", "pjrt")),
    "libtpu",
    *(f"nvidia-{name}-cu{n}" for n in (12, 13) for name in ("cudnn", "nccl")),
    "nvidia-cuda-runtime-cu12",
    "nvidia-cuda-runtime",
)
_DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


def installed() -> dict[str, str]:
    """Returns package -> version, ours and Python's with them, and the GPU's driver."""
    found = {"mlgcn-jax": mlgcn_jax.__version__}
    found["python"] = python_platform.python_version()
    for name in _ALWAYS + _WHERE_INSTALLED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    if driver := _nvidia_driver():
        found["NVIDIA driver"] = driver
    return found


def check() -> Iterator[findings.Finding]:
    """Yields the versions, and those that do not go together."""
    found = installed()
    for name, version in found.items():
        apart = name.startswith("jax-cuda") and version != found.get("jaxlib")
        yield findings.Finding(
            PART,
            name,
            version,
            expected=f"{found.get('jaxlib')}, as jaxlib" if apart else "",
            status="warning" if apart else "ok",
            advice="pip install 'mlgcn-jax[cuda12]' again, so that both are of one "
            "release"
            if apart
            else "",
        )


def check_known_faults() -> Iterator[findings.Finding]:
    """Yields what is known against the versions, on the kinds of devices here."""
    platform = jax.default_backend()
    chips = sorted({device.device_kind for device in jax.local_devices()})
    found = installed()
    faults = [
        fault
        for chip in chips
        for fault in known_faults.against(found, platform=platform, chip=chip)
    ]
    for fault in dict.fromkeys(faults):
        cured = fault.cure
        if settings.asks_for_reductions() and platform == "cpu":
            cured = ""  # by options that the user's flags stand in place of
        yield findings.Finding(
            "known",
            f"{fault.package} {found[fault.package]}: {fault.wrong} ({fault.threads})",
            cured or "not cured",
            status="ok" if cured else "warning",
            advice=fault.advice or ("" if cured else settings.WITHOUT_REDUCTIONS),
        )


def _nvidia_driver() -> str:
    """Returns the version of the driver, empty where there is none, or no answer."""
    try:
        asked = subprocess.run(_DRIVER, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = asked.stdout.split()
    return lines[0] if asked.returncode == 0 and lines else ""

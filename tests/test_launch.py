"""launch.sh: what it sets up, when, and what it says where it cannot.

Everything it calls (Python, pip, nvidia-smi) is a stub that notes its arguments, so no
test installs anything or asks the network.
"""

import os
import pathlib
import shutil
import subprocess
from concurrent import futures

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PYTEST = "python -m pytest --numprocesses=2 --dist=worksteal"

# Stands for every Python: `-m venv DIR` copies it, `-m pip install` notes its arguments
# and fails where a file says so.
PYTHON = """#!/usr/bin/env bash
case "$*" in
  *version_info*) exit {old} ;;
  *"import ensurepip, venv"*) exit {no_venv} ;;
  "-m venv "*) mkdir -p "${{!#}}/bin"; cp "$0" "${{!#}}/bin/python"
    printf '#!/bin/sh\\necho "mlgcn $*"\\n' >"${{!#}}/bin/mlgcn"
    chmod +x "${{!#}}/bin/mlgcn" ;;
  "-m pip --version") ;;
  "-m pip install "*) echo "$*" >>"{calls}"
    if [[ -f "{calls}.fail" ]]; then
      echo "ERROR: Could not find a version (name resolution failed)" >&2; exit 1
    fi ;;
  "-m pytest"*) echo "python $*" ;;
esac
"""
SYSTEM_TOOLS = ("bash", "sh", "dirname", "basename", "cat", "sha256sum", "flock")
SYSTEM_TOOLS += ("grep", "tail", "mkdir", "cp", "chmod", "env", "rm", "printf")


class Sandbox:
    """A copy of the repository's outside, and a PATH with nothing but stubs."""

    def __init__(self, folder: pathlib.Path):
        self.root = folder / "repo with a space"
        self.bin = folder / "bin"
        self.calls = folder / "pip-calls"
        self.root.mkdir()
        self.bin.mkdir()
        shutil.copy(ROOT / "launch.sh", self.root)
        (self.root / "pyproject.toml").write_text("[project]\n")
        (self.root / "requirements").mkdir()
        for name in ("build", "cpu", "dev", "torch", "cuda12"):
            (self.root / "requirements" / f"{name}.txt").write_text(f"{name}==1\n")
        (self.root / "configs").mkdir()
        (self.root / "configs" / "quick.py").write_text("")
        for tool in SYSTEM_TOOLS:
            found = shutil.which(tool)
            if found:
                (self.bin / tool).symlink_to(found)
        self.add_python("python3.12")

    def add_python(self, name: str, *, old: bool = False, no_venv: bool = False):
        text = PYTHON.format(old=int(old), no_venv=int(no_venv), calls=self.calls)
        self.add_tool(name, text)

    def add_tool(self, name: str, text: str = "#!/bin/sh\n"):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def fail_installs(self, fail: bool = True):
        flag = pathlib.Path(f"{self.calls}.fail")
        flag.touch() if fail else flag.unlink()

    def launch(self, *arguments, status: int = 0, cwd=None, **environment):
        clean = {"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/")}
        done = subprocess.run(
            [str(self.root / "launch.sh"), *arguments],
            capture_output=True,
            text=True,
            cwd=cwd or self.root,
            env=clean | environment,
            timeout=60,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def installs(self) -> list[str]:
        if not self.calls.exists():
            return []
        return self.calls.read_text().splitlines()


@pytest.fixture
def sandbox(tmp_path) -> Sandbox:
    return Sandbox(tmp_path)


def test_parity_adds_torch_and_runs_what_compares_with_it(sandbox):
    done = sandbox.launch("parity", "-x")
    assert done.stdout == f"{PYTEST} tests/parity -x\n"
    assert "requirements/torch.txt" in sandbox.calls.read_text()


def test_the_first_start_installs_and_the_second_is_silent(sandbox):
    first = sandbox.launch("test", "-k", "graph")
    assert first.stdout == f"{PYTEST} -k graph\n"
    (line,) = first.stderr.splitlines()
    assert line.startswith("setting up ")
    build, dev, project = sandbox.installs()
    assert "--require-hashes" in build and build.endswith("requirements/build.txt")
    assert "--require-hashes" in dev and dev.endswith("requirements/dev.txt")
    assert "--no-deps -e" in project
    second = sandbox.launch("test")
    assert second.stderr == ""
    assert len(sandbox.installs()) == 3


def test_of_launches_at_once_one_installs(sandbox):
    with futures.ThreadPoolExecutor(4) as pool:
        launches = [pool.submit(sandbox.launch, "configs/quick.py") for _ in range(4)]
    assert all(launch.result().stdout.startswith("mlgcn ") for launch in launches)
    assert len(sandbox.installs()) == 3


def test_a_folder_without_locks_is_told_and_used(sandbox):
    (sandbox.bin / "flock").unlink()
    sandbox.add_tool("flock", "#!/bin/sh\nexit 1\n")
    done = sandbox.launch("setup", "cuda12")
    assert "cannot be locked; before several launches share it, run" in done.stderr
    assert sandbox.installs()[1].endswith("requirements/cuda12.txt")
    assert sandbox.launch("setup", "cuda12").stderr == ""


def test_a_changed_lock_is_installed(sandbox):
    sandbox.launch("test")
    (sandbox.root / "requirements" / "dev.txt").write_text("dev==2\n")
    sandbox.launch("test")
    assert len(sandbox.installs()) == 6


def test_a_registry_out_of_reach_is_told_and_tried_again(sandbox):
    sandbox.fail_installs()
    done = sandbox.launch("test", status=1)
    assert done.stdout == ""
    message = done.stderr.splitlines()[-1]
    assert message.startswith("launch.sh: error: could not install")
    for part in ("name resolution failed", "HTTPS_PROXY", "PIP_INDEX_URL", "setup.log"):
        assert part in message
    sandbox.fail_installs(False)
    assert sandbox.launch("test").stdout == f"{PYTEST}\n"


def test_a_config_is_launched_with_its_folder_and_arguments(sandbox, tmp_path):
    done = sandbox.launch("configs/quick.py", "--config.seed=3")
    config = "--config=configs/quick.py"
    assert done.stdout == (
        f"mlgcn launch {config} --workdir=runs/quick --config.seed=3\n"
    )
    assert sandbox.installs()[1].endswith("requirements/cpu.txt")
    done = sandbox.launch("configs/quick.py", "--workdir=mine")
    assert done.stdout == f"mlgcn launch {config} --workdir=mine\n"
    # From elsewhere the repository's configs are found, one's own first.
    own = tmp_path / "own.py"
    own.write_text("")
    assert "--config=own.py" in sandbox.launch("own.py", cwd=tmp_path).stdout
    done = sandbox.launch("configs/quick.py", cwd=tmp_path)
    assert f"--config={sandbox.root}/configs/quick.py" in done.stdout


def test_a_gpu_brings_cuda_and_a_variable_decides(sandbox):
    sandbox.add_tool("nvidia-smi")
    sandbox.launch("configs/quick.py")
    assert sandbox.installs()[1].endswith("requirements/cuda12.txt")
    sandbox.launch("configs/quick.py", MLGCN_EXTRA="cpu")
    assert sandbox.installs()[4].endswith("requirements/cpu.txt")
    done = sandbox.launch("configs/quick.py", MLGCN_EXTRA="rocm", status=2)
    assert "MLGCN_EXTRA is cpu, cuda12, cuda13 or tpu" in done.stderr


def test_the_active_environment_is_used(sandbox, tmp_path):
    active = tmp_path / "active"
    (active / "bin").mkdir(parents=True)
    shutil.copy(sandbox.bin / "python3.12", active / "bin" / "python")
    sandbox.launch("test", VIRTUAL_ENV=str(active))
    assert not (sandbox.root / ".venv").exists()
    assert len(sandbox.installs()) == 3


@pytest.mark.parametrize(
    ("old", "no_venv", "message"),
    [
        (True, False, "found no Python 3.11 or newer"),
        (False, True, "apt-get install python3.12-venv"),
    ],
)
def test_a_python_that_will_not_do_is_told(sandbox, old, no_venv, message):
    sandbox.add_python("python3.12", old=old, no_venv=no_venv)
    done = sandbox.launch("test", status=1)
    assert message in done.stderr
    assert sandbox.installs() == []


def test_wrong_calls(sandbox):
    assert "usage:" in sandbox.launch("--help").stdout
    assert "usage:" in sandbox.launch(status=2).stderr
    assert "usage:" in sandbox.launch("--workdir=x", status=2).stderr
    done = sandbox.launch("configs/quik.py", status=2)
    assert "no config configs/quik.py; there are: configs/quick.py" in done.stderr
    assert sandbox.installs() == []

"""The job scripts and manifests of examples/, as far as they can be held to without
a cluster: what they do on each exit status, and that they agree with what reads them.
"""

import os
import pathlib
import signal
import subprocess

import pytest
import yaml

from mlgcn_jax.commands import exit_status
from mlgcn_jax.runs import cluster_detection

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def add_tool(folder: pathlib.Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


def run(script: str, *arguments, bin: pathlib.Path, **environ):
    return subprocess.run(
        ["bash", str(EXAMPLES / script), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", **environ},
        timeout=60,
    )


@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [
        (0, 0, False),
        (exit_status.PREEMPTED, 0, True),
        (exit_status.PREEMPTED, 99, True),
        (exit_status.PREEMPTED, 100, False),
        (1, 0, False),
        (2, 0, False),
        (128 + signal.SIGKILL, 1, True),
    ],
)
def test_slurm_starts_again_what_was_preempted_or_killed(
    tmp_path, status, restarts, requeued
):
    add_tool(tmp_path, "srun", f'printf "%s|" "$@"; echo "|"; exit {status}')
    add_tool(tmp_path, "scontrol", 'echo "scontrol $*"')
    environ = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts)}
    done = run("slurm.sbatch", "a.py", "--x=b c", bin=tmp_path, **environ)
    assert done.returncode == status
    command, _, rest = done.stdout.partition("||")
    assert command == "--kill-on-bad-exit=0|./launch.sh|a.py|--max_restarts=3|--x=b c"
    assert ("scontrol requeue 7" in rest) == requeued


def test_mpirun_starts_one_rank_a_host(tmp_path):
    add_tool(tmp_path, "mpirun", 'printf "%s|" "$@"')
    done = run("openmpi.sh", "a,b", "a.py", "--x=b c", bin=tmp_path)
    assert done.stdout == (
        "--host|a,b|--map-by|ppr:1:node|--bind-to|none|./launch.sh|a.py|--x=b c|"
    )


def test_arguments_reach_the_hosts_of_a_tpu_whole(tmp_path):
    add_tool(tmp_path, "gcloud", 'command=${!##--command=}; echo "${command#*&& }"')
    done = run("tpu_slice.sh", "name", "zone", "a.py", "--x=b c", bin=tmp_path)
    assert done.stdout == "MLGCN_EXTRA=tpu ./launch.sh a.py --x=b\\ c\n"


def test_the_manifest_of_kubernetes_agrees_with_itself_and_with_detection():
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environ = {entry["name"]: entry["value"] for entry in container["env"]}
    environ["JOB_COMPLETION_INDEX"] = "3"  # by Kubernetes, in the last pod
    found = cluster_detection.detect(environ)
    assert (found.kind, found.process_id) == ("kubernetes", 3)
    assert found.num_processes == spec["completions"] == spec["parallelism"] == 4
    # Pod 0 of the job, by way of the headless service.
    name, subdomain = job["metadata"]["name"], service["metadata"]["name"]
    assert found.coordinator_address.startswith(f"{name}-0.{subdomain}:")
    assert pod["subdomain"] == subdomain
    assert service["spec"]["selector"] == {"job-name": name}
    actions = {
        status: rule["action"]
        for rule in spec["podFailurePolicy"]["rules"]
        for status in rule.get("onExitCodes", {}).get("values", [])
    }
    assert actions == {exit_status.PREEMPTED: "Ignore", 1: "FailJob", 2: "FailJob"}

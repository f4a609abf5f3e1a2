"""Where a process finds itself, from environments recorded of real launchers.

tests/environments/ holds what a process saw under SLURM 22.05 (GPUs were device files
that stood for such), Open MPI 4.1.4 and 5.0.11. Kubernetes and TPUs are written here,
after their documentation.
"""

import pytest
from launcher_environments import recorded

from mlgcn_jax.runs import cluster, cluster_detection, local_gpus, machine, slurm


class FakeMachine(machine.Machine):
    """What a machine would answer."""

    def __init__(self, *, num_gpus=0, has_tpus=False, addresses=None):
        self._num_gpus = num_gpus
        self._has_tpus = has_tpus
        self._addresses = addresses or {}

    def address_of(self, node):
        return self._addresses.get(node)

    def num_gpus(self):
        return self._num_gpus

    def has_tpus(self):
        return self._has_tpus


def detect(environ, *, on=None, **given) -> cluster.Cluster:
    return cluster_detection.detect(environ, machine=on or FakeMachine(), **given)


def place(found: cluster.Cluster):
    return found.kind, found.process_id, found.num_processes


def test_without_a_launcher_there_is_one_process():
    found = detect({"PATH": "/bin", "JOB_COMPLETION_INDEX": "3"})
    assert place(found) == ("single", 0, 1)
    assert found.is_single and found.coordinator_address is None


def test_flags_beat_what_launchers_say():
    environ = recorded("srun_2_tasks_task_1")
    given = {"coordinator": "h:1", "num_processes": 4, "process_id": 3}
    found = detect(environ, **given)
    assert place(found) == ("explicit", 3, 4)
    assert found.coordinator_address == "h:1"
    assert detect(environ, num_processes=1).is_single


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"process_id": 1}, "found --process_id alone; give --coordinator=HOST"),
        (
            {"coordinator": "h:1", "num_processes": 2},
            "--coordinator, --num_processes a",
        ),
        ({"coordinator": "h", "num_processes": 2, "process_id": 0}, "is not HOST:PORT"),
        ({"coordinator": "h:0", "num_processes": 2, "process_id": 0}, "not HOST:PORT"),
        ({"coordinator": "h:1", "num_processes": 2, "process_id": 2}, "from 0 to 1"),
        ({"num_processes": 1, "process_id": 1}, "--num_processes, --process_id alone"),
    ],
)
def test_flags_that_do_not_fit_together_are_told(given, message):
    with pytest.raises(ValueError, match=message):
        detect({}, **given)


# --- SLURM ---


def test_a_step_of_srun_is_as_many_processes_as_tasks():
    nodes = FakeMachine(addresses={"n1": "n1.cluster", "n2": "wrong"})
    environ = recorded("srun_2_tasks_task_1")
    found = detect(environ, on=nodes)
    assert place(found) == ("slurm", 1, 2)
    assert found.local_device_ids is None
    host, port = found.coordinator_address.split(":")
    assert host == "n1.cluster"
    # The first port of those that Linux does not give away, and job 2, step 0.
    assert int(port) == 61440 + 31 * 2
    # Another job beside it on the node, or another step, has another port.
    other = detect(environ | {"SLURM_JOB_ID": "3", "SLURM_JOBID": "3"}, on=nodes)
    assert other.coordinator_address != found.coordinator_address
    other = detect(environ | {"SLURM_STEP_ID": "1", "SLURM_STEPID": "1"}, on=nodes)
    assert other.coordinator_address != found.coordinator_address
    assert place(detect(recorded("sbatch_srun_task_1"), on=nodes)) == ("slurm", 1, 2)
    assert place(detect(recorded("srun_3_tasks_task_2"), on=nodes)) == ("slurm", 2, 3)


def test_a_script_of_sbatch_and_a_shell_of_srun_are_one_process():
    found = detect(recorded("sbatch_script"))
    assert found.is_single
    assert "put srun before the command" in found.found
    assert detect(recorded("srun_shell")).is_single


def test_a_node_without_an_address_is_replaced_or_told():
    environ = recorded("srun_2_tasks_task_1")
    # Where srun was called, on the first node in a script of sbatch.
    assert detect(environ).coordinator_address == "127.0.0.1:61502"
    del environ["SLURM_LAUNCH_NODE_IPADDR"]
    with pytest.raises(ValueError, match=r"no address of node n1.*JAX_COORDINATOR_ADD"):
        detect(environ)
    environ["JAX_COORDINATOR_ADDRESS"] = "10.0.0.1:5000"
    assert detect(environ).coordinator_address == "10.0.0.1:5000"
    environ["JAX_COORDINATOR_ADDRESS"] = "10.0.0.1"
    with pytest.raises(ValueError, match=r"JAX_COORDINATOR_ADDRESS=10.0.0.1 is not HO"):
        detect(environ)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n[1-2,5]", "n1"),
        ("n[07,09-12],m3", "n07"),
        ("a01", "a01"),
        ("a01,b[02-03]", "a01"),
        ("prefix[001-003]x", "prefix001x"),
        ("rack[2-3]node[04-05],z", "rack2node04"),
        ("gpu-a-1.cluster.org,gpu-b", "gpu-a-1.cluster.org"),
    ],
)
def test_the_first_node_of_a_list(nodes, first):
    assert slurm.first_node(nodes) == first


def test_lists_of_slurm_that_are_none_are_told():
    with pytest.raises(ValueError, match=r"expected a list of nodes"):
        slurm.first_node("")
    with pytest.raises(ValueError, match=r"expected tasks a node"):
        slurm.expand_counts("2(y3)")
    assert slurm.expand_counts("2(x3),1") == [2, 2, 2, 1]


# --- GPUs of tasks that share a machine ---


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("srun_1_task_4_gpus", None),  # one task on the node: all four
        ("srun_2_tasks_4_gpus", (2, 3)),  # the second task of its node sees all four
        ("srun_2_tasks_gpus_per_task_1", None),  # sees one, which is its own
        ("srun_2_tasks_gpus_per_task_2", None),  # sees two of four, its own
        ("srun_4_tasks_gpu_bind_single", None),
    ],
)
def test_each_task_of_slurm_has_its_own_gpus(name, ids):
    assert detect(recorded(name)).local_device_ids == ids


def test_gpus_that_do_not_divide_are_told_unless_somebody_chose():
    environ = recorded("srun_3_tasks_4_gpus")
    with pytest.raises(ValueError, match=r"3 processes on this machine see the same 4"):
        detect(environ)
    assert detect(environ | {"JAX_PLATFORMS": "cpu"}).local_device_ids is None
    chosen = detect(environ | {"JAX_LOCAL_DEVICE_IDS": "2,3"})
    assert chosen.local_device_ids == (2, 3)


@pytest.mark.parametrize(
    ("environ", "num_gpus", "ids"),
    [
        ({}, 0, None),
        ({}, 8, (2, 3)),
        ({"CUDA_VISIBLE_DEVICES": "4,5,6,7"}, 8, (1,)),  # places, not numbers
        ({"CUDA_VISIBLE_DEVICES": "GPU-5f1c"}, 8, None),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, 8, None),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 8, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, 8, None),
    ],
)
def test_the_second_of_four_processes_has_the_second_quarter(environ, num_gpus, ids):
    on = FakeMachine(num_gpus=num_gpus)
    assert local_gpus.share(environ, on, local_rank=1, local_size=4) == ids
    assert local_gpus.share(environ, on, local_rank=0, local_size=1) is None


def test_more_processes_than_gpus_are_told():
    with pytest.raises(ValueError, match=r"2 processes .* same 1 GPU"):
        local_gpus.share({}, FakeMachine(num_gpus=1), local_rank=0, local_size=2)


# --- Open MPI ---


@pytest.mark.parametrize("version", [4, 5])
def test_ranks_of_open_mpi_on_one_machine(version):
    environ = recorded(f"openmpi{version}_rank_1")
    found = detect(environ, on=FakeMachine(num_gpus=2))
    assert place(found) == ("openmpi", 1, 2)
    assert found.coordinator_address.startswith("localhost:")
    assert found.local_device_ids == (1,)
    # Another mpirun at the same time has another port, the other rank the same.
    other = {
        name: value.replace("1606746112", "1606750208").replace("-13743@", "-9@")
        for name, value in environ.items()
    }
    assert detect(other).coordinator_address != found.coordinator_address
    other = detect(environ | {"OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0"})
    assert other.coordinator_address == found.coordinator_address
    assert detect(environ | {"OMPI_COMM_WORLD_SIZE": "1"}).is_single


@pytest.mark.parametrize(("version", "host"), [(4, "192.0.2.2"), (5, "vm")])
def test_mpirun_on_two_nodes_of_slurm_is_open_mpi(version, host):
    """It starts its daemons with srun, whose variables are those of the daemon."""
    environ = recorded(f"openmpi{version}_in_sbatch_rank_1")
    assert environ["SLURM_STEP_NUM_TASKS"] == "2"
    found = detect(environ, on=FakeMachine(num_gpus=2))
    assert place(found) == ("openmpi", 1, 2)
    assert found.coordinator_address.split(":")[0] == host
    assert found.local_device_ids is None  # alone on its node


def test_mpirun_that_does_not_say_where_it_is():
    environ = recorded("openmpi4_in_sbatch_rank_1")
    del environ["OMPI_MCA_orte_hnp_uri"]
    with pytest.raises(ValueError, match="mpirun -x JAX_COORDINATOR_ADDRESS"):
        detect(environ)
    environ["OMPI_MCA_orte_hnp_uri"] = "1.0;tcp6://[fd00::2,fd00::3]:38801"
    assert detect(environ).coordinator_address.startswith("[fd00::2]:")
    environ["JAX_COORDINATOR_ADDRESS"] = "h:1"
    assert detect(environ).coordinator_address == "h:1"
    environ |= {"OMPI_MCA_orte_hnp_uri": "", "PMIX_NAMESPACE": "prterun-gpu-7.a-12@1"}
    del environ["JAX_COORDINATOR_ADDRESS"]
    assert detect(environ).coordinator_address.startswith("gpu-7.a:")


# --- Kubernetes and TPUs ---


def test_pods_of_an_indexed_job():
    environ = {"JOB_COMPLETION_INDEX": "2", "JAX_NUM_PROCESSES": "4"}
    with pytest.raises(ValueError, match="JAX_COORDINATOR_ADDRESS; set it to JOB-0"):
        detect(environ)
    environ["JAX_COORDINATOR_ADDRESS"] = "mlgcn-0.mlgcn:8476"
    found = detect(environ)
    assert place(found) == ("kubernetes", 2, 4)
    assert found.coordinator_address == "mlgcn-0.mlgcn:8476"
    assert found.local_device_ids is None
    with pytest.raises(ValueError, match="process 2 of 2 processes cannot be"):
        detect(environ | {"JAX_NUM_PROCESSES": "2"})
    assert detect(environ | {"JAX_NUM_PROCESSES": "1"}).is_single


def test_hosts_of_a_tpu_slice_on_gke():
    environ = {"TPU_WORKER_HOSTNAMES": "t-0.t,t-1.t,t-2.t", "TPU_WORKER_ID": "1"}
    found = detect(environ)
    assert place(found) == ("tpu", 1, 3)
    assert found.coordinator_address == "t-0.t:8482"
    # In a pod of an indexed job too.
    environ["JOB_COMPLETION_INDEX"] = "1"
    assert detect(environ) == found
    assert detect({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}).is_single


def test_hosts_of_several_tpu_slices():
    environ = {
        "TPU_WORKER_HOSTNAMES": "b-0.b,b-1.b",
        "TPU_WORKER_ID": "1",
        "MEGASCALE_NUM_SLICES": "2",
        "MEGASCALE_SLICE_ID": "1",
        "MEGASCALE_COORDINATOR_ADDRESS": "a-0.a:8080",
    }
    found = detect(environ)
    assert place(found) == ("tpu", 3, 4)
    assert found.coordinator_address == "a-0.a:8482"


def test_a_cloud_tpu_vm_is_left_to_jax():
    found = detect({}, on=FakeMachine(has_tpus=True))
    assert place(found) == ("tpu", None, None)
    assert not found.is_single
    for environ in ({"TPU_SKIP_MDS_QUERY": "1"}, {"JAX_PLATFORMS": "cpu"}):
        assert detect(environ, on=FakeMachine(has_tpus=True)).is_single

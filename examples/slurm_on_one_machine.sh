#!/usr/bin/env bash
# A real SLURM with two nodes, n1 and n2, on one Debian or Ubuntu machine, to try
# slurm.sbatch with: sinfo, srun and sbatch then work as on a cluster.
#   examples/slurm_on_one_machine.sh start       as root, after
#                                                apt-get install slurm-wlm munge
#   examples/slurm_on_one_machine.sh kill n2     as when a node loses its power
#   examples/slurm_on_one_machine.sh stop
# Each node has its own processes, but all of the machine's processors and memory.
set -euo pipefail

config=/etc/slurm/slurm.conf
mark="# written by slurm_on_one_machine.sh"
state=/var/lib/slurm-on-one-machine

fail() {
  echo "slurm_on_one_machine.sh: error: $1" >&2
  exit 1
}

write_config() {
  local host
  host=$(hostname -s)
  mkdir -p "$(dirname "$config")" "$state"/{controller,n1,n2}
  cat >"$config" <<END
$mark
ClusterName=onemachine
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
JobRequeue=1
SlurmdTimeout=30
StateSaveLocation=$state/controller
SlurmctldPidFile=$state/slurmctld.pid
SlurmctldLogFile=$state/slurmctld.log
# %n, or the second slurmd would take the first one's place.
SlurmdSpoolDir=$state/%n
SlurmdPidFile=$state/%n.slurmd
SlurmdLogFile=$state/%n.log
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=$(nproc)
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=$(nproc)
PartitionName=all Nodes=n1,n2 Default=YES
END
}

start() {
  local program
  for program in munged slurmctld slurmd; do
    command -v "$program" >/dev/null ||
      fail "found no $program; apt-get install slurm-wlm munge"
  done
  if [[ -e $config && $(head -n 1 "$config") != "$mark" ]]; then
    fail "$config is somebody else's; this machine belongs to a SLURM already"
  fi
  write_config
  if ! munge --no-input >/dev/null 2>&1; then
    install -d -o munge -g munge /run/munge
    runuser -u munge -- munged
  fi
  is_running slurmctld || slurmctld
  for program in n1 n2; do
    is_running "$program" || start_node "$program"
  done
  # Of nodes that were down before.
  scontrol update NodeName=n1,n2 State=RESUME 2>/dev/null || true
  sinfo
}

is_running() {
  [[ -f $state/$1.pid ]] && kill -0 "$(<"$state/$1.pid")" 2>/dev/null
}

# In a process namespace of its own: all of a node ends with its slurmd.
start_node() {
  setsid unshare --pid --fork --mount-proc --kill-child \
    slurmd -D -N "$1" </dev/null >/dev/null 2>&1 &
  echo $! >"$state/$1.pid"
}

kill_node() {
  is_running "$1" || fail "node $1 is not running"
  kill -KILL "$(<"$state/$1.pid")"
  rm "$state/$1.pid"
}

stop() {
  local name
  for name in n1 n2; do
    if is_running "$name"; then kill_node "$name"; fi
  done
  if is_running slurmctld; then kill "$(<"$state/slurmctld.pid")"; fi
  while is_running slurmctld; do sleep 0.1; done
}

case ${1:-} in
  start) start ;;
  kill) kill_node "${2:?which node, n1 or n2}" ;;
  stop) stop ;;
  *)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 2
    ;;
esac

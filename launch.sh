#!/usr/bin/env bash
# Sets up what mlgcn-jax needs, once, and runs it: see ./launch.sh --help.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'EOF'
usage: ./launch.sh CONFIG [--workdir=RUN] [--config.KEY=VALUE ...]
       ./launch.sh test [PYTEST ARGUMENT ...]
       ./launch.sh parity [PYTEST ARGUMENT ...]
       ./launch.sh setup [cpu | cuda12 | cuda13 | tpu]

  CONFIG   train and evaluate a config, say configs/quickstart.py, in the folder RUN
           (runs/NAME of the config by default); start it again to go on. Several
           processes: docs/clusters.md; --dry_run says what would be done
  test     run the tests
  parity   run the tests that compare with PyTorch, which is large
  setup    only install what training needs on such devices, or what developers need

What is needed is installed the first time, from requirements/, into the active virtual
or conda environment, or into .venv beside this script where none is active. MLGCN_EXTRA
chooses cpu, cuda12, cuda13 or tpu; by default cuda12 where nvidia-smi finds a GPU, else
cpu.
EOF
}

fail() {
  echo "launch.sh: error: $1" >&2
  exit "${2:-1}"
}

# Prints the name of the newest Python that can make a virtual environment.
find_python() {
  local candidate without_venv=
  for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
    has_right_version "$candidate" || continue
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$candidate"
      return
    fi
    without_venv=$candidate
  done
  if [[ -n $without_venv ]]; then
    fail "$without_venv cannot make virtual environments; install its venv module \
(Debian, Ubuntu: apt-get install $without_venv-venv)"
  fi
  fail "found no Python 3.11 or newer on the PATH; install one, or activate an \
environment that has it"
}

has_right_version() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_environment() {
  if [[ -n ${VIRTUAL_ENV:-} ]]; then
    echo "$VIRTUAL_ENV"
  elif [[ -n ${CONDA_PREFIX:-} && ${CONDA_DEFAULT_ENV:-base} != base ]]; then
    echo "$CONDA_PREFIX"
  else
    echo "$root/.venv"
  fi
}

find_extra() {
  if nvidia-smi -L >/dev/null 2>&1; then echo cuda12; else echo cpu; fi
}

# Installs requirements/$1.txt and the project into $environment, unless that is done.
set_up() {
  local lock=$root/requirements/$1.txt
  local stamp=$environment/mlgcn-jax-$1.stamp
  [[ -f $lock ]] || fail "no requirements/$1.txt; MLGCN_EXTRA is cpu, cuda12, \
cuda13 or tpu" 2
  local wanted
  wanted="$root $(cat "$root"/{pyproject.toml,requirements/build.txt} "$lock" | sha256sum)"
  if is_done; then return; fi
  ( # holds the lock file for as long as it runs, for another launch may be at it
    take_lock "$1"
    if is_done; then exit; fi
    trap 'exit 130' INT
    echo "setting up $environment (once, about a minute) ..." >&2
    make_environment
    pip_install --require-hashes -r "$root/requirements/build.txt"
    pip_install --require-hashes -r "$lock"
    pip_install --no-deps -e "$root"
    echo "$wanted" >"$stamp" # last, so that what is interrupted is done again
  ) 9>"$root/.venv.lock"
}

# Opened for writing, without which no lock holds between the hosts of an NFS.
take_lock() {
  command -v flock >/dev/null && flock 9 && return
  echo "launch.sh: warning: $root cannot be locked; before several launches share it, \
run ./launch.sh setup $1 once" >&2
}

is_done() {
  [[ -f $stamp && $(<"$stamp") == "$wanted" ]]
}

make_environment() {
  local python=$environment/bin/python
  if [[ $environment == "$root/.venv" && ! -x $python ]]; then
    python=$(find_python)
    "$python" -m venv --clear "$environment" ||
      fail "$python -m venv could not make $environment"
  elif ! has_right_version "$python"; then
    fail "$python is not Python 3.11 or newer; leave that environment (deactivate), \
or make another"
  fi
  "$environment/bin/python" -m pip --version >/dev/null 2>&1 ||
    "$environment/bin/python" -m ensurepip >/dev/null 2>&1 ||
    fail "$environment has no pip; install it there, or leave that environment"
}

# Every file is held to the hash in its lock file; nothing is fetched for a build.
pip_install() {
  local log=$environment/mlgcn-jax-setup.log
  PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 "$environment/bin/python" -m pip install \
    --no-input --progress-bar=off --no-build-isolation "$@" >"$log" 2>&1 && return
  fail "could not install what is in ${!#} ($(grep -i error "$log" | tail -n 1)); check \
the network, the proxy (HTTPS_PROXY) or the mirror (PIP_INDEX_URL) and start again; all \
that pip said is in $log"
}

# Prints the path of a config, as seen from here or from the repository.
find_config() {
  if [[ -f $1 ]]; then
    echo "$1"
  elif [[ -f $root/$1 ]]; then
    echo "$root/$1"
  else
    fail "found no config $1; there are: $(cd "$root" && echo configs/*.py)" 2
  fi
}

environment=$(find_environment)
# A test mostly waits for one core; `./launch.sh test -n0` runs all in one process.
in_two_processes=(--numprocesses=2 --dist=worksteal)
case ${1:-} in
  -h | --help)
    usage
    ;;
  setup)
    set_up "${2:-dev}"
    ;;
  test)
    set_up dev
    cd "$root"
    exec "$environment/bin/python" -m pytest "${in_two_processes[@]}" "${@:2}"
    ;;
  parity)
    set_up torch
    cd "$root"
    exec "$environment/bin/python" -m pytest "${in_two_processes[@]}" tests/parity "${@:2}"
    ;;
  "" | -*)
    usage >&2
    exit 2
    ;;
  *)
    config=$(find_config "$1")
    workdir=(--workdir="runs/$(basename "$config" .py)")
    for argument in "${@:2}"; do
      if [[ $argument == --workdir || $argument == --workdir=* ]]; then workdir=(); fi
    done
    set_up "${MLGCN_EXTRA:-$(find_extra)}"
    exec "$environment/bin/mlgcn" launch --config="$config" "${workdir[@]}" "${@:2}"
    ;;
esac

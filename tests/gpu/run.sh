#!/usr/bin/env bash
# What a machine with a GPU or a TPU can tell in some minutes: tests/gpu/run.sh --help.
#
# Rehearsed without one in CI (tests/test_gpu_rehearsal.py); what differs on a GPU is
# listed at the head of tests/gpu/checks.py.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: tests/gpu/run.sh OUT [--wheels=DIR] [--device=cuda | tpu | cpu] [--small]

  OUT       an empty folder for what is found: checks.json, benchmark.json, table.txt
  --wheels  a folder that tests/gpu/make_wheels.sh made: for a machine without a network
            whose own Python has JAX for the accelerator (and PyTorch, to be compared)
  --device  where JAX computes, cuda by default
  --small   a tiny model, and no time for the benchmark, to rehearse

Without --wheels ./launch.sh installs what the locks say; MLGCN_EXTRA chooses cuda12 or
cuda13. A TPU is asked the same; PyTorch is not compared there.
EOF
}

out='' wheels='' device=cuda small=''
for argument in "$@"; do
  case $argument in
    --help) usage && exit ;;
    --wheels=*) wheels=${argument#*=} ;;
    --device=*) device=${argument#*=} ;;
    --small) small=--small ;;
    -*) usage >&2 && exit 2 ;;
    *) out=$argument ;;
  esac
done
[[ -n $out ]] || { usage >&2 && exit 2; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
if [[ -n $wheels ]]; then wheels=$(cd "$wheels" && pwd); fi
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ -n $wheels ]]; then
  # Beside what that Python has: an environment made of it would see none of its
  # packages where it is one itself.
  python=$(command -v python3)
  "$python" -m pip install --quiet --no-index --no-deps --no-compile \
    --target "$out/packages" "$wheels"/*.whl
  export PYTHONPATH=$out/packages${PYTHONPATH:+:$PYTHONPATH}
elif [[ $device == cpu ]]; then
  python=$(command -v python)
else
  case $device in cuda) extra=cuda12 ;; tpu) extra=tpu ;; esac
  # First PyTorch: of what both bring, CUDA's libraries, JAX's choice is the later one.
  if [[ $device == cuda ]]; then ./launch.sh setup torch; fi
  ./launch.sh setup "${MLGCN_EXTRA:-$extra}"
  python=${VIRTUAL_ENV:-.venv}/bin/python
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

status=0
SECONDS=0
"$python" -m mlgcn_jax.cli doctor --json="$out/doctor.json" || status=$?
"$python" tests/gpu/checks.py --device="$device" --workdir="$out/runs" \
  --budget_s=210 --json="$out/checks.json" $small | tee "$out/table.txt" || status=$?
# All in about eight minutes, of which a case takes up to three. The step's program of T
# serves U.
measures=T,U,I,P,G,H,C budget_s=$((SECONDS < 240 ? 300 - SECONDS : 60))
if [[ -n $small ]]; then measures=U,H budget_s=0; fi
JAX_COMPILATION_CACHE_DIR=$out/cache "$python" -m mlgcn_jax.cli benchmark \
  --measures=$measures --budget_s=$budget_s --json="$out/benchmark.json" |
  tee -a "$out/table.txt" || status=$?
exit "$status"

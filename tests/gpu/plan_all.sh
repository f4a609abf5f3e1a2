#!/usr/bin/env bash
# What the compilers for accelerators say without hardware, run by hand (minutes a row):
#
#   tests/gpu/plan_all.sh OUT
#
# Plans configs/paper.py in bfloat16, 32 images a chip, for the chips whose compilers the
# environment of `python` has (the extras tpu, cuda12 and cuda13), with 40 labels and on
# one chip of two kinds with 2,000; writes OUT/NAME.json, and prints a table of them.
# Ends with 1 where a plan failed: OUT/NAME.log says why.
set -euo pipefail

out=${1:?usage: tests/gpu/plan_all.sh OUT}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

# Whether a distribution is installed whose name begins so.
has() {
  python -c 'import sys, importlib.metadata as m
names = [d.name.lower().replace("_", "-") for d in m.distributions()]
sys.exit(not any(name.startswith(sys.argv[1]) for name in names))' "$1"
}

topologies=()
if has libtpu; then topologies+=(v5e:1x1 v5p:1x1x1 v6e:1x1 v5e:2x4); fi
if has jax-cuda; then topologies+=(a100:1 h100:1 h200:1 h100:8); fi
((${#topologies[@]})) || { echo "no compiler: install the tpu or a cuda extra" >&2 && exit 2; }

status=0
# NAME TOPOLOGY IMAGES [ARGUMENT OF mlgcn plan ...]
plan() {
  rm -f "$out/$1.json"
  echo "$1" >&2
  python -m mlgcn_jax.cli plan configs/paper.py --topology="$2" --json="$out/$1.json" \
    --config.model.dtype=bfloat16 --config.batch_size="$3" "${@:4}" >"$out/$1.log" 2>&1 || status=1
}
for topology in "${topologies[@]}"; do
  case $topology in *:8 | *:2x4) images=256 ;; *) images=32 ;; esac
  plan "${topology/:/-}" "$topology" "$images"
  case $topology in v5e:1x1 | h100:1)
    plan "${topology/:/-}-2000" "$topology" "$images" --num_labels=2000 --num_edges=960000 ;;
  esac
done

python - "$out" <<'PYTHON'
import json, pathlib, sys
import jax

print("| chip | labels | jax | peak GiB a chip | GB an image | largest batch a chip |")
print("|---|---|---|---|---|---|")
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
    plan = json.loads(path.read_text())
    of, peak, size = plan["assumptions"], plan["peak_bytes_per_chip"], plan["bytes_per_image"]
    costs = (f"{peak / 2**30:.2f}", f"{size / 1e9:.3f}") if peak else ("too much", "-")
    cells = (of["topology"], of["num_labels"], jax.__version__, *costs, plan["largest_batch_per_chip"])
    print("|", " | ".join(map(str, cells)), "|")
PYTHON
exit "$status"

#!/usr/bin/env bash
# Gathers what a machine with JAX and PyTorch for a GPU, but without a network, lacks:
#
#   tests/gpu/make_wheels.sh FOLDER [PYTHON VERSION, 3.12 by default]
#
# 16 MB of wheels, in the versions and with the hashes of requirements/cpu.txt.
set -euo pipefail

folder=${1:?usage: tests/gpu/make_wheels.sh FOLDER [PYTHON VERSION]}
version=${2:-3.12}
lock=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/requirements/cpu.txt

lacking=(
  absl-py array-record docstring-parser dm-tree etils googleapis-common-protos grain
  imagehash immutabledict importlib-resources jaxtyping ml-collections portpicker
  pywavelets simple-parsing simplejpeg tensorboardx tensorflow-datasets
  tensorflow-metadata termcolor toml wadler-lindig
)

# Prints what the lock says of a package: its version and its hashes, a line each.
locked() {
  awk -v name="$1" 'index($0, name "==") == 1 { found = 1 }
    found { print } found && !/\\$/ { exit }' "$lock"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in "${lacking[@]}"; do locked "$name"; done >"$work/wheels.txt"
locked promise >"$work/source.txt" # it has no wheel in the index
platforms=()
for tag in 2_31 2_28 2_27 2_26 2_24 2_17; do platforms+=(--platform "manylinux_${tag}_x86_64"); done
mkdir -p "$folder"
python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder" \
  --python-version "$version" "${platforms[@]}" --platform manylinux2014_x86_64 \
  --platform manylinux1_x86_64 --require-hashes -r "$work/wheels.txt"
python3 -m pip wheel --quiet --no-deps --wheel-dir "$folder" \
  --require-hashes -r "$work/source.txt"
du -sh "$folder"

#!/usr/bin/env bash
# Runs the tests on a newer Python than this machine has, in a Debian root of its own.
#
#   sudo tests/newest_python.sh ROOT [SUITE] [PYTEST ARGUMENT ...]
#
# ROOT is a folder that is made the first time (1 GB, a few minutes), SUITE a release of
# Debian: trixie (13) has Python 3.13, forky (14, the default) Python 3.14. The commit that
# is checked out is cloned into the root and tested there by `./launch.sh test`.
#
# Needs debootstrap (apt-get install debootstrap) and the right to mount and chroot.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=${1:?usage: tests/newest_python.sh ROOT [SUITE] [PYTEST ARGUMENT ...]}
suite=${2:-forky}
shift $(($# < 2 ? $# : 2))

if [[ ! -x $root/usr/bin/python3 ]]; then
  mkdir -p "$root"
  scripts=/usr/share/debootstrap/scripts
  [[ -e $scripts/$suite ]] || ln -s sid "$scripts/$suite" # newer than this debootstrap
  debootstrap --variant=minbase --include=ca-certificates,git,procps,python3-venv \
    "$suite" "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/" # processes find each other by this host's name
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" # a proxy's among them

mounted=()
unmount() {
  for folder in "${mounted[@]}"; do umount "$folder"; done
}
trap unmount EXIT
for folder in proc dev dev/shm; do
  mount --bind "/$folder" "$root/$folder"
  mounted=("$root/$folder" "${mounted[@]}")
done

rm -rf "$root/mlgcn-jax/repository"
mkdir -p "$root/mlgcn-jax"
git clone --quiet "$repository" "$root/mlgcn-jax/repository"
chroot "$root" bash -c 'cd /mlgcn-jax/repository && ./launch.sh test "$@"' bash "$@"

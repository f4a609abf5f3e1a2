#!/usr/bin/env bash
# Trains a config with Open MPI, one process a host:
#   examples/openmpi.sh HOST,HOST,... configs/default.py --config.data_dir=DIR --workdir=RUN
# from the folder of the repository, which lies at the same place on all hosts. Rank 0
# runs on the first host; start this there, or set JAX_COORDINATOR_ADDRESS=HOST:PORT.
set -euo pipefail

hosts=$1
shift
exec mpirun --host "$hosts" --map-by ppr:1:node --bind-to none ./launch.sh "$@"

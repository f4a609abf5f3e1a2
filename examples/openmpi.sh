#!/usr/bin/env bash
# Trains a config with Open MPI, one process a host:
#   examples/openmpi.sh HOST,HOST,... configs/default.py --config.data_dir=DIR --workdir=RUN
# from the folder of the repository, which lies at the same place on all hosts. Rank 0
# runs on the first host; start this there, or set JAX_COORDINATOR_ADDRESS=HOST:PORT.
set -euo pipefail

hosts=$1
shift
# Seconds in which ranks may save once mpirun was told to stop (Open MPI 4).
export OMPI_MCA_odls_base_sigkill_timeout=30
exec mpirun --host "$hosts" --map-by ppr:1:node --bind-to none ./launch.sh "$@"

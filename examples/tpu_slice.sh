#!/usr/bin/env bash
# Trains a config on all hosts of a Cloud TPU slice:
#   examples/tpu_slice.sh TPU_NAME ZONE configs/default.py --config.data_dir=DIR --workdir=RUN
# The repository lies in ~/mlgcn-jax on every host (gcloud compute tpus tpu-vm scp
# --worker=all), DIR and RUN on storage that all hosts share.
set -euo pipefail

name=$1
zone=$2
shift 2
printf -v arguments ' %q' "$@"
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd mlgcn-jax && MLGCN_EXTRA=tpu ./launch.sh$arguments"

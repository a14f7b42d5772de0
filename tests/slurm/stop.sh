#!/bin/bash
# Ends the Slurm that start.sh started in FOLDER, its jobs first, by the process ids it wrote there.
set -uo pipefail
folder=$(realpath -m "${1:?usage: stop.sh FOLDER}")
export SLURM_CONF=$folder/slurm.conf PATH=${SLURM:+$SLURM/bin:$SLURM/sbin:}$PATH:/usr/sbin:/sbin
if jobs=$(timeout 10 squeue --noheader --format=%A 2> /dev/null) && [ -n "$jobs" ]; then
    scancel --full --signal=KILL $jobs
    scancel $jobs
    for _ in $(seq 50); do [ -z "$(squeue --noheader --format=%A)" ] && break; sleep 0.2; done
fi
for file in "$folder"/slurmd.*.pid "$folder"/slurmctld.pid "$folder"/munge/pid; do
    [ -f "$file" ] && kill "$(cat "$file")"
done
exit 0

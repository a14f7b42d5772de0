#!/bin/bash
# Ends the Slurm that start.sh started in FOLDER, by the process ids it wrote there.
set -uo pipefail
folder=$(realpath -m "${1:?usage: stop.sh FOLDER}")
for file in "$folder"/slurmd.*.pid "$folder"/slurmctld.pid "$folder"/munge/pid; do
    [ -f "$file" ] && kill "$(cat "$file")"
done
exit 0

#!/bin/bash
# Starts Debian's Slurm on this machine, two virtual nodes, with all its files in FOLDER; as root, after
#   apt-get install slurm-wlm munge
#   tests/slurm/start.sh FOLDER && export SLURM_CONF=FOLDER/slurm.conf        tests/slurm/stop.sh FOLDER ends it
set -euo pipefail
folder=$(realpath -m "${1:?usage: start.sh FOLDER}")
mkdir -p "$folder"/{log,ctld,d.n1,d.n2}
sed -e "s#FOLDER#$folder#g" -e "s/HOST\b/$(hostname)/g" "$(dirname "$0")/slurm.conf.in" > "$folder/slurm.conf"
export SLURM_CONF=$folder/slurm.conf
if ! munge -n > /dev/null 2>&1; then
    mkdir -p /run/munge
    chown munge: /run/munge
    runuser -u munge -- munged
fi
slurmctld
for node in n1 n2; do slurmd -N "$node"; done
for _ in $(seq 100); do
    [ "$(sinfo --noheader --states=idle --format=%D 2> /dev/null)" = 2 ] && exec sinfo
    sleep 0.2
done
echo "the nodes did not come up in 20 s; see $folder/log" >&2
exit 1

#!/bin/bash
# Starts Debian's Slurm on this machine, two virtual nodes, with all its files in FOLDER:
#   tests/slurm/start.sh FOLDER && export SLURM_CONF=FOLDER/slurm.conf        tests/slurm/stop.sh FOLDER ends it
# Any user may (tests/slurm/install.sh brings the packages); started by root it also runs the jobs of others.
set -euo pipefail
folder=$(realpath -m "${1:?usage: start.sh FOLDER}")
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$folder"/{log,ctld,d.n1,d.n2}
chmod 755 "$folder"

# A munge of its own: neither the system's key nor its daemon is touched.
mkdir -p "$folder/munge" && chmod 755 "$folder/munge"
(umask 077 && head -c 1024 /dev/urandom > "$folder/munge/key")
munged --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" --pid-file="$folder/munge/pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" > "$folder/munge/out" 2>&1 ||
    { cat "$folder/munge/out" >&2; exit 1; }

free() { ! (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
port=$((20000 + $$ % 1000 * 10))
until free $port && free $((port + 1)) && free $((port + 2)); do port=$((port + 10)); done
sed -e "s#FOLDER#$folder#g" -e "s/HOST\b/$(hostname)/g" -e "s/\bUSER\b/$(id -un)/g" \
    -e "s/PORT0/$port/g" -e "s/PORT1/$((port + 1))/g" -e "s/PORT2/$((port + 2))/g" \
    "$here/slurm.conf.in" > "$folder/slurm.conf"
export SLURM_CONF=$folder/slurm.conf
slurmctld
for node in n1 n2; do slurmd -N "$node"; done
for _ in $(seq 100); do
    [ "$(sinfo --noheader --partition=debug --states=idle --format=%D 2> /dev/null)" = 2 ] && exec sinfo
    sleep 0.2
done
echo "the nodes did not come up in 20 s; see $folder/log" >&2
exit 1

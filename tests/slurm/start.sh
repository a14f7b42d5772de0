#!/bin/bash
# Starts a Slurm on this machine, two virtual nodes, with all its files in FOLDER:
#   tests/slurm/start.sh FOLDER && export SLURM_CONF=FOLDER/slurm.conf        tests/slurm/stop.sh FOLDER ends it
# Any user may (tests/slurm/install.sh brings Debian's packages); started by root it also runs the jobs of others.
# SLURM=/path takes the installation there (its bin and sbin) instead of the one on the PATH. 22.05 to 26.05 were tried.
set -euo pipefail
folder=$(realpath -m "${1:?usage: start.sh FOLDER}")
here=$(cd "$(dirname "$0")" && pwd)
export PATH=${SLURM:+$SLURM/bin:$SLURM/sbin:}$PATH:/usr/sbin:/sbin
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
# The daemons listen at the address that this machine's own name has; where it has none, as in a bare chroot, or Debian's
# 127.0.1.1, which srun does not use, at any.
address=$(getent ahostsv4 "$(hostname)" | awk 'NR == 1 && !/^127[.]0[.]1[.]/ { print $1 }') || true
sed -e "s#FOLDER#$folder#g" -e "s/ADDRESS/${address:-127.0.0.1}/g" -e "s/HOST\b/$(hostname)/g" -e "s/\bUSER\b/$(id -un)/g" \
    -e "s/PORT0/$port/g" -e "s/PORT1/$((port + 1))/g" -e "s/PORT2/$((port + 2))/g" \
    "$here/slurm.conf.in" > "$folder/slurm.conf"
[ -n "$address" ] || sed -i '/^CommunicationParameters=/d' "$folder/slurm.conf"
export SLURM_CONF=$folder/slurm.conf

# From 23.11 on slurmd does not start where no cgroup is mounted, as in a bare chroot, unless it is told to do without;
# 22.05 does not know those words.
version=$(slurmctld -V | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
newer() { [ "$(printf '%s\n' "$1" "$version" | sort -V | head -n 1)" = "$1" ]; }
if newer 23.11 && ! grep -qE '^[^ ]+ [^ ]+ cgroup2? ' /proc/mounts; then
    echo "CgroupPlugin=disabled" > "$folder/cgroup.conf"
fi

slurmctld
for node in n1 n2; do slurmd -N "$node"; done
end=$((SECONDS + 40))
while [ $SECONDS -lt $end ]; do
    pid=$(cat "$folder/slurmctld.pid" 2> /dev/null) && ! kill -0 "$pid" 2> /dev/null && break  # each question would wait
    [ "$(timeout 10 sinfo --noheader --partition=debug --states=idle --format=%D 2> /dev/null)" = 2 ] && exec sinfo
    sleep 0.2
done
echo "Slurm $version: the nodes did not come up in 40 s; the last errors in $folder/log:" >&2
grep -hE 'error|fatal' "$folder"/log/* | tail -n 8 >&2
exit 1

#!/bin/bash
# Brings Slurm and munge for the tests, on Debian as root; elsewhere it says what is missing, and the tests skip.
export PATH=$PATH:/usr/sbin:/sbin
there() { command -v slurmctld > /dev/null && command -v slurmd > /dev/null && command -v munged > /dev/null; }
there && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "Slurm is missing: installing slurm-wlm and munge with apt-get" >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive timeout 300 \
        apt-get install -y -qq --no-install-recommends slurm-wlm munge; } > /dev/null 2>&1
fi
there || echo "no Slurm here: its tests are skipped; on Debian: apt-get install slurm-wlm munge" >&2
exit 0

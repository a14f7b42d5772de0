#!/bin/bash
# A simulated release of real field size as an array on a real Slurm of this machine; the task that writes a shard is
# killed with SIGKILL, started again by the launcher, and the stores are compared with those of one undisturbed process.
#   tests/slurm/release.sh FOLDER [SIZE OBJECTS]     11000 3000: 2 fields, 12 bands, 6 GB of memory, half an hour on 2 cores
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: release.sh FOLDER [SIZE OBJECTS]}" && cd "$1"
astrossl() { "${PYTHON:-python3}" -m hpc_astrossl "$@"; }
settings="stores.pretext.images=bands, stores.pretext.detected_in=0, stores.pretext.max_error=null, 'stores.pretext.disjoint_from=[]'"

[ -d survey ] || astrossl simulate survey --fields 2 --size "${2:-11000}" --objects "${3:-3000}"
mkdir -p preprocess && cp "$here/../../preprocess/simulated.yaml" preprocess/
cat > release.yaml <<END
experiment: release
preprocess:
  - {recipe: preprocess/simulated.yaml, source: survey, out: stores/pretext.zarr, settings: [$settings], tasks: 2}
  - {recipe: preprocess/simulated.yaml, source: survey, out: stores/SG.zarr, tasks: 2}
report: false
resources:
  all: {cpus: 1, memory_gb: 3, minutes: 60}
END
printf 'kind: slurm\ngpus_per_node: 0\nparallel: 2\n' > site.yaml

"$here/start.sh" slurm
trap '"$here/stop.sh" slurm' EXIT
export SLURM_CONF=$PWD/slurm/slurm.conf
astrossl submit release.yaml --cluster site.yaml --workdir .

writer() { # the process that holds the lock of the first shard
    for pid in $(pgrep -f submitit.core._submit); do
        readlink /proc/"$pid"/fd/* 2> /dev/null | grep -q "$PWD/stores/pretext.zarr.partial/locks/images-00000" && echo "$pid"
    done
    true
}
until pid=$(writer) && [ -n "$pid" ]; do
    [ ! -e stores/pretext.zarr ] || { echo "the shard was written before it could be killed; ask for more objects" >&2; exit 1; }
    sleep 0.2
done
kill -9 "$pid" && echo "killed process $pid, which was writing images-00000"
while [ -n "$(squeue --noheader)" ]; do sleep 2; done
astrossl status release --workdir .

set_all=()
while IFS= read -r setting; do set_all+=(--set "$setting"); done < <(tr -d "'" <<< "${settings//, /$'\n'}")
rm -rf undisturbed
astrossl preprocess preprocess/simulated.yaml --source survey --out undisturbed --store pretext --workers 1 "${set_all[@]}"
astrossl preprocess preprocess/simulated.yaml --source survey --out undisturbed --store SG --workers 1
for store in pretext SG; do
    diff -r stores/$store.zarr undisturbed/$store.zarr
    cmp stores/$store.rejected.csv undisturbed/$store.rejected.csv
done
echo "byte for byte the same as undisturbed"

#!/usr/bin/env bash
# Does this environment or image work? No network, no GPU needed; under a minute.
#
#   containers/check.sh train         # doctor, two Horovod ranks that must agree, real galaxies → store → a run → result
#   containers/check.sh preprocess    # doctor, real galaxies → store, checked deeply
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
what=${1:-train}
case "$what" in
    train | preprocess) ;;
    *) echo "check.sh: unknown check '$what'; allowed: train, preprocess" >&2; exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export HOME=$work  # horovodrun keeps a cache there, and an image may be without a home (--no-home)

astrossl doctor
astrossl preprocess "$here/preprocess/efigi.yaml" --source "$here/examples/efigi" --out stores --store EF-2 --set size=32
astrossl check stores/EF-2.zarr --deep
if [ "$what" = preprocess ]; then
    echo "check.sh: all of it works"
    exit 0
fi

cat > ranks.py <<'PYTHON'
import horovod.torch as hvd
import torch

hvd.init()
total = hvd.allreduce(torch.tensor([float(hvd.rank() + 1)]), op=hvd.Sum).item()
assert total == sum(range(1, hvd.size() + 1)), total
print(f"rank {hvd.rank()} of {hvd.size()}: sum {total:g}, as it must be")
PYTHON
horovodrun -np 2 --gloo python3 ranks.py

cat > tiny.yaml <<'YAML'
experiment: tiny
set: EF-2
scheme: scratch
seed: 0
data: {store: stores/EF-2.zarr, train_size: 16, batch_size: 8}
model: {hidden: 16}
phases:
  - {trains: all, optimizer: adam, learning_rate: 1e-4, epochs: 1}
YAML
astrossl train tiny.yaml
ls runs/tiny/*/result.json
echo "check.sh: all of it works"

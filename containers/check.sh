#!/usr/bin/env bash
# Does this environment or image work? doctor, and two real Horovod ranks that must agree. No network, no GPU needed.
set -euo pipefail

astrossl doctor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/ranks.py" <<'PYTHON'
import horovod.torch as hvd
import torch

hvd.init()
total = hvd.allreduce(torch.tensor([float(hvd.rank() + 1)]), op=hvd.Sum).item()
assert total == sum(range(1, hvd.size() + 1)), total
print(f"rank {hvd.rank()} of {hvd.size()}: sum {total:g}, as it must be")
PYTHON
horovodrun -np 2 --gloo python3 "$work/ranks.py"
echo "check.sh: all of it works"

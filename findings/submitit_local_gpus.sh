#!/usr/bin/env bash
# submitit's local executor starts every element of map_array at once, whatever slurm_array_parallelism says, and gives each
# that asked for one GPU the same one: CUDA_VISIBLE_DEVICES is 0 in all of them. Needs neither Slurm nor a GPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install submitit==1.5.4 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && mkdir seen && cat > run.py <<'PY'
import submitit


def element(number):
    """Waits until four elements have begun, or 60 s."""
    import os
    import pathlib
    import time

    pathlib.Path(f"seen/{number}").touch()
    for _ in range(600):
        if len(os.listdir("seen")) == 4:
            break
        time.sleep(0.1)
    return len(os.listdir("seen")), os.environ.get("CUDA_VISIBLE_DEVICES")


if __name__ == "__main__":
    print("submitit", submitit.__version__)
    executor = submitit.AutoExecutor("log", cluster="local")
    executor.update_parameters(gpus_per_node=1, timeout_min=5, slurm_array_parallelism=1)
    found = [job.result() for job in executor.map_array(element, range(4))]
    for number, (begun, devices) in enumerate(found):
        print(f"element {number}: {begun} had begun before it ended; CUDA_VISIBLE_DEVICES={devices}")
    assert all(begun == 4 for begun, _ in found)
    assert {devices for _, devices in found} == {"0"}
PY
venv/bin/python run.py

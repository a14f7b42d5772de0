#!/usr/bin/env bash
# Build the Horovod wheel that this project uses, from the sdist on PyPI, against the torch of a given interpreter.
#
#   containers/build_horovod.sh cpu    # Gloo; needs g++, make, cmake and the Python headers
#   containers/build_horovod.sh nccl   # Gloo and NCCL; the CUDA compiler comes from PyPI (docs/hpc.md)
#
# Prints the wheel's path as its last line. Wheels are cached outside the tree and keyed by everything that
# decides what is in them, so that the second call costs nothing. Horovod's last release is from 2023; the
# edits that make it build and behave with today's torch are in horovod_edits.py, each with its reason.
set -euo pipefail

variant=${1:-cpu}
python=${PYTHON:-python3}
version=0.28.1
sha256=92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0  # of its sdist
here=$(cd "$(dirname "$0")" && pwd)
cache=${ASTROSSL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hpc_astrossl}/wheels

case "$variant" in
    cpu | nccl) ;;
    *) echo "build_horovod.sh: unknown variant '$variant'; allowed: cpu, nccl" >&2; exit 2 ;;
esac
for tool in g++ make cmake; do
    command -v "$tool" >/dev/null || {
        echo "build_horovod.sh: $tool is missing; on Debian: apt-get install g++ make cmake" >&2; exit 2; }
done

torch=$("$python" -c 'import torch; print(torch.__version__)') || {
    echo "build_horovod.sh: $python cannot import torch; set PYTHON to the interpreter it is for" >&2; exit 2; }
abi=$("$python" -c 'import platform, sys; print("cp%d%d-%s-%s" % (*sys.version_info[:2], platform.machine(), platform.libc_ver()[1]))')
edits=$(cat "$here/horovod_edits.py" "$0" | sha256sum | cut -c1-12)
slot=$cache/horovod-$version-$variant-torch$torch-$abi-$edits
done_wheel() { find "$slot" -maxdepth 1 -name 'horovod-*.whl' 2>/dev/null | head -n 1; }

if [ -n "$(done_wheel)" ]; then done_wheel; exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "building Horovod $version ($variant) for torch $torch; about 4 minutes on 2 cores" >&2
echo "horovod==$version --hash=sha256:$sha256" >"$work/horovod.txt"  # pip compares before it runs anything of it
"$python" -m pip download --quiet --no-deps --no-build-isolation --no-binary=:all: -d "$work" \
    --require-hashes -r "$work/horovod.txt" >&2
tar -xzf "$work/horovod-$version.tar.gz" -C "$work"
source=$work/horovod-$version
"$python" "$here/horovod_edits.py" "$source"

export HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_CPU_OPERATIONS=GLOO
export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1
export MAKEFLAGS=${MAKEFLAGS:--j$(nproc)}
# CMake 4 refuses projects of CMake 2.8, as the bundled Gloo and flatbuffers are; since GCC 13 few headers bring <cstdint>.
export CMAKE_POLICY_VERSION_MINIMUM=3.5 CXXFLAGS="${CXXFLAGS:-} -include cstdint"
if [ "$variant" = cpu ]; then
    export HOROVOD_WITHOUT_CUDA=1
else
    # nvcc, the runtime headers and NCCL as PyPI packages: the machine needs no CUDA toolkit of its own.
    "$python" -m pip install --quiet --no-deps --require-hashes --target "$work/cuda" -r "$here/cuda.lock" >&2
    toolkit=$work/cuda/nvidia/cu13
    mkdir -p "$toolkit/targets/x86_64-linux"
    ln -sfn lib "$toolkit/lib64"
    ln -sfn libcudart.so.13 "$toolkit/lib/libcudart.so"
    ln -sfn ../../include "$toolkit/targets/x86_64-linux/include"
    ln -sfn ../../lib "$toolkit/targets/x86_64-linux/lib"
    nccl=$work/nccl
    mkdir -p "$nccl/lib"
    site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
    ln -sfn "$site/nvidia/nccl/include" "$nccl/include"
    ln -sfn "$site/nvidia/nccl/lib/libnccl.so.2" "$nccl/lib/libnccl.so"   # pip ships no libnccl.so
    export PATH=$toolkit/bin:$PATH CUDA_HOME=$toolkit HOROVOD_CUDA_HOME=$toolkit CUDAToolkit_ROOT=$toolkit
    export HOROVOD_GPU=CUDA HOROVOD_GPU_OPERATIONS=NCCL HOROVOD_NCCL_HOME=$nccl HOROVOD_NCCL_LINK=SHARED
    export HOROVOD_BUILD_CUDA_CC_LIST=${HOROVOD_BUILD_CUDA_CC_LIST:-80,90,100}
fi

log=$work/build.log
if ! "$python" -m pip wheel --no-build-isolation --no-deps -v -w "$work/wheels" "$source" >"$log" 2>&1; then
    mkdir -p "$cache" && cp "$log" "$cache/horovod-build.log"
    "$here/first_error.sh" "$log" >&2
    echo "build_horovod.sh: the build failed; its first error is above, its whole log is $cache/horovod-build.log" >&2
    exit 1
fi
mkdir -p "$slot"
built=$(find "$work/wheels" -name 'horovod-*.whl')
cp "$built" "$slot/.partial" && mv "$slot/.partial" "$slot/$(basename "$built")"
done_wheel

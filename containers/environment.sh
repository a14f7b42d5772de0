#!/usr/bin/env bash
# Make a Python environment with what a job needs, at the tested versions of constraints.txt, each file of which is held
# against its SHA-256 in requirements.lock.
#
#   containers/environment.sh demo .venv    # everything the demo runs: simulate, preprocess, train, report
#   containers/environment.sh test .venv    # that, the Horovod wheel (built when it is not cached) and the test tools
#
# Run again it finds its stamp and returns at once; a change of setup.cfg or of the pins makes it install again.
set -euo pipefail

purpose=${1:?usage: environment.sh demo|test FOLDER}
venv=${2:?usage: environment.sh demo|test FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
python=${PYTHON:-python3}

case "$purpose" in
    demo) extras=single,simulate,report ;;
    test) extras=train,simulate,report,explore,test ;;
    *) echo "environment.sh: unknown purpose '$purpose'; allowed: demo, test" >&2; exit 2 ;;
esac

# need TOOL-TEST PACKAGES...: on Debian as root install what is missing, else name the command that does.
need() {
    local name=$1 test=$2; shift 2
    if eval "$test" >/dev/null 2>&1; then return; fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "$name is missing: installing $* with apt-get" >&2
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    fi
    eval "$test" >/dev/null 2>&1 || { echo "$name is missing; on Debian: apt-get install $*" >&2; exit 2; }
}

need "Python 3.11 or newer" "$python -c 'import sys; assert sys.version_info >= (3, 11)'" python3
need "Python's venv module" "$python -c 'import ensurepip, venv'" python3-venv
if [ "$purpose" = test ]; then
    # Without these Horovod cannot be built, and everything else can be tested.
    (need "a C++ compiler" "command -v g++" g++) || true
    (need "make" "command -v make" make) || true
    (need "CMake" "command -v cmake" cmake) || true
    (need "the Python headers" \
        "test -e \$($python -c 'import sysconfig; print(sysconfig.get_paths()[\"include\"])')/Python.h" python3-dev) || true
fi

wanted=$(cat "$root/setup.cfg" "$here/constraints.txt" "$here/requirements.lock" "$here/build_horovod.sh" "$here/horovod_edits.py" | sha256sum)
stamp=$venv/.astrossl-$purpose without=$venv/.astrossl-without-horovod
told() { echo "no Horovod here, its build failed: torch.distributed serves several ranks, and the tests of Horovod are skipped; remove $without to try again" >&2; }
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$wanted $root" ] && { [ "$purpose" = demo ] || [ -e "$venv/.astrossl-horovod" ] || [ -e "$without" ]; }; then
    if [ "$purpose" = test ] && [ -e "$without" ]; then told; fi
    exit 0
fi

echo "setting up $venv for '$purpose' (about 6 GB; minutes the first time)" >&2
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
case "$(uname -sm) $("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" in
    "Linux x86_64 3.11" | "Linux x86_64 3.12" | "Linux x86_64 3.13")
        pip install --quiet --require-hashes --no-deps -r "$here/requirements.lock" ;;
    *)
        echo "requirements.lock has no sums for this system and Python: the versions alone are held to" >&2
        pip install --quiet -c "$here/constraints.txt" setuptools wheel packaging cffi torch torchvision numpy ;;
esac
if [ "$purpose" = test ]; then
    # The wheel that this build is for comes first: the extra [train] is then satisfied and builds nothing.
    if wheel=$(LC_ALL=C.UTF-8 PYTHON=$(realpath -s "$venv/bin/python") "$here/build_horovod.sh" cpu); then
        pip install --quiet -c "$here/constraints.txt" "$wheel"
        rm -f "$without"
        touch "$venv/.astrossl-horovod"
    else
        extras=${extras/train/single}
        touch "$without"
        told
    fi
fi
pip install --quiet --no-build-isolation -c "$here/constraints.txt" -e "$root[$extras]"
echo "$wanted $root" > "$stamp"

"""The edits that Horovod 0.28.1's source needs, applied in place: ``horovod_edits.py SOURCE_FOLDER``.

Each edit states the file, the text found and the text put there, and how often it must occur. A source in which
an edit does not fit exactly is refused, so that a new release is never half edited.
"""

import sys
from pathlib import Path

WITHOUT_CUDA = "DEFINED ENV{HOROVOD_WITHOUT_CUDA}"

EDITS = [
    # torch's headers need C++20; Horovod asks for C++14.
    ("CMakeLists.txt", "set(CMAKE_CXX_STANDARD 14)", "set(CMAKE_CXX_STANDARD 20)", 1),
    ("horovod/torch/CMakeLists.txt", "set(CMAKE_CXX_STANDARD 14)", "set(CMAKE_CXX_STANDARD 20)", 1),
    # A bug: the vector is written as if it had elements, its size stays 0, and the stall check loops over
    # nothing. With this a rank stuck in Python ends the run instead of hanging it for ever.
    ("horovod/common/gloo/gloo_controller.cc", "global_ranks_.reserve(size_);", "global_ranks_.resize(size_);", 1),
    # GCC 14: no header that is included here brings std::string any more.
    ("horovod/common/group_table.h", "#include <unordered_map>\n", "#include <string>\n#include <unordered_map>\n", 1),
    # GCC 14 looks into templates that nobody uses: a constant member in a class that assigns to it.
    (
        "third_party/flatbuffers/include/flatbuffers/stl_emulation.h",
        "const size_type count_;",
        "size_type count_;",
        1,
    ),
    # A switch to leave CUDA out although a toolkit is installed: unsetting CUDA_HOME is not enough, since both
    # CMake and torch also look in the default place.
    (
        "CMakeLists.txt",
        "check_language(CUDA)\nif(NOT CMAKE_CUDA_COMPILER)\n",
        f"if(NOT {WITHOUT_CUDA})\ncheck_language(CUDA)\nendif()\nif(NOT CMAKE_CUDA_COMPILER AND NOT {WITHOUT_CUDA})\n",
        1,
    ),
    (
        "cmake/Modules/FindPytorch.cmake",
        'string(TOUPPER "${Pytorch_CUDA}" Pytorch_CUDA)',
        f'string(TOUPPER "${{Pytorch_CUDA}}" Pytorch_CUDA)\nif({WITHOUT_CUDA})\n    set(Pytorch_CUDA "FALSE")\nendif()',
        1,
    ),
]


def apply(source: Path) -> None:
    """Apply every edit under ``source``; raise SystemExit(2) when one does not fit."""
    for name, old, new, times in EDITS:
        path = source / name
        text = path.read_text()
        if text.count(old) != times:
            sys.exit(f"horovod_edits: {name} holds {old.splitlines()[0]!r} {text.count(old)} times, expected {times}")
        path.write_text(text.replace(old, new))


if __name__ == "__main__":
    apply(Path(sys.argv[1]))

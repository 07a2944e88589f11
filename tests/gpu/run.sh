#!/usr/bin/env bash
# Is a GPU right, and how fast is it? Losses of 50 steps beside the CPU's for every
# architecture, then tokens per second and model FLOP/s utilisation.
#
#   tests/gpu/run.sh                     on a machine with nvcc and a GPU
#   tests/gpu/run.sh --device reference  without a GPU: its operations, on the CPU
#
# Or in two places: `tests/gpu/build.sh` where there is a compiler, then, where the GPU is,
# with the repository and that binary:
#
#   CLOZE_BIN=path/to/cloze tests/gpu/run.sh
#
# Options are those of compare.py. Needs Python 3.9 or newer, nothing else.
set -euo pipefail
folder="$(cd "$(dirname "$0")" && pwd)"

cd "$folder/../.."
binary="${CLOZE_BIN:-}"
if [[ -z "$binary" && " $* " == *" reference "* ]]; then
    # A build with CUDA does not start where there is no driver.
    cargo build --release --locked
    binary="${CARGO_TARGET_DIR:-target}/release/cloze"
elif [[ -z "$binary" ]]; then
    binary=$("$folder/build.sh")
fi
# Where CUDA's libraries came with Python packages (PyTorch's, or build.sh's) and not with
# the system.
if ! ldconfig -p 2>/dev/null | grep -q 'libcublas\.so\.13'; then
    site=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cache="${XDG_CACHE_HOME:-$HOME/.cache}/cloze/cuda"
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}:$site/nvidia/cu13/lib:$cache/nvidia/cu13/lib"
fi
exec python3 "$folder/compare.py" "$binary" "$@"

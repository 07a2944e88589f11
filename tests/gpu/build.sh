#!/usr/bin/env bash
# Builds cloze with CUDA, on a machine with a GPU or without one, and prints the binary's
# path.
#
#   tests/gpu/build.sh
#
# With nvcc on the PATH (or CUDA_HOME set), it builds with that. Without, it makes a toolkit
# of NVIDIA's packages on PyPI (660 MB, once; 1.9 GB unpacked and unneeded after) and a stub
# of the driver's library to link against. CUDA_COMPUTE_CAP (90, Hopper) is the GPU's
# compute capability without the point.
#
# The first build takes about 15 minutes of CPU. It has a target folder of its own
# (CLOZE_CUDA_TARGET), so that the ordinary builds stay as they are.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/cloze/cuda"
target="${CLOZE_CUDA_TARGET:-$PWD/target/cuda}"
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-90}"

# One release of CUDA: nvcc 13.0 writes PTX 9.0, which the drivers from 580 on read.
packages=(
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88
    nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35
)

toolkit_of_wheels() {
    local home="$cache/nvidia/cu13" wheel name
    if [[ ! -e "$cache/ready" ]]; then
        mkdir -p "$cache/wheels"
        python3 -m pip download --quiet --disable-pip-version-check --no-deps \
            --dest "$cache/wheels" "${packages[@]}"
        for wheel in "$cache"/wheels/*.whl; do
            python3 -m zipfile -e "$wheel" "$cache"
        done
        chmod +x "$home"/bin/* "$home"/nvvm/bin/*
        for name in cublas cublasLt curand nvrtc cudart; do
            ln -sf "$(basename "$home/lib/lib$name".so.*)" "$home/lib/lib$name.so"
        done
        ln -sfn lib "$home/lib64"
        mkdir -p "$home/lib/stubs"
        touch "$cache/ready"
    fi
    stub_of_the_driver "$home/lib/stubs"
    export CUDA_HOME="$home"
}

# The driver comes with the GPU. To link, a library of its name has to define the names
# that the bindings call.
stub_of_the_driver() {
    local bindings
    bindings=$(cargo metadata --locked --format-version 1 --features cuda | python3 -c '
import json, pathlib, sys
packages = json.load(sys.stdin)["packages"]
[found] = [p["manifest_path"] for p in packages if p["name"] == "cudarc"]
print(pathlib.Path(found).parent / "src/driver/sys/mod.rs")')
    grep -oE '\bfn cu[A-Z][A-Za-z0-9_]*' "$bindings" | sort -u \
        | sed -E 's/fn (.*)/void \1(void) {}/' >"$1/libcuda.c"
    cc -shared -Wl,-soname,libcuda.so.1 -o "$1/libcuda.so" "$1/libcuda.c"
}

if ! command -v nvcc >/dev/null && [[ ! -x "${CUDA_HOME:-}/bin/nvcc" ]]; then
    toolkit_of_wheels >&2
fi
if [[ -n "${CUDA_HOME:-}" ]]; then
    export CUDA_ROOT="$CUDA_HOME" CUDA_PATH="$CUDA_HOME" PATH="$CUDA_HOME/bin:$PATH"
    export LIBRARY_PATH="$CUDA_HOME/lib64:$CUDA_HOME/lib64/stubs:${LIBRARY_PATH:-}"
fi
cargo build --release --locked --features cuda --target-dir "$target" -j "${JOBS:-1}" >&2
echo "$target/release/cloze"

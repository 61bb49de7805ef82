# SPDX-License-Identifier: Apache-2.0
"""Plants faults in the kernels and checks that the suite finds each: the negative control of tests/gpu.

Usage: faults.py [--only NUMBER ...] [--build gpu ...]. Needs the builds gpu, gpu-asan and gpu-tsan of gpu_test. A fault
is a text of a source that is replaced by another one. The changed source is compiled, linked before the build's own
library and run. Prints a Markdown table; exit code 1 if a fault was not found.
"""

import argparse
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SANITIZE = {"gpu": [], "gpu-asan": ["-fsanitize=address,undefined"], "gpu-tsan": ["-fsanitize=thread"]}


@dataclasses.dataclass
class Fault:
    """One wrong kernel: `old` of the file `where` becomes `new`; `found_by` is the build whose run must fail."""

    what: str
    where: str
    old: str
    new: str
    kernel: str
    tests: str
    found_by: str


FAULTS = [
    Fault(
        "no barrier in a block's sum", "device.h",
        "if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = value;\n  __syncthreads();\n  float sum = 0;",
        "if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = value;\n  float sum = 0;",
        "norm.cu", "NormTest.Adds*", "gpu",
    ),
    Fault(
        "threads leave before a barrier", "norm.cu",
        "  float4 value[kVectors];\n", "  float4 value[kVectors];\n  if (tid >= vectors) return;\n",
        "norm.cu", "NormTest.Adds*", "gpu",
    ),
    Fault(
        "shared memory used again too early", "norm.cu",
        "BlockSum<kThreads>(squares, shared.of_h)", "BlockSum<kThreads>(squares, shared.of_y)",
        "norm.cu", "NormTest.Gives*", "gpu-tsan",
    ),
    Fault(
        "one write past the row", "norm.cu",
        "if (at < vectors) StoreFour", "if (at <= vectors) StoreFour",
        "norm.cu", "NormTest.Gives*", "gpu-asan",
    ),
    Fault(
        "no wait for the launch before", "norm.cu",
        "  WaitForPredecessor();\n", "",
        "norm.cu", "NormTest.Waits*", "gpu-tsan",
    ),
    Fault(
        "the maximum of a warp for that of the block", "gate.cu",
        "BlockMax<kThreads>(most, shared.most)", "WarpMax(most)",
        "gate.cu", "GateTest.*:ConvertTest.*", "gpu",
    ),
    Fault(
        "no barrier between lanes of a warp", "rope.cu",
        "    __syncwarp();", "    //",
        "rope.cu", "RotateTest.*", "gpu-tsan",
    ),
    Fault(
        "rows are read before they are staged", "skinny.cu",
        "count, &shared);\n    __syncthreads();", "count, &shared);",
        "skinny.cu", "SkinnyTest.Multiplies*", "gpu",
    ),
    Fault(
        "rows are overwritten while they are read", "skinny.cu",
        "    if (stage > first) __syncthreads();", "    //",
        "skinny.cu", "SkinnyTest.Brings*", "gpu-tsan",
    ),
    Fault(
        "no fence between a block's sums and its count", "skinny.cu",
        "    __threadfence();  // the block's sums come before its count\n", "",
        "skinny.cu", "SkinnyTest.Multiplies*", "gpu-tsan",
    ),
    Fault(
        "no barrier between a block's sums and its count", "skinny.cu",
        "  if (splits == 1) return;\n  __syncthreads();\n", "  if (splits == 1) return;\n",
        "skinny.cu", "SkinnyTest.Multiplies*", "gpu-tsan",
    ),
    Fault(
        "chunks are read as if they were not swizzled", "skinny.cu",
        "(half * 4 + pair) ^ group", "half * 4 + pair",
        "skinny.cu", "SkinnyTest.Multiplies*", "gpu",
    ),
    Fault(
        "a part ends one tile early", "skinny.cu",
        "last = steps * (split + 1) / splits;", "last = steps * (split + 1) / splits - (split > 0);",
        "skinny.cu", "SkinnyTest.Multiplies*", "gpu",
    ),
    Fault(
        "a counter stays as it was", "skinny.cu",
        "  if (tid == 0) atomicExch(arrived, 0u);\n", "",
        "skinny.cu", "SkinnyTest.Multiplies*", "gpu",
    ),
    Fault(
        "parts are added in the order of arrival", "skinny.cu",
        "partial[split * part + ", "partial[(split + blockIdx.y) % splits * part + ",
        "skinny.cu", "SkinnyTest.ARowHasTheSameBits*", "gpu",
    ),
    Fault(
        "weights are made before all scores are there", "decode_attention.cu",
        "count, &shared);\n  __syncthreads();\n  Weigh", "count, &shared);\n  Weigh",
        "decode_attention.cu", "DecodeAttentionTest.Matches*", "gpu",
    ),
    Fault(
        "a key too many", "decode_attention.cu",
        "min(kKeysOfPart, end - first);", "min(kKeysOfPart, end - first + 1);",
        "decode_attention.cu", "DecodeAttentionTest.Matches*", "gpu",
    ),
    Fault(
        "no fence between a count and the other parts", "decode_attention.cu",
        "    __threadfence();  // the count comes before the other parts\n", "",
        "decode_attention.cu", "DecodeAttentionTest.Joins*", "gpu-tsan",
    ),
    Fault(
        "one group of copies is not waited for", "gemm.cu",
        "WaitCopies<kStages - 2>();", "WaitCopies<kStages - 1>();",
        "gemm.cu", "GemmTest.Multiplies*", "gpu",
    ),
    Fault(
        "copies take the place of a tile that is read", "gemm.cu",
        "next = step + kStages - 1, place = next % kStages;", "next = step + kStages - 1, place = step % kStages;",
        "gemm.cu", "GemmTest.Multiplies*", "gpu",
    ),
    Fault(
        "no barrier between copies and their readers", "gemm.cu",
        "    __syncthreads();  // the tile is there, and the one before it was read\n", "",
        "gemm.cu", "GemmTest.Multiplies*", "gpu-tsan",
    ),
    Fault(
        "a tile is read as if it were not swizzled", "gemm.cu",
        "&w[output][PlaceOf(output, pair + lane / 8 % 2)]", "&w[output][(pair + lane / 8 % 2) * kChunkBytes]",
        "gemm.cu", "GemmTest.Multiplies*", "gpu",
    ),
    Fault(
        "keys are read before they arrive", "prompt_attention.cu",
        "WaitCopies<1>();", "WaitCopies<2>();",
        "prompt_attention.cu", "PromptAttentionTest.Matches*", "gpu",
    ),
    Fault(
        "copies take a tile's place too early", "prompt_attention.cu",
        "    __syncthreads();  // before the next copies take this tile's place\n", "",
        "prompt_attention.cu", "PromptAttentionTest.Matches*", "gpu-tsan",
    ),
    Fault(
        "a key past the end counts", "prompt_attention.cu",
        "key < tokens ? score", "key <= tokens ? score",
        "prompt_attention.cu", "PromptAttentionTest.Matches*", "gpu",
    ),
    Fault(
        "the best id is read before all threads brought theirs", "choose.cu",
        "  atomicMax(&shared->best, best);\n  __syncthreads();\n", "  atomicMax(&shared->best, best);\n",
        "choose.cu", "ChooseTest.Follows*", "gpu",
    ),
    Fault(
        "the last of a run of equal scores is taken", "choose.cu",
        "(0xffffffffu - static_cast<unsigned>(i))", "static_cast<unsigned>(i)",
        "choose.cu", "ChooseTest.Follows*", "gpu",
    ),
]  # fmt: skip


def build(fault: Fault, folder: pathlib.Path) -> pathlib.Path:
    """Compiles and links the faulty program; returns its path."""
    binary = ROOT / "build" / fault.found_by
    source = (ROOT / "core/gpu" / fault.where).read_text()
    if source.count(fault.old) != 1:
        sys.exit(f"faults.py: {fault.what}: the text stands {source.count(fault.old)} times in {fault.where}")
    changed = folder / "core/gpu" / fault.where
    changed.parent.mkdir(parents=True)
    changed.write_text(source.replace(fault.old, fault.new))
    kernel = folder / "core/gpu" / fault.kernel
    kernel = kernel if kernel.exists() else ROOT / "core/gpu" / fault.kernel
    flags = ["-std=c++20", "-O2", "-g", "-w", "-DPG_EMULATED", *SANITIZE[fault.found_by]]
    include = [f"-I{folder}", f"-I{ROOT}", f"-I{ROOT}/tests/gpu", "-isystem", os.environ["PG_CUDA_HOME"] + "/include"]
    subprocess.run(["g++", *flags, *include, "-x", "c++", "-c", kernel, "-o", folder / "kernel.o"], check=True)
    objects = sorted((binary / "tests/gpu/CMakeFiles/gpu_test.dir").glob("*.o"))
    libraries = [binary / "core/gpu/libpaligemma_gpu.a", binary / "tests/gpu/libpaligemma_emulator.a", "-lgtest"]
    program = folder / "faulty"
    link = ["g++", *SANITIZE[fault.found_by], *objects, folder / "kernel.o", *libraries, "-lpthread"]
    subprocess.run([*link, "-o", program], check=True)
    return program


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of faults")
    parser.add_argument("--build", nargs="*", default=list(SANITIZE), help="faults that these builds find")
    options = parser.parse_args()
    missed = 0
    print("| | fault | kernel | build | found |\n|---|---|---|---|---|")
    for number, fault in enumerate(FAULTS, start=1):
        if fault.found_by not in options.build or (options.only and number not in options.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            program = build(fault, pathlib.Path(folder))
            command = [program, f"--gtest_filter={fault.tests}"]
            environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1"}
            done = subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False)
        found = done.returncode != 0
        missed += not found
        answer = "yes" if found else "NO"
        print(f"| {number} | {fault.what} | {fault.kernel} | {fault.found_by} | {answer} |", flush=True)
    print(f"faults: {missed} not found")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())

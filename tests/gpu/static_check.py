# SPDX-License-Identifier: Apache-2.0
"""What compiled kernels say without a GPU: registers, spills, occupancy, and the instructions of their main loops.

Usage: static_check.py NVDISASM LIMITS FOLDER. FOLDER holds NAME.ARCH.cubin and, beside it, what ptxas said of it
(-Xptxas=-v) as NAME.ARCH.log. Prints a Markdown table; exit code 1 where a limit is broken. LIMITS is a JSON object,
from a kernel's name with its template arguments to
  threads, shared  of a block, the shared memory in bytes
  blocks           the least number of blocks that a multiprocessor must hold
  loop             the least counts of instructions in the main loop: the loop with most of the first of them
  absent           instructions that the main loop must not hold
Kernels that LIMITS does not name may use no local memory either: a spill breaks a limit in every kernel.
"""

import collections
import functools
import json
import pathlib
import re
import subprocess
import sys

# Registers, threads, blocks and shared memory of a multiprocessor.
CHIPS = {"80": (65536, 2048, 32, 164 << 10), "90a": (65536, 2048, 32, 228 << 10)}
KINDS = [  # the first pattern that fits names the instruction
    ("LDG.128", r"LDG\.E(\.\w+)*\.128"), ("LDG.64", r"LDG\.E(\.\w+)*\.64"), ("LDG", r"LDG"), ("LDGSTS", r"LDGSTS"),
    ("STG", r"STG"), ("LDSM", r"LDSM"), ("LDS", r"LDS"), ("STS", r"STS"), ("local", r"(LDL|STL)"), ("HMMA", r"HMMA"),
    ("IMMA", r"IMMA"), ("MUFU", r"MUFU"), ("FFMA", r"FFMA"), ("BAR", r"BAR"), ("SHFL", r"SHFL"),
]  # fmt: skip
LABEL = re.compile(r"(\.L_x_\d+):")
INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]+\*/\s+(@!?U?P\w+ )?\s*([A-Z][\w.]*)(.*)")
USAGE = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


def blocks_of_multiprocessor(arch: str, registers: int, threads: int, shared: int) -> int:
    """How many blocks a multiprocessor holds; registers come in units of 256 a warp, in four files."""
    all_registers, all_threads, all_blocks, all_shared = CHIPS[arch]
    warps = -(-threads // 32)
    of_warp = -(-registers * 32 // 256) * 256
    by_registers = all_registers // 4 // of_warp * 4 // warps
    by_shared = all_shared // (-(-(shared + 1024) // 128) * 128)
    return min(all_blocks, all_threads // threads, by_registers, by_shared)


def short_name(mangled: str) -> str:
    """The kernel's name and its template arguments: SkinnyKernel<float, 1>."""
    name = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout.strip()
    name = re.sub(r"\(anonymous namespace\)::", "", name)
    name = re.sub(r"\((paligemma::gpu::)?(Type|int)\)", "", name)
    name = re.sub(r"(\w+::)+", "", name)
    name = re.sub(r"^void ", "", name)
    depth, end = 0, len(name)
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            end = i
            break
    return name[:end]


@functools.cache
def kind_of(instruction: str) -> str | None:
    """The name in KINDS of an instruction."""
    return next((kind for kind, pattern in KINDS if re.match(pattern + r"(\.|$)", instruction)), None)


def loops_of(lines: list[str]) -> list[collections.Counter]:
    """Counts of instructions, one Counter a loop (the loops inside it included); `all` is its length."""
    labels: dict[str, int] = {}
    code: list[tuple[str, str]] = []
    for line in lines:
        if label := LABEL.match(line.strip()):
            labels[label[1]] = len(code)
        elif "@!PT" not in line and (instruction := INSTRUCTION.match(line)):
            code.append((instruction[2], instruction[3]))
    counts = []
    for at, (name, rest) in enumerate(code):
        target = re.search(r"\(?(\.L_x_\d+)", rest)
        if not (name.startswith("BRA") and target and labels.get(target[1], at + 1) < at):
            continue
        first = labels[target[1]]
        count = collections.Counter(all=at - first + 1)
        for inner, _ in code[first : at + 1]:
            if kind := kind_of(inner):
                count[kind] += 1
        counts.append(count)
    return counts


def check(name: str, arch: str, usage: tuple[int, ...], lines: list[str], limit: dict) -> tuple[str, list[str]]:
    """One kernel's row of the table, and the limits that it breaks."""
    stack, stores, loads, registers = usage
    threads, shared = limit.get("threads", 256), limit.get("shared", 0)
    blocks = blocks_of_multiprocessor(arch, registers, threads, shared)
    wanted = limit.get("loop", {})
    first = next(iter(wanted), "all")
    loop = max(loops_of(lines), key=lambda count: (count[first], -count["all"]), default=collections.Counter())
    text = ", ".join(f"{n} {kind}" for kind, n in sorted(loop.items(), key=lambda item: -item[1]) if kind != "all")
    broken = []
    if stores + loads > 0 or stack > limit.get("stack", 0):
        broken.append(f"{stack} bytes of stack, {stores + loads} of spills")
    if blocks < limit.get("blocks", 1):
        broken.append(f"{blocks} blocks a multiprocessor, {limit['blocks']} wanted")
    broken += [f"{loop[kind]} {kind} in its main loop, {n} wanted" for kind, n in wanted.items() if loop[kind] < n]
    broken += [f"{loop[kind]} {kind} in its main loop" for kind in limit.get("absent", []) if loop[kind]]
    shown = f"{loop['all']}: {text}" if wanted else ""
    warps = blocks * threads // 32
    row = f"| {name} | {arch} | {registers} | {stores + loads} | {shared} | {blocks} ({warps}) | {shown} |"
    return row, [f"{name} sm_{arch}: {what}" for what in broken]


def main() -> int:
    """Returns the exit code."""
    nvdisasm, limits_file, folder = sys.argv[1:4]
    limits = json.loads(pathlib.Path(limits_file).read_text())
    broken, seen = [], set()
    print("| kernel | sm | registers | spills | shared | blocks/SM (warps) | main loop: instructions |")
    print("|---|---|---|---|---|---|---|")
    for cubin in sorted(pathlib.Path(folder).glob("*.cubin")):
        arch = cubin.name.split(".")[-2]
        said = cubin.with_suffix(".log").read_text()
        usages = {match[0]: tuple(map(int, match[1:])) for match in USAGE.findall(said)}
        sass = subprocess.run([nvdisasm, "-c", cubin], capture_output=True, text=True, check=True).stdout
        rows = []
        for mangled, usage in usages.items():
            name = short_name(mangled)
            lines = sass.split(f"\n{mangled}:\n", 1)[1].split("//-----", 1)[0].splitlines()
            row, faults = check(name, arch, usage, lines, limits.get(name, {}))
            rows.append(row)
            broken += faults
            seen.add(name)
        print("\n".join(sorted(rows)))
    broken += [f"{name}: no such kernel" for name in limits if name not in seen]
    for fault in broken:
        print("BROKEN", fault)
    print(f"gpu-static: {len(seen)} kernels, {len(broken)} limits broken")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Predicts what a decode step must cost on a card: bytes, operations and launches of every kernel of core/gpu.

Usage: roofline.py [TERABYTES_A_SECOND] [TERAFLOPS] [MICROSECONDS_A_LAUNCH]. The defaults are what an H200 was measured
to copy and to multiply in bf16, and a guess for a launch inside a graph. Prints the tables of docs/gpu.md.
"""

import sys

BANDWIDTH, MATRIX, LAUNCH = (float(a) for a in (sys.argv[1:4] + ["4.3", "790", "0.7"][len(sys.argv) - 1 :]))
# hidden, layers, heads, kv_heads, head_dim, intermediate
TEXT = {
    "3B": (2304, 26, 8, 4, 256, 9216),
    "10B": (3584, 42, 16, 8, 256, 14336),
    "28B": (4608, 46, 32, 16, 128, 36864),
}
VOCAB = 257152
BYTES = {"bf16": 2, "int8": 1}

Kernel = tuple[str, int, float, float]  # name, launches, bytes and operations of all of them


def decode(size: str, rows: int, weight: str, context: int) -> list[Kernel]:
    """The kernels of one step that decodes `rows` rows of `context` cached keys each."""
    hidden, layers, heads, kv, dim, inner = TEXT[size]
    of_weight, queries, both = BYTES[weight], heads * dim, (heads + 2 * kv) * dim
    found: list[Kernel] = []

    def row_kernel(name: str, launches: int, values_read: int, values_written: int, written: int = 4) -> None:
        found.append((name, launches, launches * rows * (values_read * 4 + values_written * written), 0))

    def product(name: str, launches: int, outputs: int, inputs: int) -> None:
        size = outputs * inputs * of_weight + rows * (inputs * of_weight + outputs * 4)
        found.append((name, launches, launches * size, launches * 2 * rows * outputs * inputs))

    row_kernel("embed", 1, hidden, hidden)
    row_kernel("rope", 1, 1, dim)
    row_kernel("norm", 2 * layers, 2 * hidden, 2 * hidden, 3)
    product("qkv", layers, both, hidden)
    row_kernel("rotate, pages", layers, both + dim, both)
    keys = rows * context * 2 * kv * dim * 2
    found.append(("attention", layers, layers * (keys + rows * 2 * queries * 4), layers * 4 * rows * context * queries))
    row_kernel("convert", layers, queries, queries, of_weight)
    product("out", layers, hidden, queries)
    product("gate, up", layers, 2 * inner, hidden)
    row_kernel("gelu", layers, 2 * inner, inner, of_weight)
    product("down", layers, hidden, inner)
    row_kernel("finish", 1, 2 * hidden, hidden, of_weight)
    product("logits", 1, VOCAB, hidden)
    row_kernel("choose", 1, 3 * VOCAB, VOCAB)
    return found


def microseconds(kernel: Kernel) -> float:
    """The floor of a kernel's launches together."""
    return max(kernel[2] / BANDWIDTH / 1e6, kernel[3] / MATRIX / 1e6)


def main() -> None:
    """Prints both tables."""
    print("| predicted step | GB | floor ms | launches | floor + launches ms |\n|---|---|---|---|---|")
    steps = [(size, 1, weight) for size in TEXT for weight in BYTES] + [("3B", rows, "bf16") for rows in (16, 64)]
    for size, rows, weight in steps:
        kernels = decode(size, rows, weight, 300)
        floor, launches = sum(map(microseconds, kernels)) / 1e3, sum(kernel[1] for kernel in kernels)
        gigabytes = sum(kernel[2] for kernel in kernels) / 1e9
        total = floor + launches * LAUNCH / 1e3
        print(f"| {size}, {rows} rows, {weight} | {gigabytes:.2f} | {floor:.2f} | {launches} | {total:.2f} |")
    print("\n| kernel, 3B, 1 row, bf16 | launches | MB a launch | us a launch |\n|---|---|---|---|")
    for kernel in decode("3B", 1, "bf16", 300):
        name, launches, size, _ = kernel
        print(f"| {name} | {launches} | {size / launches / 1e6:.3f} | {microseconds(kernel) / launches:.2f} |")


if __name__ == "__main__":
    main()

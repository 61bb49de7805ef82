# SPDX-License-Identifier: Apache-2.0
"""A 4-megapixel JPEG to 224 pixels on one thread, ours beside Pillow's, in turns in one run.

Both begin with the file's bytes in memory and end with the resized RGB pixels, which are compared: they are equal.
Times are CPU seconds of the one thread that works, so that a busy machine disturbs them less. A table goes to standard
output, the same to bench-out/pictures.json. Exit code 1 when pixels differ.
"""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PROBE = ROOT / "build/release/bin/fidelity_probe"
WIDTH, HEIGHT, SIZE = 2464, 1632, 224  # 4.02 megapixels
ROUNDS, WARM = 25, 3
FILES: dict[str, dict[str, Any]] = {
    "baseline, 4:2:0, quality 90": {"quality": 90, "subsampling": 2},
    "baseline, 4:4:4, quality 95": {"quality": 95, "subsampling": 0},
    "progressive, 4:2:0, quality 90": {"quality": 90, "subsampling": 2, "progressive": True},
}


def photograph(**options: Any) -> bytes:
    """The cat, enlarged, with the noise of a sensor."""
    cat = Image.open(ROOT / "tests/data/cat.jpg").convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(1).normal(0, 4, (HEIGHT, WIDTH, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.asarray(cat) + noise).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def pillow(data: bytes) -> tuple[float, float, bytes]:
    """Seconds to decode, to resize, and the pixels."""
    started = time.thread_time()
    image = Image.open(io.BytesIO(data))
    image.load()  # RGB already: convert("RGB") would only copy
    between = time.thread_time()
    small = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return between - started, time.thread_time() - between, small.tobytes()


def measure(probe: subprocess.Popen[str], data: bytes, folder: Path) -> dict[str, Any]:
    """Medians in milliseconds, the ratio's median and quartiles, and whether all pixels were equal."""
    assert probe.stdin and probe.stdout
    (folder / "in").write_bytes(data)
    request = json.dumps({"op": "prepare", "file": str(folder / "in"), "size": SIZE, "out": str(folder / "out")})
    times, ratios, equal = [], [], True
    for _ in range(WARM + ROUNDS):
        probe.stdin.write(request + "\n")
        probe.stdin.flush()
        ours = json.loads(probe.stdout.readline())
        decode, resize, pixels = pillow(data)
        equal = equal and (folder / "out").read_bytes() == pixels
        times.append([1e3 * value for value in (ours["decode"], ours["resize"], decode, resize)])
        ratios.append((decode + resize) / (ours["decode"] + ours["resize"]))
    names = ("decode_ms", "resize_ms", "pillow_decode_ms", "pillow_resize_ms")
    medians = (statistics.median(column) for column in zip(*times[WARM:], strict=True))
    low, middle, high = statistics.quantiles(ratios[WARM:], n=4)
    return dict(zip(names, medians, strict=True)) | {"ratio": middle, "quartiles": [low, high], "equal": equal}


def main() -> int:
    """Measures every kind of file."""
    command = [str(PROBE), str(ROOT / "models/tiny-a")]
    results = {}
    print("| JPEG, 4.02 megapixels to 224 | decode | resize | Pillow: decode | resize | times faster (quartiles) |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        probe = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, options in FILES.items():
            one = results[name] = measure(probe, photograph(**options), Path(folder))
            cells = [f"{one[key]:.1f} ms" for key in one if key.endswith("_ms")]
            low, high = one["quartiles"]
            told = f"{one['ratio']:.2f} ({low:.2f} to {high:.2f})" if one["equal"] else "PIXELS DIFFER"
            print(f"| {name} | {' | '.join(cells)} | {told} |", flush=True)
        probe.communicate()
    out = ROOT / "bench-out"
    out.mkdir(exist_ok=True)
    (out / "pictures.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0 if all(one["equal"] for one in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

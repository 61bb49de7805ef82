# SPDX-License-Identifier: Apache-2.0
"""Peak memory and time of exporting and of loading a model of true size, held against their limits.

export   at most three times the largest tensor in float32 plus 1 GB of memory that no file backs
load     at most 1.15 x the weights + the KV cache + 300 MB resident, all pages counted, until the server is ready

Random weights are written as a Hugging Face checkpoint first, and that checkpoint is what is exported. A 3B in bfloat16
takes 19 GB of disk while it runs and 8 GB of memory. Prints a table; exit code 1 when a limit does not hold.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "export"))

from paligemma_export.architecture import geometry  # noqa: E402

SERVER = ROOT / "build/release/bin/paligemma-server"
KV_MIB = 1024  # one sequence of all positions takes 832
LOAD_SECONDS = 1200
GB, MB = 10**9, 10**6


@dataclass
class Peak:
    """The largest figures of a process seen so far, in bytes."""

    anonymous: int = 0  # that no file backs
    resident: int = 0  # the kernel's own high-water mark, file-backed pages included

    def sample(self, process: int) -> None:
        """Looks once; a process that is gone changes nothing."""
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            return
        fields = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
        self.anonymous = max(self.anonymous, int(fields.get("RssAnon", 0)) << 10)
        self.resident = max(self.resident, int(fields.get("VmHWM", 0)) << 10)


@dataclass
class Row:
    """One line of the table."""

    what: str
    seconds: float
    peak: Peak
    used: int  # which of the peak's figures the limit is about
    limit: int

    def markdown(self) -> str:
        """As a row."""
        verdict = "holds" if self.used <= self.limit else "DOES NOT HOLD"
        sizes = " | ".join(f"{size / GB:.2f} GB" for size in (self.peak.anonymous, self.peak.resident, self.limit))
        return f"| {self.what} | {self.seconds:.0f} s | {sizes} | {verdict} |"


def exporter(*arguments: str) -> tuple[float, Peak]:
    """Runs the exporter to its end: seconds and peak."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "export")}
    started, peak = time.monotonic(), Peak()
    process = subprocess.Popen([sys.executable, "-m", "paligemma_export", *arguments, "--quiet"], env=environment)
    while process.poll() is None:
        peak.sample(process.pid)
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"the exporter ended with code {process.returncode}")
    return time.monotonic() - started, peak


def loading(bundle: Path) -> tuple[float, Peak]:
    """Starts the server on a bundle until it is ready: seconds and peak."""
    port = 20000 + os.getpid() % 20000
    command = [str(SERVER), f"--model={bundle}", f"--listen=127.0.0.1:{port}", f"--kv-cache-mib={KV_MIB}"]
    command += [f"--http-listen=127.0.0.1:{port + 1}", "--drain-delay=0s"]
    started, peak = time.monotonic(), Peak()
    with (bundle.parent / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        while time.monotonic() - started < LOAD_SECONDS and process.poll() is None:
            peak.sample(process.pid)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port + 1}/readyz", timeout=5):
                    return time.monotonic() - started, peak
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"the server is not ready; its log: {bundle.parent / 'server.log'}")
    finally:
        peak.sample(process.pid)
        process.terminate()
        process.wait()


def main() -> int:
    """Measures, prints, cleans up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder to work in; its checkpoint/ and bundle/ are removed at the end")
    parser.add_argument("--geometry", default="3b-224")
    parser.add_argument("--layers", type=int, help="keep so many: true shapes where the whole does not fit")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    options = parser.parse_args()
    work, rows = options.work, []

    def add(row: Row) -> None:
        rows.append(row)
        print(row.markdown(), flush=True)

    checkpoint, bundle = work / "checkpoint", work / "bundle"
    work.mkdir(parents=True, exist_ok=True)
    shapes = geometry(options.geometry).tensors().values()
    allowed = 3 * 4 * max(map(math.prod, shapes)) + GB
    what = f"{options.geometry}{f', {options.layers} layers' if options.layers else ''}, {options.dtype}"
    print(f"| {what} | time | peak, no file behind it | peak, all resident | limit | |")
    print("|---|---|---|---|---|---|", flush=True)
    try:
        random = ["random", f"--geometry={options.geometry}", f"--dtype={options.dtype}", "--attention-std=6"]
        random += [f"--layers={options.layers}"] if options.layers else []
        seconds, peak = exporter(*random, f"--output={bundle}", f"--checkpoint-output={checkpoint}")
        add(Row("random weights to checkpoint and bundle", seconds, peak, peak.anonymous, allowed))
        shutil.rmtree(bundle)
        seconds, peak = exporter("export", f"--checkpoint={checkpoint}", f"--output={bundle}")
        add(Row("export of the checkpoint", seconds, peak, peak.anonymous, allowed))
        shutil.rmtree(checkpoint)
        files = json.loads((bundle / "manifest.json").read_text())["files"]
        weights = sum(entry["size"] for name, entry in files.items() if name.endswith(".pt"))
        seconds, peak = loading(bundle)
        limit = int(1.15 * weights) + (KV_MIB << 20) + 300 * MB
        what = f"loading, {weights / GB:.2f} GB of weights, KV {KV_MIB} MiB"
        add(Row(what, seconds, peak, peak.resident, limit))
    finally:
        for folder in (checkpoint, bundle):
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(row.used <= row.limit for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

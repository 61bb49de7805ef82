# SPDX-License-Identifier: Apache-2.0
"""Asks a real server every question of a bundle's demo.json through the bundled client, and checks the answers.

demo.json: {"note": what to expect of this model, "asks": [{"rpc", "arguments", and either "expect": the model's raw
text, with "token_ids" where the exact tokens count; or "objects": [{"label", "box": x0 y0 x1 y1 in pixels, "area":
optional, pixels of the mask}], which each must be found nearly there}]}. Standard library only: the demo's machine has
nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / "build/release/bin"
OUT = ROOT / "demo-out"
LEAST_OVERLAP = 0.6  # of a box with the true one; of a mask's area with the true one


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_ready(process: subprocess.Popen, http_port: int) -> None:
    """Returns once the server says that it is ready; ends the demo when it does not within two minutes."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"demo: the server did not become ready; its last lines:\n{(OUT / 'server.log').read_text()[-2000:]}")


def field(message: dict, name: str) -> object:
    """A field of a message in JSON, in either spelling (raw_text, rawText)."""
    head, *rest = name.split("_")
    return message.get(name, message.get(head + "".join(word.capitalize() for word in rest)))


def run_ask(ask: dict, address: str) -> tuple[dict, float]:
    """One call of the client: (its response as JSON, seconds)."""
    command = [str(BIN / "paligemma"), *ask["arguments"], "--json", f"--server={address}"]
    started = time.monotonic()
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    seconds = time.monotonic() - started
    try:
        answer = json.loads(result.stdout.splitlines()[0])
    except (IndexError, json.JSONDecodeError):
        return {"error": {"message": result.stderr.strip() or "no output"}}, seconds
    return answer, seconds


def overlap(a: list[int], b: list[int]) -> float:
    """Intersection over union of two boxes x0 y0 x1 y1."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0, width) * max(0, height)
    return both / sum([(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)], -both)


def finds(found: dict, wanted: dict) -> bool:
    """Whether an object of a response is the wanted one: its label, most of its box, about the area of its mask."""
    box = field(found, "pixel_box") or {}
    sides = [int(field(box, side) or 0) for side in ("x_min", "y_min", "x_max", "y_max")]
    area = int(field(found.get("mask") or {}, "area_pixel_count") or 0)
    return (found["label"] == wanted["label"] and overlap(sides, wanted["box"]) >= LEAST_OVERLAP
            and ("area" not in wanted or LEAST_OVERLAP <= area / wanted["area"] <= 1 / LEAST_OVERLAP))


def check(ask: dict, response: dict) -> bool:
    """Whether the response is what demo.json says."""
    if "objects" in ask:
        found, wanted = response.get("objects") or [], ask["objects"]
        return len(found) == len(wanted) and all(any(finds(one, other) for one in found) for other in wanted)
    right = field(field(response, "info") or {}, "raw_text") == ask["expect"]
    if "token_ids" in ask:
        candidates = response.get("candidates") or [{}]
        right = right and field(candidates[0], "token_ids") == ask["token_ids"]
    return right


def main() -> int:
    """Runs the demo; the exit code says whether every answer was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = next(name for name in ("demo", "tiny-a") if (ROOT / "models" / name / "demo.json").exists())
    parser.add_argument("--model", type=Path, default=ROOT / "models" / default, help="bundle with a demo.json")
    model = parser.parse_args().model
    demo = json.loads((model / "demo.json").read_text())
    OUT.mkdir(exist_ok=True)
    port, http_port = free_port(), free_port()
    address = f"127.0.0.1:{port}"
    print(f"[demo] starting paligemma-server on {address} with {model.name} (log: demo-out/server.log)", flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PALIGEMMA_")}
    flags = [f"--model={model}", f"--listen={address}", f"--http-listen=127.0.0.1:{http_port}", "--drain-delay=0s"]
    with open(OUT / "server.log", "w") as log:
        server = subprocess.Popen([str(BIN / "paligemma-server"), *flags], stdout=log, stderr=log, env=environment)
    try:
        wait_ready(server, http_port)
        print(f"[demo] {demo['note']}\n")
        wrong = 0
        for ask in demo["asks"]:
            answer, seconds = run_ask(ask, address)
            response = answer.get("response", {})
            right = "error" not in answer and check(ask, response)
            wrong += not right
            text = field(field(response, "info") or {}, "raw_text") or answer.get("error")
            width = shutil.get_terminal_size().columns - 16
            print(f"{ask['rpc']:<9} $ paligemma {' '.join(ask['arguments'])}")
            print(f"  {'right' if right else 'WRONG'} {seconds * 1000:6.0f} ms  {str(text)[:width]!r}", flush=True)
            if not right:
                print(f"  expected        {str(ask.get('expect') or ask.get('objects'))[:width]!r}")
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
    pictures = sorted(path.name for path in OUT.glob("*.png"))
    print(f"\n[demo] pictures in demo-out/: {', '.join(pictures) or 'none'}")
    print(f"[demo] {len(demo['asks']) - wrong} of {len(demo['asks'])} answers right; the server ended with code {code}")
    return 1 if wrong or code else 0


if __name__ == "__main__":
    sys.exit(main())

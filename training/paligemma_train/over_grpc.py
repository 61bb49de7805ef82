# SPDX-License-Identifier: Apache-2.0
"""Measures a bundle as its users meet it: starts the real server on it and asks over gRPC about fresh scenes of streams
that training never uses. Needs clients/python on the path; `scripts/eval-demo` calls this.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from paligemma_serving import Client, PaliGemmaError, mask_in_image

from paligemma_train import evaluate
from paligemma_train.evaluate import Case, Reply

_AT_ONCE = 16  # requests, which the server puts into batches
_LONGEST = {"max_output_tokens": 160}


class OverGrpc:
    """Asks each case by the call that its prompt belongs to. A call that fails is an empty, wrong answer."""

    def __init__(self, client: Client):
        self._client, self.failures = client, 0

    def __call__(self, found: list[Case]) -> list[Reply]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._ask, found))

    def _ask(self, case: Case) -> Reply:
        picture, (verb, _, rest) = case.scene.picture, case.example.prompt.partition(" ")
        try:
            if verb in ("caption", "describe"):
                length = "long" if verb == "describe" else "short"
                response = self._client.caption(picture, language=rest, length=length)
            elif verb == "answer":
                language, _, question = rest.partition(" ")
                response = self._client.answer(picture, question, language=language)
            elif verb == "ocr":
                response = self._client.read_text(picture)
            elif verb == "detect":
                response = self._client.detect(picture, rest.split(" ; "), config=_LONGEST)
            else:
                response = self._client.segment(picture, rest.split(" ; "), config=_LONGEST)
                size = picture.size
                return Reply(response.info.raw_text, [mask_in_image(found.mask, *size) for found in response.objects])
        except PaliGemmaError as error:
            self.failures += 1
            print(f"eval-demo: {case.example.prompt!r}: {error}", file=sys.stderr)
            return Reply("")
        return Reply(response.info.raw_text)


@contextmanager
def served(server: Path, bundle: Path, *flags: str) -> Iterator[str]:
    """The address of a server on `bundle` with `flags`, which ends with the block."""
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    address, http = (f"127.0.0.1:{port}" for port in ports)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PALIGEMMA_")}
    with tempfile.TemporaryFile("w+") as log:
        command = [server, f"--model={bundle}", f"--listen={address}", f"--http-listen={http}", *flags]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            if not _ready(process, http):
                log.seek(0)
                raise SystemExit(f"eval-demo: the server did not become ready; it said:\n{log.read()[-2000:]}")
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _ready(process: subprocess.Popen, http: str) -> bool:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{http}/readyz", timeout=5):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def main() -> int:
    """The exit code is 0 however accurate the model is, unless calls failed: a table is not a judgement."""
    parser = argparse.ArgumentParser(prog="scripts/eval-demo", description=__doc__)
    parser.add_argument("--server", type=Path, required=True, help="the paligemma-server program")
    parser.add_argument("--model", type=Path, required=True, help="a bundle of the demo model")
    parser.add_argument("--cases", type=int, default=300, help="for each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="the table as JSON")
    options = parser.parse_args()
    began = time.monotonic()
    with served(options.server, options.model) as address, Client(address, timeout=120) as client:
        ask = OverGrpc(client)
        missed = evaluate.table(ask, options.cases, options.seed, options.output, "over gRPC")
    print(f"\n{missed} floors missed, {ask.failures} calls failed, {time.monotonic() - began:.0f} s; "
          f"table in {options.output}")
    return 1 if ask.failures else 0


if __name__ == "__main__":
    sys.exit(main())

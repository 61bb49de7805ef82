# SPDX-License-Identifier: Apache-2.0
"""Many clients at once: every request ends exactly once with the right code, and nothing is held afterwards."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import serving
from paligemma_serving import PaliGemmaError
from test_methods import TYPED, call

CLIENTS, REQUESTS_EACH = 32, 6


def resident_mib(server: serving.Server) -> float:
    """Resident memory of the server process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def one_client(server: serving.Server, seed: int) -> Counter:
    """Good calls, bad calls, cancelled calls and hopeless deadlines, in a fixed random order; counts the outcomes."""
    rng = random.Random(seed)
    outcome = Counter()
    for _ in range(REQUESTS_EACH):
        case = rng.choice(TYPED)
        kind = rng.choice(["good", "good", "good", "bad", "cancelled", "late"])
        try:
            if kind == "good":
                outcome["right" if call(server, case).info.raw_text == case["text"] else "wrong"] += 1
            elif kind == "bad":
                request = serving.generate_request(case)
                request.images[0].content = b"no picture"
                server.client.send(request)
            elif kind == "cancelled":
                future = server.stub.Generate.future(serving.generate_request(case), timeout=60)
                future.cancel()
                future.result()
            else:
                server.client.send(serving.generate_request(case), timeout=0.002)
                outcome["in time"] += 1
        except grpc.FutureCancelledError:
            outcome["cancelled"] += 1
        except PaliGemmaError as error:
            outcome[f"{kind}: {error.code.name}"] += 1
    return outcome


def test_thirty_two_clients_of_mixed_calls() -> None:
    with serving.Server() as server:
        call(server, TYPED[0])
        before = resident_mib(server)
        with ThreadPoolExecutor(CLIENTS) as pool:
            outcome = sum(pool.map(lambda seed: one_client(server, seed), range(CLIENTS)), Counter())
        assert sum(outcome.values()) == CLIENTS * REQUESTS_EACH
        allowed = {"right", "in time", "cancelled", "bad: INVALID_ARGUMENT", "late: DEADLINE_EXCEEDED"}
        assert set(outcome) <= allowed, outcome
        assert outcome["right"] > CLIENTS

        settled = threading.Event()
        for _ in range(100):  # a cancelled call's blocks come back within a step
            if server.metric("paligemma_requests_running") + server.metric("paligemma_requests_waiting") == 0:
                break
            settled.wait(0.05)
        assert server.metric("paligemma_requests_running") == 0
        assert server.metric("paligemma_requests_waiting") == 0
        assert server.metric("paligemma_kv_cache_usage_ratio") == 0
        assert resident_mib(server) < before + 100
        assert call(server, TYPED[0]).info.raw_text == TYPED[0]["text"]

# SPDX-License-Identifier: Apache-2.0
"""Many clients at once: every request ends exactly once with the right code, and those who behave notice nothing."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import quiescence
import serving
from serving import v1
from test_methods import typed_request

CASES = serving.golden_cases()
CLIENTS, REQUESTS_EACH = 64, 8
KINDS = ("good", "good", "good", "bad", "cancelled", "late")
TASKS = {"read": "read_text"}  # a method's name in TaskRequest, where it differs


@dataclass(frozen=True)
class Ending:
    """How one request of one client ended."""

    request_id: str
    kind: str
    code: str
    right: bool  # the reference's text and tokens, if there were any


class Client:
    """Unary and streamed calls of all methods, good, bad, cancelled and too late, in a fixed random order."""

    def __init__(self, server: serving.Server, number: int) -> None:
        self._server, self._number = server, number
        self._random = random.Random(number)

    def run(self) -> list[Ending]:
        """Asks all; each call is ended before the next begins."""
        return [self._ask(f"load-{self._number}-{index}") for index in range(REQUESTS_EACH)]

    def _ask(self, request_id: str) -> Ending:
        kind, case = self._random.choice(KINDS), self._random.choice(CASES)
        request = serving.generate_request(case) if case["method"] == "generate" else typed_request(case)
        if kind == "bad":
            request.generation_config.top_p = 7
        seconds = self._random.uniform(0.001, 0.2) if kind == "late" else 120
        options = {"timeout": seconds, "metadata": [("x-request-id", request_id)]}
        finish = self._stream if self._random.random() < 0.5 else self._unary
        response, code = finish(kind, case, request, options)
        return Ending(request_id, kind, code, response is None or is_right(case, response))

    def _unary(self, kind: str, _case: dict, request: object, options: dict) -> tuple[object | None, str]:
        method = getattr(self._server.stub, request.DESCRIPTOR.name.removesuffix("Request"))
        call = method.future(request, **options)
        if kind == "cancelled":
            threading.Event().wait(self._random.uniform(0, 0.05))
            call.cancel()
        code = call.code().name  # waits for the end
        return (call.result() if code == "OK" else None), code

    def _stream(self, kind: str, case: dict, request: object, options: dict) -> tuple[object | None, str]:
        name = TASKS.get(case["method"], case["method"])
        call = self._server.stub.StreamGenerate(
            v1.StreamGenerateRequest(task=v1.TaskRequest(**{name: request})), **options
        )
        results = []
        try:
            for message in call:
                assert not results, "a message after the result"
                if message.HasField("result"):
                    results.append(getattr(message.result, name))
                if kind == "cancelled":
                    call.cancel()
        except grpc.RpcError:
            pass
        code = call.code().name
        assert (code == "OK") <= (len(results) == 1), "a stream ended well without its result"
        return (results[0] if results else None), code


def is_right(case: dict, response: object) -> bool:
    """Whether an answer has the reference's text, and its tokens where it tells them."""
    if case["method"] == "generate":
        return list(response.candidates[0].token_ids) == case["token_ids"]
    return response.info.raw_text == case["text"]


ALLOWED = {
    "good": {"OK"},
    "bad": {"INVALID_ARGUMENT"},
    "cancelled": {"CANCELLED", "OK"},  # OK: it was done already
    "late": {"DEADLINE_EXCEEDED", "OK", "UNAVAILABLE"},  # the last: refused at once, since the queue would make it late
}
# The answer was on its way when the client gave up; a client that is late ends the call itself, by a cancel, if the
# server learnt of its deadline late.
ALSO_IN_LOG = {"good": set(), "bad": set(), "cancelled": {"OK"}, "late": {"OK", "CANCELLED", "UNAVAILABLE"}}


def test_sixty_four_clients_of_mixed_calls_each_get_one_right_ending() -> None:
    with serving.Server() as server, quiescence.back_at_base(server):
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = pool.map(lambda number: Client(server, number).run(), range(CLIENTS))
            endings = [ending for client in clients for ending in client]
        assert len(endings) == CLIENTS * REQUESTS_EACH
        wrong = [ending for ending in endings if ending.code not in ALLOWED[ending.kind] or not ending.right]
        assert not wrong
        outcomes = Counter((ending.kind, ending.code) for ending in endings)
        assert {("good", "OK"), ("bad", "INVALID_ARGUMENT"), ("cancelled", "CANCELLED")} <= set(outcomes), outcomes
        assert ("late", "DEADLINE_EXCEEDED") in outcomes, outcomes

        quiescence.await_idle(server)
        logged = codes_in_log(server)
        for ending in endings:
            codes = logged.get(ending.request_id, [])
            assert len(codes) == 1 or not codes and ending.kind in ("cancelled", "late"), ending  # it never arrived
            assert set(codes) <= {ending.code} | ALSO_IN_LOG[ending.kind], ending


def codes_in_log(server: serving.Server) -> dict[str, list[str]]:
    """The codes of the access log's lines, by request."""
    codes: dict[str, list[str]] = {}
    for line in server.log_text().splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "request_id" in fields:
            codes.setdefault(fields["request_id"], []).append(fields["code"])
    return codes

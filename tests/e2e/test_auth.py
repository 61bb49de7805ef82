# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: who is let in, what is never logged, and that a new file counts without a restart."""

import hashlib
import os
import threading
from pathlib import Path

import grpc
import serving

CASE = serving.golden_cases()[0]


def write_tokens(path: Path, **tenants: str) -> None:
    """Replaces the file as Kubernetes does."""
    lines = [f"sha256:{hashlib.sha256(token.encode()).hexdigest()} {name}\n" for name, token in tenants.items()]
    path.with_suffix(".new").write_text("".join(lines))
    os.replace(path.with_suffix(".new"), path)


def outcome(server: serving.Server, token: str | None) -> tuple[str, str]:
    """Code and reason of a call with this token."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    try:
        server.stub.Generate(serving.generate_request(CASE), timeout=60, metadata=metadata)
    except grpc.RpcError as error:
        return serving.reason_of(error)[:2]
    return "OK", ""


def test_only_who_holds_a_token_is_answered(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    write_tokens(file, first="a-secret", second="b-secret")
    with serving.Server(serving.TINY, f"--auth-tokens-file={file}") as server:
        assert server.serves(), "probes carry no token"
        refused = ("UNAUTHENTICATED", "CREDENTIALS_INVALID")
        assert outcome(server, None) == refused
        assert outcome(server, "c-secret") == refused
        assert outcome(server, "a-secret") == ("OK", "")
        write_tokens(file, first="c-secret")
        threading.Event().wait(1.1)  # the server looks at the file once a second
        assert outcome(server, "c-secret") == ("OK", "")
        assert outcome(server, "a-secret") == refused
        log = server.log_text()
        assert "-secret" not in log and "tenant=first" in log
        assert server.metric("paligemma_requests_rejected_total", reason="unauthorized") == 3


def cached_tokens(server: serving.Server, token: str) -> int:
    """How many image tokens of one more call of this tenant came from the image cache."""
    metadata = [("authorization", f"Bearer {token}")]
    answer = server.stub.Generate(serving.generate_request(CASE), timeout=60, metadata=metadata)
    assert list(answer.candidates[0].token_ids) == CASE["token_ids"], "cached or not, the answer is the same"
    return answer.info.usage.cached_image_token_count


def test_the_image_cache_tells_no_tenant_what_another_sent(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    write_tokens(file, first="a-secret", second="b-secret")
    with serving.Server(serving.TINY, f"--auth-tokens-file={file}") as server:
        assert cached_tokens(server, "a-secret") == 0
        assert cached_tokens(server, "a-secret") > 0, "a tenant meets its own pictures"
        assert cached_tokens(server, "b-secret") == 0
        assert cached_tokens(server, "b-secret") > 0


def test_tenants_that_trust_each_other_may_share_the_image_cache(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    write_tokens(file, first="a-secret", second="b-secret")
    with serving.Server(serving.TINY, f"--auth-tokens-file={file}", "--share-image-cache") as server:
        assert cached_tokens(server, "a-secret") == 0
        assert cached_tokens(server, "b-secret") > 0

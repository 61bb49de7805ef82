# SPDX-License-Identifier: Apache-2.0
"""The tokens that leave the server are those of the reference implementation: alone, in any batch, after preemption."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import serving

CASES = serving.golden_cases()
NAMES = [case["name"] for case in CASES]


def tokens_of(server: serving.Server, case: dict) -> list[int]:
    """The server's tokens for a golden case."""
    response = server.client.send(serving.generate_request(case))
    return list(response.candidates[0].token_ids)


def test_the_goldens_can_tell_a_wrong_model_from_a_right_one() -> None:
    varied = [case for case in CASES if len(set(case["token_ids"])) > 1]
    assert len(varied) >= 20
    for prompt in {case["prompt"] for case in CASES}:  # another picture, other tokens
        answers = [tuple(case["token_ids"]) for case in CASES if case["prompt"] == prompt]
        assert len(set(answers)) == len(answers) >= 3


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_alone(server: serving.Server, case: dict) -> None:
    assert tokens_of(server, case) == case["token_ids"]


def test_in_batches_of_many_neighbours(server: serving.Server) -> None:
    cases = CASES * 4
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda case: tokens_of(server, case), cases))
    assert answers == [case["token_ids"] for case in cases]


def test_after_preemption() -> None:
    """With room for two sequences at most and a dozen running, sequences lose their blocks and are recomputed."""
    with serving.Server(serving.TINY, "--kv-cache-mib=1", "--max-batch-delay=0ms") as server:
        cases = CASES * 4
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda case: tokens_of(server, case), cases))
        assert answers == [case["token_ids"] for case in cases]
        assert server.metric("paligemma_preemptions_total") > 0


def test_sampling_repeats_with_its_seed_in_any_batch(server: serving.Server) -> None:
    request = serving.generate_request(CASES[0])
    request.generation_config.temperature = 1.0
    request.generation_config.seed = 7
    alone = server.client.send(request)
    with ThreadPoolExecutor(8) as pool:
        crowd = list(pool.map(lambda _: server.client.send(request), range(8)))
    assert alone.info.seed == 7
    assert all(list(r.candidates[0].token_ids) == list(alone.candidates[0].token_ids) for r in crowd)
    request.generation_config.seed = 8
    other = server.client.send(request)
    assert list(other.candidates[0].token_ids) != list(alone.candidates[0].token_ids)


def test_logprobs_are_ordered_and_name_the_chosen_token(server: serving.Server) -> None:
    request = serving.generate_request(CASES[0])
    request.generation_config.logprobs = 3
    answer = server.client.send(request).candidates[0]
    assert len(answer.logprobs) == len(answer.token_ids)
    for token, entry in zip(answer.token_ids, answer.logprobs, strict=True):
        values = [alternative.logprob for alternative in entry.alternatives]
        assert entry.token_id == token == entry.alternatives[0].token_id  # greedy
        assert values == sorted(values, reverse=True)
        assert entry.logprob == values[0] <= 0

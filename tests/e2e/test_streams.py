# SPDX-License-Identifier: Apache-2.0
"""Streams end with the unary answer, show text once and objects early, and keep what a stop sequence hides."""

import grpc
import pytest
import serving

CASES = [case for case in serving.golden_cases() if len(case["token_ids"]) > 8]


def stream(server: serving.Server, request: object) -> list:
    """All messages of a streamed Generate."""
    task = serving.v1.TaskRequest(generate=request)
    return list(server.stub.StreamGenerate(serving.v1.StreamGenerateRequest(task=task), timeout=120))


def text_of(messages: list) -> str:
    """The text of all deltas."""
    return "".join(message.delta.text for message in messages)


@pytest.mark.parametrize("case", CASES[:6], ids=[case["name"] for case in CASES[:6]])
def test_the_deltas_add_up_to_the_one_result(server: serving.Server, case: dict) -> None:
    messages = stream(server, serving.generate_request(case))
    assert [message.WhichOneof("event") for message in messages].count("result") == 1
    candidate = messages[-1].result.generate.candidates[0]
    assert list(candidate.token_ids) == case["token_ids"]
    assert text_of(messages) == candidate.text
    assert sum(message.delta.token_count for message in messages) == len(case["token_ids"])


@pytest.mark.parametrize("length", [1, 3])
def test_nothing_of_a_stop_sequence_is_shown(server: serving.Server, length: int) -> None:
    case = next(case for case in CASES if case["text"].isprintable() and len(case["text"]) > 12)
    text = case["text"]
    stop = text[5 : 5 + length]
    request = serving.generate_request(case)
    request.generation_config.stop_sequences.append(stop)
    messages = stream(server, request)
    candidate = messages[-1].result.generate.candidates[0]
    assert candidate.text == text[: text.index(stop)] == text_of(messages)
    assert candidate.matched_stop_sequence == stop
    assert candidate.finish_reason == serving.v1.FINISH_REASON_STOP
    assert server.stub.Generate(request, timeout=60).candidates[0].text == candidate.text


def test_a_stop_sequence_that_only_begins_is_text(server: serving.Server) -> None:
    case = next(case for case in CASES if case["text"].isprintable())
    request = serving.generate_request(case)
    request.generation_config.stop_sequences.append(case["text"][-1] + "never comes")
    assert text_of(stream(server, request)) == case["text"]


def test_objects_of_an_encoded_picture_come_before_the_result(server: serving.Server) -> None:
    case = next(case for case in CASES if case["method"] == "detect")
    image = serving.v1.Image(content=serving.image_bytes(case))
    config = serving.v1.GenerationConfig(max_output_tokens=64)
    detect = serving.v1.DetectRequest(image=image, labels=["cat"], generation_config=config)
    task = serving.v1.TaskRequest(detect=detect)
    messages = list(server.stub.StreamGenerate(serving.v1.StreamGenerateRequest(task=task), timeout=120))
    objects = [message.object for message in messages if message.HasField("object")]
    assert [found.object for found in objects] == list(messages[-1].result.detect.objects)
    assert [found.object_index for found in objects] == list(range(len(objects)))


def test_a_time_budget_returns_what_there_is() -> None:
    with serving.Server(serving.TINY, "--allow-ignore-eos") as server:
        request = serving.generate_request(CASES[0])
        limits = server.models.ListModels(serving.v1.ListModelsRequest(), timeout=20).models[0].limits
        request.generation_config.max_output_tokens = limits.max_output_tokens
        request.generation_config.ignore_eos = True
        request.options.time_budget.FromMilliseconds(1)
        with pytest.raises(grpc.RpcError) as caught:
            stream(server, request)
        assert serving.reason_of(caught.value)[:2] == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
        # Long enough for a first token, and not for all, on whatever machine.
        for doubled in range(12):
            request.options.time_budget.FromMilliseconds(10 << doubled)
            try:
                candidate = stream(server, request)[-1].result.generate.candidates[0]
                break
            except grpc.RpcError:
                continue
        assert candidate.token_ids
        assert candidate.finish_reason == serving.v1.FINISH_REASON_TIME_BUDGET

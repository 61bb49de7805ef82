# SPDX-License-Identifier: Apache-2.0
"""F15 to F25: prompts, numbers, names and methods that no server should trust."""

import json
import math
import shutil
from pathlib import Path

import pytest
import quiescence
import serving

MANIFEST = json.loads((serving.TINY / "manifest.json").read_text())
LIMITS = MANIFEST["limits"]


def golden() -> object:
    """A request that would succeed."""
    return serving.generate_request(quiescence.GOLDEN)


def with_config(**fields: object) -> object:
    """The golden request with another generation config."""
    request = golden()
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(request.generation_config, name).extend(value)
        else:
            setattr(request.generation_config, name, value)
    return request


def answer_request(question: str) -> object:
    """A question about the golden picture."""
    types, service = serving.api("types_pb2"), serving.api("paligemma_service_pb2")
    image = types.Image(content=serving.image_bytes(quiescence.GOLDEN))
    config = types.GenerationConfig(max_output_tokens=4)
    return service.AnswerRequest(images=[image], question=question, generation_config=config)


def test_f15_a_prompt_above_the_models_limit_is_refused_with_the_limit(server: serving.Server) -> None:
    request = golden()
    request.prompt = "word " * LIMITS["max_input_tokens"]
    code, reason, metadata = serving.refusal_of(server.stub.Generate, request)
    assert (code, reason, metadata["limit"]) == ("INVALID_ARGUMENT", "PROMPT_TOO_LONG", str(LIMITS["max_input_tokens"]))
    assert int(metadata["value"]) > LIMITS["max_input_tokens"]


def test_f15_a_prompt_of_a_mebibyte_is_refused_before_it_is_tokenized(server: serving.Server) -> None:
    request = golden()
    request.prompt = "x" * 2**20
    with quiescence.peak_below(server, 8):
        code, reason, metadata = serving.refusal_of(server.stub.Generate, request)
    assert (code, reason) == ("INVALID_ARGUMENT", "PROMPT_TOO_LONG")
    assert metadata["value"] == f"{2**20} bytes"


def test_f16_an_empty_prompt_is_a_prompt_of_generate(server: serving.Server) -> None:
    case = next(case for case in serving.golden_cases() if case["method"] == "generate" and case["prompt"] == "")
    response = server.stub.Generate(serving.generate_request(case), timeout=60)
    assert list(response.candidates[0].token_ids) == case["token_ids"]


def test_f16_an_empty_question_or_label_is_refused_by_name(server: serving.Server) -> None:
    service = serving.api("paligemma_service_pb2")
    for question in ("", " \n\t"):
        code, reason, metadata = serving.refusal_of(server.stub.Answer, answer_request(question))
        assert (code, reason, metadata["field"]) == ("INVALID_ARGUMENT", "FIELD_INVALID", "question")
    for labels, field in (([], "labels"), ([""], "labels[0]"), (["cat", "  "], "labels[1]")):
        request = service.DetectRequest(image=answer_request("x").images[0], labels=labels)
        code, reason, metadata = serving.refusal_of(server.stub.Detect, request)
        assert (code, reason, metadata["field"]) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)


@pytest.mark.parametrize("control", ["<image>", "<bos>", "<eos>", "<pad>", "<loc0000>", "<seg000>", "<unused1>"])
def test_f19_a_control_token_written_in_a_question_is_text(server: serving.Server, control: str) -> None:
    plain = server.stub.Answer(answer_request("what"), timeout=60).info.usage
    response = server.stub.Answer(answer_request("what" + control), timeout=60)
    usage = response.info.usage
    assert usage.image_token_count == plain.image_token_count == MANIFEST["image"]["tokens"]
    assert usage.prompt_token_count - plain.prompt_token_count > 2  # spelled out, not one token
    assert response.info.prompt.endswith("what" + control)


def test_f19_in_generate_only_locations_are_tokens(server: serving.Server) -> None:
    def prompt_tokens(prompt: str) -> int:
        request = golden()
        request.prompt = prompt
        return server.stub.Generate(request, timeout=60).info.usage.prompt_token_count

    plain = prompt_tokens("what")
    assert prompt_tokens("what<loc0000>") == prompt_tokens("what<seg000>") == plain + 1
    for control in ("<image>", "<bos>", "<eos>"):
        assert prompt_tokens("what" + control) > plain + 2


NUMBERS = {
    "temperature": [math.nan, math.inf, -1.0, 1e38],
    "top_p": [math.nan, math.inf, -1.0, 0.0, 1.5],
    "top_k": [-5, 2**31 - 1],
    "repetition_penalty": [math.nan, math.inf, 0.0, -1.0],
    "seed": [-1],
    "logprobs": [-1, 21],
}


@pytest.mark.parametrize("field", NUMBERS)
def test_f20_a_number_that_cannot_be_is_refused_by_name(server: serving.Server, field: str) -> None:
    for value in NUMBERS[field]:
        code, reason, metadata = serving.refusal_of(server.stub.Generate, with_config(**{field: value}))
        assert (code, reason) == ("INVALID_ARGUMENT", "FIELD_INVALID"), value
        assert metadata["field"] == f"generation_config.{field}", value


def test_f20_the_largest_seed_is_a_seed(server: serving.Server) -> None:
    request = with_config(seed=2**31 - 1, temperature=1.0)
    first, second = (server.stub.Generate(request, timeout=60) for _ in range(2))
    assert first.info.seed == 2**31 - 1
    assert first.candidates == second.candidates


HUGE = {
    "no tokens": ({"max_output_tokens": 0}, "max_output_tokens"),
    "all tokens there are": ({"max_output_tokens": 2**31 - 1}, "max_output_tokens"),
    "four billion tokens": ({"max_output_tokens": -1}, "max_output_tokens"),  # 2^32 - 1 on the wire
    "as many that must come": ({"min_output_tokens": 2**31 - 1}, "min_output_tokens"),
    "all candidates there are": ({"candidate_count": 2**31 - 1, "temperature": 1.0}, "candidate_count"),
    "ten thousand stop sequences": ({"stop_sequences": ["stop"] * 10_000}, "stop_sequences"),
    "a stop sequence of a mebibyte": ({"stop_sequences": ["x" * 2**20]}, "stop_sequences[0]"),
}


@pytest.mark.parametrize("name", HUGE)
def test_f21_what_asks_for_too_much_is_refused_and_costs_nothing(server: serving.Server, name: str) -> None:
    fields, field = HUGE[name]
    with quiescence.peak_below(server, 8):
        code, reason, metadata = serving.refusal_of(server.stub.Generate, with_config(**fields))
    assert (code, reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert metadata["field"] == f"generation_config.{field}"


def test_f21_too_many_images_labels_and_tags_are_refused_by_name(server: serving.Server) -> None:
    service = serving.api("paligemma_service_pb2")
    request = golden()
    request.images.extend([request.images[0]] * 5000)
    assert serving.refusal_of(server.stub.Generate, request)[2]["field"] == "images"
    labels = [f"label {number}" for number in range(10_000)]
    request = service.DetectRequest(image=answer_request("x").images[0], labels=labels)
    assert serving.refusal_of(server.stub.Detect, request)[2]["field"] == "labels"
    request = golden()
    for number in range(10_000):
        request.options.tags[f"tag {number}"] = "value"
    assert serving.refusal_of(server.stub.Generate, request)[2]["field"] == "options.tags"


def test_f22_fields_of_a_newer_client_are_ignored(server: serving.Server) -> None:
    unknown = b"\xaa\x06\x03new" + b"\xb0\x06\x07"  # field 101, bytes; field 102, a number
    generate = server.channel.unary_unary(
        "/paligemma.v1.PaliGemmaService/Generate",
        response_deserializer=serving.api("paligemma_service_pb2").GenerateResponse.FromString,
    )
    response = generate(golden().SerializeToString() + unknown, timeout=60)
    assert list(response.candidates[0].token_ids) == quiescence.GOLDEN["token_ids"]


def test_f22_values_of_a_newer_client_are_refused_by_name(server: serving.Server) -> None:
    request = golden()
    request.options.priority = 77
    assert serving.refusal_of(server.stub.Generate, request)[2]["field"] == "options.priority"
    request = golden()
    request.options.cache_policy = 77
    assert serving.refusal_of(server.stub.Generate, request)[2]["field"] == "options.cache_policy"
    service = serving.api("paligemma_service_pb2")
    request = service.CaptionRequest(images=[golden().images[0]], length=77)
    assert serving.refusal_of(server.stub.Caption, request)[2]["field"] == "length"


def test_f22_a_stream_without_a_task_is_refused_by_name(server: serving.Server) -> None:
    request = serving.api("paligemma_service_pb2").StreamGenerateRequest()
    code, reason, metadata = serving.refusal_of(lambda *a, **k: list(server.stub.StreamGenerate(*a, **k)), request)
    assert (code, reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert metadata["field"].startswith("task")


def test_f23_an_unknown_model_is_not_found_and_named(server: serving.Server) -> None:
    for name in ("models/other", "models/../etc/passwd", "x" * 100_000):
        request = golden()
        request.model = name
        code, reason, metadata = serving.refusal_of(server.stub.Generate, request)
        assert (code, reason, metadata["model"]) == ("NOT_FOUND", "MODEL_NOT_FOUND", name[:128])
    get = serving.api("model_service_pb2").GetModelRequest(name="models/other")
    assert serving.refusal_of(server.models.GetModel, get)[:2] == ("NOT_FOUND", "MODEL_NOT_FOUND")


def test_f23_a_model_that_contradicts_its_metadata_is_refused(server: serving.Server) -> None:
    metadata = [("x-paligemma-model", "models/other")]
    code, reason, _ = serving.refusal_of(server.stub.Generate, golden(), metadata=metadata)
    assert (code, reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")


def test_f24_a_method_that_the_model_was_not_tuned_for_is_unsupported(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(serving.TINY, bundle)
    manifest = {**MANIFEST, "methods": {name: MANIFEST["methods"][name] for name in ("caption", "generate")}}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with serving.Server(bundle) as server, quiescence.back_at_base(server):
        code, reason, metadata = serving.refusal_of(server.stub.Answer, answer_request("what is it?"))
        assert (code, reason) == ("FAILED_PRECONDITION", "METHOD_UNSUPPORTED")
        assert metadata["method"] == "Answer"
        assert "Caption" in metadata["supported"]
        assert "Answer" not in metadata["supported"]


@pytest.mark.parametrize(
    "path", ["/paligemma.v1.PaliGemmaService/Train", "/paligemma.v2.PaliGemmaService/Generate", "/Generate"]
)
def test_f25_an_unknown_method_is_unimplemented(server: serving.Server, path: str) -> None:
    code, reason, metadata = serving.refusal_of(server.channel.unary_unary(path), golden().SerializeToString())
    assert (code, reason, metadata["method"]) == ("UNIMPLEMENTED", "METHOD_UNSUPPORTED", path)

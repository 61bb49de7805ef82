# SPDX-License-Identifier: Apache-2.0
"""No field of a checkpoint's JSON files is ignored: it is honoured, known not to matter, or refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import assert_refused, assert_same_weights, export, weights
from conftest import Tiny
from paligemma_export import bundle, cli
from paligemma_export.bundle_source import load_module
from paligemma_export.fields import generation, model_config, processor, rules, tokenizer_files
from paligemma_export.runner import Runner

TABLES = {
    "top": model_config.TOP,
    "text": model_config.TEXT,
    "vision": model_config.VISION,
    "rope": model_config.ROPE,
    "generation": generation.TABLE,
    "image": processor.IMAGE,
    "processor": processor.PROCESSOR,
    "tokenizer": tokenizer_files.TOKENIZER,
    "special tokens": tokenizer_files.SPECIAL_TOKENS,
}


# ----------------------------------------------------------------- the fields that transformers defines are known


def fields_of_transformers() -> dict[str, set[str]]:
    """Table -> the fields that the installed classes define."""
    import transformers

    found: dict[str, set[str]] = {}
    for table, kind in (("top", "PaliGemmaConfig"), ("text", "Gemma2Config"), ("vision", "SiglipVisionConfig")):
        cls = getattr(transformers, kind)
        found[table] = set(cls().to_dict()) | set(getattr(cls, "__dataclass_fields__", {}))
        found[table] -= {name for name in found[table] if name.startswith("__")}
    found["rope"] = {"rope_theta", "rope_type", "partial_rotary_factor", "factor"}
    found["generation"] = set(vars(transformers.GenerationConfig()))
    image = transformers.SiglipImageProcessor
    found["image"] = set(image.valid_kwargs.__annotations__) | set(image().to_dict())
    found["tokenizer"] = set(transformers.PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES) | {
        "model_max_length", "padding_side", "truncation_side", "model_input_names", "clean_up_tokenization_spaces",
        "split_special_tokens", "chat_template", "backend", "add_bos_token", "add_eos_token",
    }  # fmt: skip
    return found


#: Attributes of the classes that are no fields of a file.
CLASS_ATTRIBUTES = {
    "base_config_key", "base_model_ep_plan", "base_model_pp_plan", "base_model_tp_plan", "base_model_fsdp_plan",
    "attribute_map", "sub_configs", "has_no_defaults_at_init", "_auto_class", "pretrained_config_archive_map",
}  # fmt: skip


@pytest.mark.parametrize("table", sorted(fields_of_transformers()))
def test_every_field_that_transformers_defines_has_a_rule(table: str) -> None:
    """A new version of transformers with a new field fails here: decide what it does, and add it to the table."""
    unknown = fields_of_transformers()[table] - TABLES[table].keys() - CLASS_ATTRIBUTES
    assert unknown == set()


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_rule_says_why(table: str) -> None:
    for name, rule in TABLES[table].items():
        why = rule.how if isinstance(rule, rules.Honoured) else rule.why
        assert len(why.split()) >= 1 and why == why.strip(), name


def test_files_that_transformers_itself_saves_are_accepted(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    import transformers

    tiny = tinies["tiny-a"]
    tiny.reference.model.save_pretrained(tmp_path / "saved")
    transformers.SiglipImageProcessor(size={"height": 42, "width": 42}).save_pretrained(tmp_path / "saved")
    transformers.GenerationConfig(eos_token_id=1, bos_token_id=2, pad_token_id=0).save_pretrained(tmp_path / "saved")
    shutil.copy(tiny.checkpoint / "tokenizer.model", tmp_path / "saved")
    assert export(tmp_path / "saved", tmp_path / "bundle") == 0
    assert_same_weights(tmp_path / "bundle", tiny.bundle)


# -------------------------------------------------------------------------------- what changes answers is refused

REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("config.json", {"architectures": ["ColPaliForRetrieval"]}, ["architectures", "PaliGemmaForConditionalGeneration"]),
    ("config.json", {"auto_map": {"AutoModel": "x.py"}}, ["auto_map"]),
    ("config.json", {"something_new": 3}, ["something_new is 3", "does not know"]),
    ("config.json", {"text_config": {"attention_bias": True}}, ["text_config.attention_bias is true", "accepted: false"]),  # noqa: E501
    ("config.json", {"text_config": {"hidden_activation": "relu"}}, ["hidden_activation", "gelu_pytorch_tanh"]),
    ("config.json", {"text_config": {"use_bidirectional_attention": False}}, ["use_bidirectional_attention is false"]),
    ("config.json", {"text_config": {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}},
     ["text_config.rope_scaling.rope_type", "linear", "default"]),
    ("config.json", {"text_config": {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}}, ["yarn"]),
    ("config.json", {"text_config": {"partial_rotary_factor": 0.5}}, ["partial_rotary_factor is 0.5"]),
    ("config.json", {"text_config": {"layer_types": ["full_attention"]}}, ["layer_types"]),
    ("config.json", {"text_config": {"layer_types": ["full_attention", "linear_attention", "full_attention"]}},
     ["layer_types"]),
    ("config.json", {"text_config": {"some_cap": 5}}, ["text_config.some_cap is 5"]),
    ("config.json", {"vision_config": {"hidden_act": "quick_gelu"}}, ["vision_config.hidden_act", "quick_gelu"]),
    ("config.json", {"vision_config": {"num_channels": 1}}, ["num_channels is 1"]),
    ("generation_config.json", {"eos_token_id": 107}, ["eos_token_id is [107]", "accepted: 1"]),
    ("generation_config.json", {"suppress_tokens": ["a"]}, ["suppress_tokens", "ids of tokens"]),
    ("config.json", {"eos_token_id": [107]}, ["eos_token_id is [107]"]),
    ("generation_config.json", {"do_sample": True}, ["do_sample is true", "greedily"]),
    ("generation_config.json", {"num_beams": 4}, ["num_beams is 4"]),
    ("generation_config.json", {"repetition_penalty": 1.2}, ["repetition_penalty is 1.2"]),
    ("generation_config.json", {"no_repeat_ngram_size": 3}, ["no_repeat_ngram_size"]),
    ("generation_config.json", {"bad_words_ids": [[3]]}, ["bad_words_ids"]),
    ("generation_config.json", {"brand_new": 1}, ["brand_new is 1"]),
    ("preprocessor_config.json", {"resample": 0}, ["resample is 0", "2 (bilinear) and 3 (bicubic)", "nearest"]),
    ("preprocessor_config.json", {"resample": 1}, ["lanczos"]),
    ("preprocessor_config.json", {"size": {"height": 50, "width": 42}}, ["size", "42"]),
    ("preprocessor_config.json", {"size": {"shortest_edge": 42}}, ["shortest_edge"]),
    ("preprocessor_config.json", {"do_resize": False}, ["do_resize is false"]),
    ("preprocessor_config.json", {"do_center_crop": True}, ["do_center_crop is true"]),
    ("preprocessor_config.json", {"do_pad": True}, ["do_pad is true", "--padding=pad_white"]),
    ("preprocessor_config.json", {"image_mean": [0.5, 0.5]}, ["image_mean"]),
    ("preprocessor_config.json", {"image_std": [0.5, 0, 0.5]}, ["image_std"]),
    ("preprocessor_config.json", {"rescale_factor": -1}, ["rescale_factor"]),
    ("preprocessor_config.json", {"image_seq_length": 256}, ["image_seq_length is 256", "9 tokens"]),
    ("preprocessor_config.json", {"image_processor_type": "CLIPImageProcessor"}, ["CLIPImageProcessor"]),
    ("preprocessor_config.json", {"do_binarize": True}, ["do_binarize"]),
    ("processor_config.json", {"processor_class": "LlavaProcessor"}, ["LlavaProcessor"]),
    ("processor_config.json", {"image_processor": {"resample": 5}}, ["processor_config.json: resample is 5"]),
    ("tokenizer_config.json", {"add_prefix_space": True}, ["add_prefix_space is true"]),
    ("tokenizer_config.json", {"clean_up_tokenization_spaces": True}, ["clean_up_tokenization_spaces is true"]),
    ("tokenizer_config.json", {"tokenizer_class": "T5Tokenizer"}, ["T5Tokenizer"]),
    ("tokenizer_config.json", {"eos_token": "<end_of_turn>"}, ["eos_token", "<end_of_turn>"]),
    ("tokenizer_config.json", {"sp_model_kwargs": {"alpha": 0.1}}, ["sp_model_kwargs"]),
    ("special_tokens_map.json", {"bos_token": {"content": "<s>"}}, ["special_tokens_map.json: bos_token", "<s>"]),
]  # fmt: skip


def changed(checkpoint: Path, target: Path, file: str, fields: dict[str, Any]) -> Path:
    """A copy of the checkpoint with fields of a JSON file set; fields of blocks join the block."""
    shutil.copytree(checkpoint, target)
    path = target / file
    content = json.loads(path.read_text()) if path.exists() else {}
    for name, value in fields.items():
        joins = isinstance(value, dict) and isinstance(content.get(name), dict)
        content[name] = {**content[name], **value} if joins else value
    path.write_text(json.dumps(content))
    return target


@pytest.mark.parametrize(("file", "fields", "words"), REFUSED, ids=[f"{file}-{fields}" for file, fields, _ in REFUSED])
def test_a_field_that_is_not_served_is_refused_by_name(
    tinies: dict[str, Tiny],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    file: str,
    fields: dict[str, Any],
    words: list[str],
) -> None:
    given = changed(tinies["tiny-a"].checkpoint, tmp_path / "given", file, fields)
    assert_refused(given, tmp_path / "out" / "bundle", capsys, [file, *words])


def test_a_refused_field_can_be_given_up_by_name(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = changed(tinies["tiny-a"].checkpoint, tmp_path / "given", "generation_config.json", {"num_beams": 4})
    flag = "--ignore=generation_config.json:num_beams"
    assert_refused(given, tmp_path / "out" / "bundle", capsys, [flag])
    assert cli.main(["export", f"--checkpoint={given}", f"--output={tmp_path}/bundle", flag]) == 0
    assert "num_beams is 4 and is ignored" in capsys.readouterr().err
    assert bundle.read_manifest(tmp_path / "bundle")["provenance"]["ignored"] == [flag.split("=")[1]]
    unused = "--ignore=config.json:hidden_size"
    assert_refused(tinies["tiny-a"].checkpoint, tmp_path / "out" / "bundle", capsys, [unused, "no field"], unused)


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("config.json", {"text_config": {"cache_implementation": "hybrid", "attention_dropout": 0.1}}),
    ("config.json", {"torch_dtype": "bfloat16", "_name_or_path": "x", "unsloth_version": "2025.1"}),
    ("config.json", {"text_config": {"temperature": 1.0, "top_k": 50, "num_beams": 1, "max_length": 20}}),
    ("config.json", {"vision_config": {"projector_hidden_act": "gelu_fast", "vision_use_head": True}}),
    ("config.json", {"something_new": None, "something_else": False}),
    ("generation_config.json", {"eos_token_id": [1], "temperature": 0.7, "top_p": 0.9, "max_new_tokens": 100}),
    ("preprocessor_config.json", {"resample": 3, "do_convert_rgb": None, "size": {"height": 42, "width": 42}}),
    ("preprocessor_config.json", {"image_processor_type": "SiglipImageProcessorFast", "image_seq_length": 9}),
    ("processor_config.json", {"processor_class": "PaliGemmaProcessor", "image_seq_length": 9}),
    ("tokenizer_config.json", {"add_bos_token": True, "bos_token": "<bos>", "model_max_length": 10**30}),
    ("special_tokens_map.json", {"additional_special_tokens": ["<image>"], "eos_token": {"content": "<eos>"}}),
]


@pytest.mark.parametrize(("file", "fields"), ACCEPTED, ids=[f"{file}-{fields}" for file, fields in ACCEPTED])
def test_a_field_that_changes_nothing_is_accepted(
    tinies: dict[str, Tiny], tmp_path: Path, file: str, fields: dict[str, Any]
) -> None:
    given = changed(tinies["tiny-a"].checkpoint, tmp_path / "given", file, fields)
    assert export(given, tmp_path / "bundle") == 0
    assert_same_weights(tmp_path / "bundle", tinies["tiny-a"].bundle)


# ---------------------------------------------------------------------------------------------- what is honoured


@pytest.mark.parametrize(
    ("value", "name"), [(2, "bilinear_antialias"), (3, "pillow_bicubic"), ("bilinear", "bilinear_antialias")]
)
@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_resampling_is_the_checkpoints(
    tinies: dict[str, Tiny], tmp_path: Path, file: str, value: int | str, name: str
) -> None:
    fields = {"resample": value} if file.startswith("pre") else {"image_processor": {"resample": value}}
    given = changed(tinies["tiny-a"].checkpoint, tmp_path / "given", file, fields)
    assert export(given, tmp_path / "bundle") == 0
    assert bundle.read_manifest(tmp_path / "bundle")["image"]["resampling"] == name
    assert export(given, tmp_path / "flag", "--resampling=bilinear") == 0
    assert bundle.read_manifest(tmp_path / "flag")["image"]["resampling"] == "bilinear"


NORMALIZATIONS = [
    {"image_mean": [0.48, 0.45, 0.40], "image_std": [0.26, 0.25, 0.27]},
    {"image_mean": 0.4, "image_std": 0.2},
    {"do_normalize": False},
    {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    {"rescale_factor": 1 / 127.5, "do_normalize": False},
]


@pytest.mark.parametrize("fields", NORMALIZATIONS, ids=str)
def test_normalisation_is_the_checkpoints(tinies: dict[str, Tiny], tmp_path: Path, fields: dict[str, Any]) -> None:
    """The features equal those that transformers' tower gives of pictures normalised by transformers' processor."""
    import transformers

    tiny = tinies["tiny-a"]
    given = changed(tiny.checkpoint, tmp_path / "given", "preprocessor_config.json", fields)
    assert export(given, tmp_path / "bundle") == 0
    vision = load_module(tmp_path / "bundle", "vision.pt")
    image = transformers.SiglipImageProcessor(size={"height": 42, "width": 42}, **fields)
    model = tiny.reference.model
    for pixels in tiny.pixels.values():
        values = image(pixels[0].permute(2, 0, 1).numpy(), return_tensors="pt")["pixel_values"]
        expected = model.model.multi_modal_projector(model.model.vision_tower(values).last_hidden_state)[0]
        assert torch.allclose(vision(pixels), expected, atol=2e-4 * float(expected.abs().max()))
        if "do_rescale" not in fields:  # those numbers are the usual ones, said in another way
            assert not torch.allclose(vision(pixels), tiny.vision(pixels), atol=1e-2)


def test_the_usual_normalisation_said_otherwise_leaves_the_weights_as_they_are(
    tinies: dict[str, Tiny], tmp_path: Path
) -> None:
    fields = {"rescale_factor": 0.00392156862745098, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    given = changed(tinies["tiny-a"].checkpoint, tmp_path / "given", "preprocessor_config.json", fields)
    assert export(given, tmp_path / "bundle") == 0
    assert weights(tmp_path / "bundle").keys() == weights(tinies["tiny-a"].bundle).keys()
    assert_same_weights(tmp_path / "bundle", tinies["tiny-a"].bundle)


def test_ends_and_suppressed_tokens_are_the_checkpoints(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The tokens of transformers with the same generation_config.json, which would be others without it."""
    tiny = tinies["tiny-a"]
    usual = [tiny.tokens(case) for case in tiny.cases]
    often = max({token for tokens in usual for token in tokens}, key=lambda one: sum(t.count(one) for t in usual))
    ends = sorted({tokens[4] for tokens in usual if len(tokens) > 5} - {often})
    fields = {"eos_token_id": [1, *ends], "suppress_tokens": [often, 1700]}
    given = changed(tiny.checkpoint, tmp_path / "given", "generation_config.json", fields)
    assert cli.main(["import", str(given), f"--output={tmp_path}/bundle", "--quiet"]) == 0
    assert "8 of 8 cases equal transformers'" in capsys.readouterr().out
    content = bundle.read_manifest(tmp_path / "bundle")
    assert content["format"] == 2
    assert content["tokens"]["more_eos"] == ends and content["tokens"]["suppressed"] == [often]
    decoder = load_module(tmp_path / "bundle", "decoder.pt")
    changed_tokens = 0
    for case, tokens in zip(tiny.cases, usual, strict=True):
        runner = Runner.of_manifest(decoder, content)
        found = runner.generate(tiny.vision(tiny.pixels[case["image"]]), case["prompt_ids"], 20).token_ids
        assert often not in found and not set(found) & set(ends)
        changed_tokens += found != tokens
    assert changed_tokens > len(usual) // 2
    assert cli.main(["verify", str(tmp_path / "bundle")]) == 0
    assert cli.main(["quantize", f"{tmp_path}/bundle", "--quantize=int8", f"--output={tmp_path}/int8", "--quiet"]) == 0
    assert bundle.read_manifest(tmp_path / "int8")["tokens"] == content["tokens"]


def test_layers_with_a_window_are_the_checkpoints(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    kinds = ["full_attention", "sliding_attention", "sliding_attention"]
    fields = {"text_config": {"layer_types": kinds, "sliding_window": 7}}
    given = changed(tinies["tiny-a"].checkpoint, tmp_path / "given", "config.json", fields)
    assert export(given, tmp_path / "hf", "--window-mode=hf") == 0
    assert bundle.read_manifest(tmp_path / "hf")["architecture"]["windows"] == [0, 7, 7]
    assert cli.main(["quantize", str(tmp_path / "hf"), "--quantize=int8", f"--output={tmp_path}/int8", "--quiet"]) == 0
    assert bundle.read_manifest(tmp_path / "int8")["architecture"]["windows"] == [0, 7, 7]

# SPDX-License-Identifier: Apache-2.0
"""config.json: every published size, in full and as transformers shortens it, with either spelling of its fields."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from paligemma_export.architecture import Architecture, geometries, geometry
from paligemma_export.checkpoint_writer import config_of
from paligemma_export.hf_config import architecture_of

PUBLISHED = [name for name in geometries() if name.split("-")[0] in ("3b", "10b", "28b")]


def full(name: str) -> dict[str, Any]:
    return config_of(geometry(name), "bfloat16")


def read(config: dict[str, Any]) -> Architecture:
    return architecture_of(config, "none", None)


def same(found: Architecture, expected: Architecture) -> bool:
    """Equal, the query scale within its rounding."""
    close = abs(found.query_scale / expected.query_scale - 1) < 1e-12
    return close and found.replace(query_scale=1.0) == expected.replace(query_scale=1.0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_read_in_full(name: str) -> None:
    assert same(read(full(name)), geometry(name))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_read_as_transformers_shortens_them(name: str) -> None:
    """What differs from the classes' own defaults is all that is left."""
    import transformers

    config = full(name)
    for block, kind in (("text_config", "Gemma2Config"), ("vision_config", "SiglipVisionConfig")):
        defaults = getattr(transformers, kind)().to_dict()
        config[block] = {
            key: value
            for key, value in config[block].items()
            if key == "model_type" or key not in defaults or value != defaults[key]
        }
    assert name.startswith("3b") == ("hidden_size" not in config["text_config"])
    assert same(read(config), geometry(name))


@pytest.mark.parametrize("field", sorted(full("3b-224")["text_config"]))
@pytest.mark.parametrize("how", ["absent", "null"])
def test_any_text_field_of_the_3b_may_be_missing(field: str, how: str) -> None:
    config = full("3b-224")
    if how == "absent":
        del config["text_config"][field]
    elif "softcap" not in field:  # there null means off
        config["text_config"][field] = None
    assert same(read(config), geometry("3b-224"))


@pytest.mark.parametrize("field", ["image_size", "layer_norm_eps", "model_type", "vision_use_head", "projection_dim"])
def test_vision_fields_with_a_default_may_be_missing(field: str) -> None:
    config = full("3b-224")
    del config["vision_config"][field]
    assert same(read(config), geometry("3b-224"))


def test_without_any_vision_config_the_tower_is_the_published_one() -> None:
    config = full("10b-224")
    del config["vision_config"]
    assert same(read(config), geometry("10b-224"))


def test_the_image_token_has_two_spellings_and_a_default() -> None:
    for change in ({}, {"image_token_index": 257152}, {"image_token_id": 257152}):
        config = full("3b-224")
        del config["image_token_index"]
        assert read(config | change).vocab == 257152
    config = full("tiny-a")
    config["image_token_id"] = config.pop("image_token_index")
    assert read(config).vocab == 1664


def test_rope_theta_has_two_places() -> None:
    config = full("3b-224")
    del config["text_config"]["rope_theta"]
    config["text_config"]["rope_parameters"] = {"rope_type": "default", "rope_theta": 12345.0}
    assert read(config).rope_theta == 12345


@pytest.mark.parametrize(("value", "cap"), [(None, 0.0), (0, 0.0), (20, 20.0)])
def test_soft_caps_can_be_off(value: float | None, cap: float) -> None:
    config = copy.deepcopy(full("3b-224"))
    config["text_config"] |= {"final_logit_softcapping": value, "attn_logit_softcapping": value}
    assert (read(config).final_softcap, read(config).attention_softcap) == (cap, cap)
    assert architecture_of(config, "none", 7.0).final_softcap == 7
    assert architecture_of(config, "none", 0.0).final_softcap == 0

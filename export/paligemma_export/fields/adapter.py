# SPDX-License-Identifier: Apache-2.0
"""adapter_config.json of PEFT, for adapters that --adapter merges into their base."""

from __future__ import annotations

from paligemma_export.fields.rules import Harmless, Honoured, Only, Rule

_ORIGIN = Harmless("says where the adapter came from")
_TRAINING = Harmless("counts in training only")
_WHICH = Harmless("the adapter's own tensors say which modules it changes")
_OTHER = "merging computes W + scale * B A and nothing else"

TABLE: dict[str, Rule] = {
    "peft_type": Only(("LORA",), _OTHER),
    "task_type": _ORIGIN,
    "base_model_name_or_path": Honoured("is shown beside the checkpoint that was given"),
    "revision": _ORIGIN,
    "auto_mapping": _ORIGIN,
    "inference_mode": _TRAINING,
    "peft_version": _ORIGIN,
    "r": Honoured("the tensors' own rank, which the scale divides by"),
    "lora_alpha": Honoured("the scale is lora_alpha / r"),
    "rank_pattern": Honoured("the tensors' own rank"),
    "alpha_pattern": Honoured("lora_alpha of single modules"),
    "use_rslora": Honoured("the scale is lora_alpha / sqrt(r)"),
    "lora_dropout": _TRAINING,
    "init_lora_weights": Only(
        (True, False, "gaussian", "orthogonal", "eva", "lora_ga"), "with others the base's weights were changed, too"
    ),
    "target_modules": _WHICH,
    "exclude_modules": _WHICH,
    "target_parameters": Only(([],), "single parameters are not merged"),
    "layers_to_transform": _WHICH,
    "layers_pattern": _WHICH,
    "modules_to_save": Only(([],), "whole modules that were trained are not merged"),
    "trainable_token_indices": Only(([], {}), "rows of the table that were trained are not merged"),
    "bias": Only(("none",), "biases that were trained are not merged"),
    "lora_bias": Only((False,), "biases that were trained are not merged"),
    "fan_in_fan_out": Only((False,), "matrices are not transposed"),
    "use_dora": Only((False,), _OTHER),
    "use_qalora": Only((False,), _OTHER),
    "layer_replication": Only(([],), "layers are not repeated"),
    "megatron_config": Only(({},), _OTHER),
    "megatron_core": _ORIGIN,
    "loftq_config": Only(({},), "with it the base's weights were changed, too"),
    "eva_config": _TRAINING,
    "corda_config": Only(({},), "with it the base's weights were changed, too"),
    "lora_ga_config": _TRAINING,
    "qalora_group_size": Harmless("counts with use_qalora only"),
    "runtime_config": Harmless("changes the speed, not the result"),
    "ensure_weight_tying": Harmless("the head is the table"),
    "alora_invocation_tokens": Only(([],), _OTHER),
    "arrow_config": Only(({},), _OTHER),
}

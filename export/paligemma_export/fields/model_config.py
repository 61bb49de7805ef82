# SPDX-License-Identifier: Apache-2.0
"""config.json: its top level, text_config with its rope_parameters, and vision_config."""

from __future__ import annotations

from paligemma_export.fields import generation
from paligemma_export.fields.rules import Harmless, Honoured, Only, Rule

_NUMBER = Honoured("a number of the architecture, checked against the shapes of the tensors")
_ORIGIN = Harmless("says where the file came from")
_TRAINING = Harmless("counts in training only")
_REPORT = Harmless("says what transformers returns beside the logits")
_OLD = Harmless("is left over from older versions; the model does not read it")
_ROUNDING = Harmless("chooses among implementations of the same formula")
_ACTIVATION = Only(("gelu_pytorch_tanh",), "the kernels compute the tanh form of GELU")

# Fields that every configuration of transformers may hold.
_COMMON: dict[str, Rule] = {
    **generation.TABLE,
    "max_length": _OLD,  # here it is a leftover, in generation_config.json a wish
    "architectures": Only(
        (
            ["PaliGemmaForConditionalGeneration"],
            ["Gemma2ForCausalLM"],
            ["Gemma2Model"],
            ["SiglipVisionModel"],
            ["PaliGemmaModel"],
        ),
        "another head gives other answers",
    ),
    "model_type": Honoured("tells PaliGemma 2 from other models"),
    "auto_map": Only(({},), "code that travels with a checkpoint is not run"),
    "dtype": Harmless("each tensor says its own type"),
    "torch_dtype": Harmless("each tensor says its own type"),
    "transformers_version": _ORIGIN,
    "transformers.js_config": _ORIGIN,
    "_name_or_path": _ORIGIN,
    "_commit_hash": _ORIGIN,
    "unsloth_version": _ORIGIN,
    "unsloth_fixed": _ORIGIN,
    "output_attentions": _REPORT,
    "output_hidden_states": _REPORT,
    "return_dict": _REPORT,
    "use_return_dict": _REPORT,
    "keys_to_ignore_at_inference": _REPORT,
    "chunk_size_feed_forward": Harmless("computes the same in pieces"),
    "id2label": Harmless("is for classifiers"),
    "label2id": Harmless("is for classifiers"),
    "num_labels": Harmless("is for classifiers"),
    "problem_type": Harmless("is for classifiers"),
    "finetuning_task": Harmless("is for classifiers"),
    "task_specific_params": _OLD,
    "is_encoder_decoder": Only((False,), "the model has no text encoder"),
    "is_decoder": _OLD,
    "add_cross_attention": Only((False,), "the model has no cross attention"),
    "cross_attention_hidden_size": Only((), "the model has no cross attention"),
    "tie_encoder_decoder": _OLD,
    "tie_word_embeddings": Honoured("a head of its own is compared with the embedding table"),
    "pruned_heads": Only(({},), "the kernels compute every head"),
    "tokenizer_class": _OLD,
    "prefix": _OLD,
    "sep_token_id": _OLD,
    "torchscript": _OLD,
    "use_bfloat16": _OLD,
    "tf_legacy_loss": _OLD,
    "_attn_implementation": _ROUNDING,
    "_attn_implementation_autoset": _ROUNDING,
    "_attn_implementation_internal": _ROUNDING,
    "attn_implementation": _ROUNDING,
    "_experts_implementation": _ROUNDING,
    "initializer_range": _TRAINING,
    "initializer_factor": _TRAINING,
    "attention_dropout": _TRAINING,
    "gradient_checkpointing": _TRAINING,
    "quantization_config": Honoured("a quantised checkpoint is refused by the name of its method"),
}

TOP: dict[str, Rule] = {
    **_COMMON,
    "text_config": Honoured("a block of its own"),
    "vision_config": Honoured("a block of its own"),
    "image_token_index": Honoured("the first id behind the vocabulary"),
    "image_token_id": Honoured("the first id behind the vocabulary"),
    "ignore_index": _TRAINING,
    "hidden_size": _OLD,
    "vocab_size": _OLD,
    "_vocab_size": _OLD,
    "projection_dim": Harmless("the projector's shape is the one that counts"),
    "num_image_tokens": Harmless("follows from image_size and patch_size"),
    "image_seq_length": Harmless("follows from image_size and patch_size"),
}

TEXT: dict[str, Rule] = {
    **_COMMON,
    "hidden_size": _NUMBER,
    "intermediate_size": _NUMBER,
    "num_hidden_layers": _NUMBER,
    "num_attention_heads": _NUMBER,
    "num_key_value_heads": _NUMBER,
    "head_dim": _NUMBER,
    "vocab_size": Harmless("the rows of the embedding table are the ones that count"),
    "max_position_embeddings": Honoured("the limit of positions"),
    "rms_norm_eps": Honoured("eps"),
    "query_pre_attn_scalar": Honoured("the query scale"),
    "attn_logit_softcapping": Honoured("the soft-cap of attention"),
    "final_logit_softcapping": Honoured("the soft-cap of the logits, or --final-softcap"),
    "sliding_window": Honoured("with --window-mode=hf"),
    "sliding_window_size": _OLD,
    "layer_types": Honoured("which layers have the window, with --window-mode=hf"),
    "_sliding_window_pattern": Harmless("layer_types says the same; without it, every second layer has the window"),
    "sliding_window_pattern": Harmless("layer_types says the same; without it, every second layer has the window"),
    "rope_theta": Honoured("the base of the rotation"),
    "rope_parameters": Honoured("a block of its own"),
    "rope_scaling": Honoured("a block of its own"),
    "partial_rotary_factor": Only((1, 1.0), "every dimension is rotated"),
    "hidden_activation": _ACTIVATION,
    "hidden_act": Harmless("Gemma 2 reads hidden_activation"),
    "attention_bias": Only((False,), "the kernels add no bias"),
    "mlp_bias": Only((False,), "the kernels add no bias"),
    "use_bidirectional_attention": Only((True,), "the prefix attends to all of itself, as PaliGemma was trained"),
    "num_image_tokens": Harmless("follows from image_size and patch_size"),
    "pretraining_tp": _OLD,
    "hybrid": _OLD,
}

# The fields of rope_parameters, which transformers before 5 calls rope_scaling.
ROPE: dict[str, Rule] = {
    "rope_theta": Honoured("the base of the rotation"),
    "rope_type": Only(("default",), "positions are not scaled"),
    "type": Only(("default",), "positions are not scaled"),
    "partial_rotary_factor": Only((1, 1.0), "every dimension is rotated"),
    "factor": Only((1, 1.0), "positions are not scaled"),
}

VISION: dict[str, Rule] = {
    **_COMMON,
    "hidden_size": _NUMBER,
    "intermediate_size": _NUMBER,
    "num_hidden_layers": _NUMBER,
    "num_attention_heads": _NUMBER,
    "patch_size": _NUMBER,
    "image_size": _NUMBER,
    "layer_norm_eps": Honoured("eps of the tower"),
    "hidden_act": _ACTIVATION,
    "num_channels": Only((3,), "images are RGB"),
    "num_positions": Harmless("follows from image_size and patch_size"),
    "num_image_tokens": Harmless("follows from image_size and patch_size"),
    "projection_dim": Harmless("the projector's shape is the one that counts"),
    "projector_hidden_act": Harmless("the projector is one matrix without an activation"),
    "vision_use_head": Harmless("the model does not read the pooling head"),
}

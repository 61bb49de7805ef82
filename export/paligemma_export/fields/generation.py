# SPDX-License-Identifier: Apache-2.0
"""generation_config.json, and the same fields where transformers before 4.26 kept them, in config.json."""

from __future__ import annotations

from paligemma_export.fields.rules import Harmless, Honoured, Only, Rule, Told

_SAMPLED = Harmless("counts with do_sample only; a request carries its own")
_BEAMS = Harmless("counts with several beams only")
_SPEED = Harmless("changes the speed, not the tokens")
_REPORT = Harmless("says what transformers returns beside the tokens")
_LENGTH = Told("the length is the request's, or a method's default_tokens and max_tokens (--methods)")
_GREEDY = "the server decodes greedily unless a request asks for sampling"
_OFF = "the server does not do this"

TABLE: dict[str, Rule] = {
    "do_sample": Only((False,), _GREEDY),
    "temperature": _SAMPLED,
    "top_k": _SAMPLED,
    "top_p": _SAMPLED,
    "min_p": _SAMPLED,
    "top_h": _SAMPLED,
    "typical_p": _SAMPLED,
    "epsilon_cutoff": _SAMPLED,
    "eta_cutoff": _SAMPLED,
    "num_beams": Only((1,), "the server has no beam search"),
    "num_beam_groups": Only((1,), "the server has no beam search"),
    "early_stopping": _BEAMS,
    "length_penalty": _BEAMS,
    "diversity_penalty": _BEAMS,
    "num_return_sequences": Only((1,), "a request asks for candidates itself"),
    "max_length": _LENGTH,
    "max_new_tokens": _LENGTH,
    "max_time": Told("a request's deadline says how long it may take"),
    "min_length": Only((0,), "a request asks for a minimum itself"),
    "min_new_tokens": Only((0,), "a request asks for a minimum itself"),
    "stop_strings": Only(([],), "a request carries its own stop sequences"),
    "repetition_penalty": Only((1.0,), "a request carries its own"),
    "encoder_repetition_penalty": Only((1.0,), _OFF),
    "no_repeat_ngram_size": Only((0,), _OFF),
    "encoder_no_repeat_ngram_size": Only((0,), _OFF),
    "bad_words_ids": Only(([],), _OFF),
    "force_words_ids": Only(([],), _OFF),
    "constraints": Only(([],), _OFF),
    "sequence_bias": Only(([], {}), _OFF),
    "suppress_tokens": Honoured("the manifest's tokens.suppressed"),
    "begin_suppress_tokens": Only(([],), _OFF),
    "forced_bos_token_id": Only((), _OFF),
    "forced_eos_token_id": Only((), _OFF),
    "forced_decoder_ids": Only(([],), _OFF),
    "exponential_decay_length_penalty": Only((), _OFF),
    "guidance_scale": Only((1, 1.0), _OFF),
    "watermarking_config": Only((), _OFF),
    "penalty_alpha": Only((0, 0.0), _OFF),
    "dola_layers": Only((), _OFF),
    "token_healing": Only((False,), _OFF),
    "use_mtp": Only((False,), _OFF),
    "renormalize_logits": Harmless("the best token stays the best"),
    "remove_invalid_values": Harmless("weights that are not finite are refused"),
    "pad_token_id": Harmless("the server pads nothing"),
    "bos_token_id": Only((2,), "the server begins every prompt with <bos>, which is 2"),
    "eos_token_id": Honoured("1 is <eos>; others are the manifest's tokens.more_eos"),
    "decoder_start_token_id": Harmless("is for models with an encoder"),
    "use_cache": _SPEED,
    "cache_implementation": _SPEED,
    "cache_config": _SPEED,
    "max_cache_len": _SPEED,
    "return_legacy_cache": _SPEED,
    "low_memory": _SPEED,
    "prefill_chunk_size": _SPEED,
    "compile_config": _SPEED,
    "disable_compile": _SPEED,
    "continuous_batching_config": _SPEED,
    "is_assistant": _SPEED,
    "num_assistant_tokens": _SPEED,
    "num_assistant_tokens_schedule": _SPEED,
    "assistant_confidence_threshold": _SPEED,
    "assistant_early_exit": _SPEED,
    "assistant_lookbehind": _SPEED,
    "assistant_ensemble_weight": _SPEED,
    "target_lookbehind": _SPEED,
    "prompt_lookup_num_tokens": _SPEED,
    "max_matching_ngram_size": _SPEED,
    "speculation_type": _SPEED,
    "output_attentions": _REPORT,
    "output_hidden_states": _REPORT,
    "output_scores": _REPORT,
    "output_logits": _REPORT,
    "return_dict_in_generate": _REPORT,
    "_from_model_config": Harmless("says where the file came from"),
    "_commit_hash": Harmless("says where the file came from"),
    "transformers_version": Harmless("says where the file came from"),
}

# What transformers before 4.26 wrote into config.json whether it was set or not: its defaults change nothing.
LEGACY_DEFAULTS = {"max_length": 20, "top_k": 50, "temperature": 1.0, "top_p": 1.0, "typical_p": 1.0}

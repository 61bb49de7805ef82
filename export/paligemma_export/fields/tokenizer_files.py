# SPDX-License-Identifier: Apache-2.0
"""tokenizer_config.json and special_tokens_map.json."""

from __future__ import annotations

from paligemma_export.fields.rules import Harmless, Honoured, Only, Rule, Told

_ORIGIN = Harmless("says where the tokenizer came from")
_CALL = Harmless("is about batches of transformers: the server pads and truncates nothing")
_PROCESSOR = Harmless("PaliGemma's processor switches it off and writes <bos> itself, as the server does")

TOKENIZER: dict[str, Rule] = {
    "tokenizer_class": Only(
        ("GemmaTokenizer", "GemmaTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend", "LlamaTokenizer"),
        "another class cuts text otherwise",
    ),
    "auto_map": Only(({},), "code that travels with a checkpoint is not run"),
    "added_tokens_decoder": Honoured("tokens behind <image> join the vocabulary"),
    "added_tokens": Honoured("tokens behind <image> join the vocabulary"),
    "extra_special_tokens": Honoured("tokens behind <image> join the vocabulary"),
    "additional_special_tokens": Honoured("tokens behind <image> join the vocabulary"),
    "model_specific_special_tokens": Honoured("tokens behind <image> join the vocabulary"),
    "bos_token": Only(("<bos>",), "the server begins every prompt with <bos>"),
    "eos_token": Only(("<eos>",), "the server ends at <eos>"),
    "pad_token": Only(("<pad>", "<eos>"), "the server pads nothing"),
    "unk_token": Only(("<unk>",), "characters without a piece become bytes"),
    "mask_token": Harmless("is for other tasks"),
    "sep_token": Harmless("is for other tasks"),
    "cls_token": Harmless("is for other tasks"),
    "image_token": Only(("<image>",), "the image token is <image>"),
    "image_token_id": Harmless("config.json says it"),
    "boi_token": _ORIGIN,
    "eoi_token": _ORIGIN,
    "add_bos_token": _PROCESSOR,
    "add_eos_token": _PROCESSOR,
    "add_prefix_space": Only((False,), "prompts begin without a space"),
    "do_lower_case": Only((False,), "text keeps its case"),
    "clean_up_tokenization_spaces": Only((False,), "answers keep their spaces"),
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": Only(
        (False,), "answers keep their spaces"
    ),
    "sp_model_kwargs": Only(({},), "sampling of segmentations is not served"),
    "split_special_tokens": Harmless("text of clients never becomes special tokens, <loc> and <seg> apart"),
    "spaces_between_special_tokens": Harmless("answers hold no special tokens"),
    "legacy": Harmless("Gemma has no prefix space"),
    "use_default_system_prompt": _ORIGIN,
    "use_fast": _ORIGIN,
    "from_slow": _ORIGIN,
    "model_max_length": _CALL,
    "max_len": _CALL,
    "max_length": _CALL,
    "padding": _CALL,
    "truncation": _CALL,
    "padding_side": _CALL,
    "truncation_side": _CALL,
    "truncation_strategy": _CALL,
    "stride": _CALL,
    "pad_to_multiple_of": _CALL,
    "pad_token_type_id": _CALL,
    "model_input_names": _CALL,
    "errors": Harmless("is about bytes that are no UTF-8, which the server replaces"),
    "chat_template": Told(
        "the server's prompts come from the manifest's methods (--methods), not from a chat template"
    ),
    "response_template": Harmless("is about chats"),
    "response_schema": Harmless("is about chats"),
    "processor_class": _ORIGIN,
    "name_or_path": _ORIGIN,
    "special_tokens_map_file": _ORIGIN,
    "tokenizer_file": _ORIGIN,
    "vocab_file": _ORIGIN,
    "files_loaded": _ORIGIN,
    "backend": _ORIGIN,
    "is_local": _ORIGIN,
    "local_files_only": _ORIGIN,
    "init_inputs": _ORIGIN,
    "verbose": _ORIGIN,
    "fix_mistral_regex": _ORIGIN,
    "transformers_version": _ORIGIN,
}

# special_tokens_map.json names the same tokens, each as a string or as an object with its content.
SPECIAL_TOKENS: dict[str, Rule] = {
    name: rule for name, rule in TOKENIZER.items() if name.endswith(("_token", "special_tokens"))
}

# SPDX-License-Identifier: Apache-2.0
"""preprocessor_config.json and processor_config.json: what becomes of a picture before the vision tower sees it."""

from __future__ import annotations

from paligemma_export.fields.rules import Harmless, Honoured, Only, Rule, Told

_ORIGIN = Harmless("says which classes read the file")
_CALL = Harmless("is about the call of transformers, not about pixels")
_AFFINE = Honoured("folded into the weights of the patch embedding")

IMAGE: dict[str, Rule] = {
    "image_processor_type": Only(
        ("SiglipImageProcessor", "SiglipImageProcessorFast", "SiglipImageProcessorPil"),
        "another class treats pictures otherwise",
    ),
    "feature_extractor_type": Only(
        ("SiglipImageProcessor", "SiglipFeatureExtractor"), "another class treats pictures otherwise"
    ),
    "processor_class": _ORIGIN,
    "auto_map": Only(({},), "code that travels with a checkpoint is not run"),
    "do_resize": Honoured("false is accepted by none: the tower takes one size"),
    "size": Honoured("must be the vision tower's square"),
    "resample": Honoured("the manifest's image.resampling"),
    "default_to_square": Only((True,), "the aspect ratio is not kept"),
    "do_rescale": _AFFINE,
    "rescale_factor": _AFFINE,
    "do_normalize": _AFFINE,
    "image_mean": _AFFINE,
    "image_std": _AFFINE,
    "do_convert_rgb": Harmless("the server converts every picture to RGB; transformers fails where it would matter"),
    "do_pad": Only((False,), "--padding=pad_white is the padding that the server has"),
    "pad_size": Harmless("counts with do_pad only"),
    "do_center_crop": Only((False,), "the server crops nothing"),
    "crop_size": Harmless("counts with do_center_crop only"),
    "image_seq_length": Honoured("must be the tower's number of patches"),
    "data_format": _CALL,
    "input_data_format": _CALL,
    "return_tensors": _CALL,
    "device": _CALL,
    "disable_grouping": _CALL,
    "_valid_processor_keys": _CALL,
    "use_fast": _CALL,
}

PROCESSOR: dict[str, Rule] = {
    "processor_class": Only(("PaliGemmaProcessor",), "another class builds prompts otherwise"),
    "auto_map": Only(({},), "code that travels with a checkpoint is not run"),
    "image_processor": Honoured("the fields of preprocessor_config.json"),
    "image_seq_length": Honoured("must be the tower's number of patches"),
    "chat_template": Told(
        "the server's prompts come from the manifest's methods (--methods), not from a chat template"
    ),
    "tokenizer": Harmless("the tokenizer has files of its own"),
    "tokenizer_class": _ORIGIN,
}

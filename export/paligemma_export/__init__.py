# SPDX-License-Identifier: Apache-2.0
"""Turns PaliGemma 2 checkpoints into bundles for the C++ server: TorchScript modules, tokenizer, manifest."""

__version__ = "0.1.0"

BUNDLE_FORMAT = 2  # the newest format; a bundle gets the oldest that can say all it needs
OPERATOR_SET = 1

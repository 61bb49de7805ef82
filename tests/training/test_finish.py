# SPDX-License-Identifier: Apache-2.0
"""Training goes on from the bundle that travels with the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from paligemma_train import batches, evaluate, finish, learn, vqvae
from paligemma_train.model import Config
from paligemma_train.vocabulary import Vocabulary

DEMO = Path(__file__).resolve().parents[2] / "models/demo"


def test_the_committed_bundle_is_a_state_to_train_on(tmp_path: Path) -> None:
    finish.start_from_bundle(Config(), DEMO, tmp_path)
    learner = learn.Learner(Config(), tmp_path, "cpu", learn.Plan(1000))
    settings = {"tokenizer": str(tmp_path / learn.TOKENIZER), "side": 112, "grid": 8, "pictures": 4, "prompts": 6,
                "groups": 1, "most_things": 3, "text_share": 0.0, "pages": 0}
    loss = learner.train_on(batches.make_batch("held-out-resumed", 0, settings))
    assert loss < 5  # from nothing it begins near 20


def test_masks_of_the_committed_codec_come_back(tmp_path: Path) -> None:
    finish.start_from_bundle(Config(), DEMO, tmp_path)
    codec = vqvae.load(tmp_path)
    assert codec is not None
    masks = vqvae.to_input(vqvae.make_batch("held-out-codec", 0, {"scenes": 4}))
    assert vqvae.held_out_iou(codec, masks) > 0.9


def test_the_committed_model_answers_in_plain_pytorch(tmp_path: Path) -> None:
    finish.start_from_bundle(Config(), DEMO, tmp_path)
    codec = vqvae.load(tmp_path)
    assert codec is not None
    model, words = finish.load_model(Config(), tmp_path).eval(), Vocabulary(tmp_path / learn.TOKENIZER)
    row = next(row for row in evaluate.TABLE if row.name == "everyday captions")
    torch.manual_seed(0)
    values = row.score(found := evaluate.cases(row, 20, 3), evaluate.Plain(model, words, codec, "cpu")(found))
    assert np.mean(list(values.values())) > 0.8

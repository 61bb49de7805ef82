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
    finish.start_from_bundle(DEMO, tmp_path)
    trainer = learn.Trainer(Config(), tmp_path, "cpu", learn.Plan(1000))
    settings = {"tokenizer": str(tmp_path / learn.TOKENIZER), "side": 112, "grid": 8, "pictures": 4, "prompts": 6,
                "groups": 1, "most_things": 3, "text_share": 0.0, "pages": 0}
    loss = trainer.train_on(batches.make_batch("held-out-resumed", 0, settings))
    assert loss < 5  # from nothing it begins near 20


def test_masks_of_the_committed_codec_come_back(tmp_path: Path) -> None:
    finish.start_from_bundle(DEMO, tmp_path)
    codec = vqvae.load(tmp_path)
    assert codec is not None
    masks = vqvae.to_input(vqvae.make_batch("held-out-codec", 0, {"scenes": 4}))
    assert vqvae.held_out_iou(codec, masks) > 0.9


def test_the_committed_model_answers_in_plain_pytorch(tmp_path: Path) -> None:
    finish.start_from_bundle(DEMO, tmp_path)
    codec = vqvae.load(tmp_path)
    assert codec is not None
    model, words = finish.load_model(tmp_path).eval(), Vocabulary(tmp_path / learn.TOKENIZER)
    row = next(row for row in evaluate.TABLE if row.name == "everyday captions")
    torch.manual_seed(0)
    values = row.score(found := evaluate.cases(row, 20, 3), evaluate.Plain(model, words, codec, "cpu")(found))
    assert np.mean(list(values.values())) > 0.8


def test_a_model_goes_on_at_another_resolution_with_the_positions_between_its_own(tmp_path: Path) -> None:
    finish.start_from_bundle(DEMO, tmp_path / "same")
    finish.start_from_bundle(DEMO, tmp_path / "larger", image_size=168)
    same, larger = finish.load_model(tmp_path / "same"), finish.load_model(tmp_path / "larger")
    assert (same.config.image_tokens, larger.config.image_tokens) == (64, 144)
    tables = [model.vision_tower.embeddings.position_embedding.weight for model in (same, larger)]
    coarse, fine = (table.detach().unflatten(0, (grid, grid)) for table, grid in zip(tables, (8, 12), strict=True))
    pairs = fine.unflatten(0, (4, 3)).unflatten(2, (4, 3)).mean((1, 3))  # as large as two by two patches of the other
    wanted = coarse.unflatten(0, (4, 2)).unflatten(2, (4, 2)).mean((1, 3))
    assert (pairs - wanted).abs().mean() < 0.1 * wanted.abs().mean()
    rest = [name for name in same.state_dict() if "position_embedding" not in name]
    assert all(torch.equal(same.state_dict()[name], larger.state_dict()[name]) for name in rest)

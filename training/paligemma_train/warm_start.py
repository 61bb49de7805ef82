# SPDX-License-Identifier: Apache-2.0
"""Where stage 2 starts: nothing here is needed later, but the first thousands of examples would go into learning it."""

from __future__ import annotations

import math

import torch

from paligemma_train import dense
from paligemma_train.domain import CHARACTERS, COLORS, NAMES, PLACES
from paligemma_train.model import CURVE, PaliGemma, smooth_locations
from paligemma_train.tower import EDGES, DenseHeads
from paligemma_train.vocabulary import Vocabulary

_PULL = 0.12  # of one unit of a class's score towards its word
_EDGE_PULL = 1.0  # of an edge's point on the curve


def prepare(model: PaliGemma, heads: DenseHeads | None, words: Vocabulary) -> None:
    smooth_locations(model, words.loc_first)
    match_alike(model)
    if heads is not None:
        speak_in_words(model, heads, words)


@torch.no_grad()
def match_alike(model: PaliGemma) -> None:
    """Queries begin as the keys of their group, so that rows attend to rows of alike content."""
    config = model.config
    for layer in model.language_model.layers:
        keys = layer.self_attn.k_proj.weight.unflatten(0, (config.kv_heads, 1, config.head_dim))
        group = config.heads // config.kv_heads
        layer.self_attn.q_proj.weight.copy_(keys.expand(-1, group, -1, -1).flatten(0, 2))


@torch.no_grad()
def speak_in_words(model: PaliGemma, heads: DenseHeads, words: Vocabulary) -> None:
    """The projector writes into every image row the embeddings of the words whose classes the dense heads see there."""
    table = model.language_model.embed_tokens.weight
    projector = model.multi_modal_projector.linear
    projector.weight.mul_(0.5)
    scores = heads.patches.weight.split(list(heads.parts.values()))
    for part, names in (("color", COLORS), ("name", NAMES)):
        rows = scores[list(heads.parts).index(part)]
        _add(projector.weight, rows[1:] - rows.mean(0), _embeddings(table, words, list(names)))
    place = heads.place.weight
    _add(projector.weight, place[1:] - place.mean(0), _embeddings(table, words, list(PLACES)))
    letters = table[[words.processor.piece_to_id(character) for character in CHARACTERS]] * math.sqrt(table.size(1))
    turn = torch.nn.init.orthogonal_(torch.empty(table.size(1), table.size(1)))  # tells right halves from left
    for part, embeddings in (("left", letters), ("right", letters @ turn)):
        rows = scores[list(heads.parts).index(part)]
        _add(projector.weight, rows[1:] - rows.mean(0), embeddings)
    assert len(COLORS) + 1 == dense.COLOR_CLASSES
    show_edges(projector.weight, heads)


@torch.no_grad()
def show_edges(weight: torch.Tensor, heads: DenseHeads) -> None:
    """Each edge of the box stands in every image row in dimensions of its own, as a point of the curve of coordinates,
    so that answering one is to copy it."""
    frame = torch.nn.init.orthogonal_(torch.empty(weight.size(0), EDGES * CURVE))
    weight.add_(_EDGE_PULL * frame @ heads.edges.weight)


def _add(weight: torch.Tensor, rows: torch.Tensor, embeddings: torch.Tensor) -> None:
    weight.add_(_PULL * embeddings.T @ rows)


def _embeddings(table: torch.Tensor, words: Vocabulary, names: list[str]) -> torch.Tensor:
    """[n,H], as they enter the decoder: the mean of a word alone and after a space."""
    encode = words.processor.encode
    return torch.stack([(table[encode(name)[0]] + table[encode(" " + name)[0]]) / 2 for name in names]
                       ) * math.sqrt(table.size(1))

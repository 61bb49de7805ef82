# SPDX-License-Identifier: Apache-2.0
"""The demo model's tokenizer: a sentencepiece BPE by the rules of the real one, trained on the domain's sentences."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from paligemma_train import tasks, worlds
from paligemma_train.domain import CHARACTERS

PAD, EOS, BOS, UNK = 0, 1, 2, 3
LOC_COUNT, SEG_COUNT = 1024, 128
BASE = 832  # pieces before <loc0000>
SIZE = BASE + LOC_COUNT + SEG_COUNT


def corpus(scenes: int = 1200) -> list[str]:
    """Prompts and answers of rendered scenes, but no text that is read from pictures and no regions."""
    lines = [f" {character}" for character in CHARACTERS] + ["".join(CHARACTERS) + "?!.,:;()-'\""]
    for index in range(scenes):
        rng = worlds.random_of("tokenizer", index)
        scene = worlds.render(rng)
        for example in tasks.examples(rng, scene, 6):
            lines.append(example.prompt)
            if example.kind not in ("ocr", "detect", "segment"):
                lines.append(example.answer)
    return lines


def train(path: Path) -> None:
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=buffer, model_type="bpe", vocab_size=BASE, byte_fallback=True,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, split_digits=True, user_defined_symbols=["\n", "\n\n"], pad_id=PAD,
        eos_id=EOS, bos_id=BOS, unk_id=UNK, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>",
        unk_piece="<unk>", num_threads=1, character_coverage=1.0, minloglevel=2, hard_vocab_limit=True)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(buffer.getvalue())
    for text in [f"<loc{i:04d}>" for i in range(LOC_COUNT)] + [f"<seg{i:03d}>" for i in range(SEG_COUNT)]:
        model.pieces.add(piece=text, score=0.0,
                         type=sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED)
    model.trainer_spec.vocab_size = len(model.pieces)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


class Vocabulary:
    def __init__(self, path: Path):
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.loc_first = self.processor.piece_to_id("<loc0000>")
        self.seg_first = self.processor.piece_to_id("<seg000>")
        self.newline = self.processor.encode("\n")[0]
        self.size = self.processor.get_piece_size()

    def prompt(self, text: str) -> list[int]:
        """bos, the prompt, the newline that ends it."""
        return [BOS, *self.processor.encode(text), self.newline]

    def answer(self, text: str) -> list[int]:
        return [*self.processor.encode(text), EOS]

    def spelled(self, text: str) -> list[int]:
        """An answer character by character, as text is read from a picture, whatever words it holds."""
        return [*(self.processor.piece_to_id(character) for character in text), EOS]

    def decode(self, ids: list[int]) -> str:
        """Up to the first eos."""
        return self.processor.decode(ids[:ids.index(EOS)] if EOS in ids else ids)

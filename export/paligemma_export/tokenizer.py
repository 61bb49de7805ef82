# SPDX-License-Identifier: Apache-2.0
"""Tokenizers: the checks that every bundle's must pass, and small ones trained by the rules of the real one."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from paligemma_export import manifest
from paligemma_export.errors import ExportError

LOC_COUNT, SEG_COUNT = 1024, 128
PAD, EOS, BOS, UNK = 0, 1, 2, 3
_REAL_PIECES, _REAL_NEWLINE, _REAL_LOC, _REAL_SEG = 257152, 108, 256000, 257024  # of every published checkpoint
_TINY_BASE = 508  # pieces before <loc0000>

_TEXT = {
    "en": [
        "a photo of a {} on the table",
        "the {} stands beside a small {}",
        "what colour is the {}?",
        "there are two {}s near the {}",
        "describe the {} in the picture",
        "how many {}s are there?",
    ],
    "de": [
        "ein Bild von einem {} auf dem Tisch",
        "der {} steht neben einem {}",
        "welche Farbe hat der {}?",
        "zwei {} sind auf der Straße",
        "wie viele {} sind im Bild zu sehen?",
    ],
    "fr": [
        "une photo d'un {} sur la table",
        "le {} est à côté d'un petit {}",
        "de quelle couleur est le {} ?",
        "il y a deux {} dans la rue",
        "combien de {} voit-on sur l'image ?",
    ],
}
_WORDS = [
    "cat",
    "dog",
    "car",
    "tree",
    "house",
    "bird",
    "person",
    "bicycle",
    "flower",
    "chair",
    "Katze",
    "Hund",
    "Auto",
    "Baum",
    "Haus",
    "chat",
    "chien",
    "voiture",
    "arbre",
    "maison",
]
_PROMPTS = [
    "caption en",
    "caption de",
    "caption fr",
    "describe en",
    "answer en",
    "answer de",
    "answer fr",
    "detect",
    "segment",
    "ocr",
    " ; ",
    "0123456789",
    "What is in this image?",
]


@dataclass(frozen=True)
class TokenIds:
    """The ids that the manifest's `tokens` block holds."""

    newline: int
    loc_first: int
    seg_first: int
    vocab: int

    def block(self) -> dict[str, int]:
        return {
            "pad": PAD,
            "eos": EOS,
            "bos": BOS,
            "newline": self.newline,
            "loc_first": self.loc_first,
            "loc_count": LOC_COUNT,
            "seg_first": self.seg_first,
            "seg_count": SEG_COUNT,
            "vocab": self.vocab,
        }


def load(data: bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=data)


def load_checked(data: bytes) -> sentencepiece.SentencePieceProcessor:
    """Raises ExportError if the bytes are no sentencepiece model."""
    try:
        return load(data)
    except Exception:  # sentencepiece raises bare RuntimeErrors of several texts
        raise ExportError("tokenizer: not a sentencepiece model") from None


def read(path: Path) -> bytes:
    """The bytes of a tokenizer.model, or an ExportError that says what to do."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"tokenizer {path}: {error.strerror}; name one with --tokenizer=FILE") from None


def inspect(data: bytes, vocab: int | None = None) -> TokenIds:
    """Finds the ids and checks what prompts and region parsing rely on."""
    processor = load_checked(data)
    problems = []

    def expect(what: str, found: object, wanted: object) -> None:
        if found != wanted:
            problems.append(f"{what} is {found}, expected {wanted}")

    loc, seg = processor.piece_to_id("<loc0000>"), processor.piece_to_id("<seg000>")
    if UNK in (loc, seg):
        raise ExportError("tokenizer: no <loc0000> or <seg000>; a plain Gemma tokenizer lacks them")
    for name, wanted in (("<pad>", PAD), ("<eos>", EOS), ("<bos>", BOS), ("<unk>", UNK)):
        expect(name, processor.piece_to_id(name), wanted)
    expect("<loc1023>", processor.piece_to_id("<loc1023>"), loc + LOC_COUNT - 1)
    expect("<seg127>", processor.piece_to_id("<seg127>"), seg + SEG_COUNT - 1)
    if vocab is not None:
        expect("the number of pieces", processor.get_piece_size(), vocab)
    newline = processor.encode("\n")
    expect("the number of tokens of a newline", len(newline), 1)
    if processor.get_piece_size() >= _REAL_PIECES:  # then rows of the table have their published meaning
        expect("<loc0000>", loc, _REAL_LOC)
        expect("<seg000>", seg, _REAL_SEG)
        expect("the newline", newline[0], _REAL_NEWLINE)
    for text, ids in (("<loc0000>", [loc]), ("<loc1023><seg127>", [loc + 1023, seg + 127])):
        expect(f"the encoding of {text}", processor.encode(text), ids)
    for text in ("a", " a  b ", "4711", "Größe €", "\U0001f600 <", "a\nb"):
        expect(f"the round trip of {text!r}", processor.decode(processor.encode(text)), text)
    expect("the number of tokens of '4711'", len(processor.encode("4711")), 4)
    if problems:
        raise ExportError("tokenizer: " + "; ".join(problems[:3]))
    return TokenIds(newline=newline[0], loc_first=loc, seg_first=seg, vocab=processor.get_piece_size())


def check_templates(data: bytes, methods: dict[str, Any]) -> None:
    """Special pieces that prompts spell must be pieces that sentencepiece finds in text."""
    processor = load(data)
    for name, method in methods.items():
        for text in manifest.templates({name: method}):
            for spelling in manifest.special_spellings(text):
                if spelling in ("<bos>", "<eos>", "<pad>", "<image>"):
                    raise ExportError(
                        f"methods.{name}: {spelling} in {text!r}: leave it out, the server writes <bos> and the images "
                        "itself, and no prompt holds the others"
                    )
                if len(processor.encode(spelling)) != 1:
                    raise ExportError(f"methods.{name}: {spelling} in {text!r} is no token of this tokenizer")


def check_specials(data: bytes, specials: list[str]) -> None:
    """Pieces that clients may write must be special ones that sentencepiece finds in text."""
    processor = load(data)
    for spelling in specials:
        if not manifest.SPELLING.fullmatch(spelling) or spelling in ("<bos>", "<eos>", "<pad>", "<image>"):
            raise ExportError(f"--client-special={spelling}: only special pieces such as <unused7> can be allowed")
        if len(processor.encode(spelling)) != 1:
            raise ExportError(f"--client-special={spelling} is no token of this tokenizer")


def train(vocab: int) -> bytes:
    """A tokenizer of exactly `vocab` pieces with the rules of the real one; unused pieces fill a large one up.

    With the real vocabulary the ids of newline, <loc> and <seg> are the real ones too.
    """
    base = vocab - LOC_COUNT - SEG_COUNT
    if base < _TINY_BASE:
        raise ExportError(
            f"a tokenizer needs at least {_TINY_BASE + LOC_COUNT + SEG_COUNT} pieces, not {vocab}"
        )
    trained = _train_base()
    pieces = list(trained.pieces)
    user_defined = sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED
    unused = sentencepiece_model_pb2.ModelProto.SentencePiece.UNUSED
    model = sentencepiece_model_pb2.ModelProto()
    model.CopyFrom(trained)
    del model.pieces[:]

    def add(text: str, kind: int) -> None:
        model.pieces.add(piece=text, score=0.0, type=kind)

    model.pieces.extend(pieces[:4])
    if base > 4 * _TINY_BASE:
        for index in range(4, _REAL_NEWLINE):
            add(f"<unused{index}>", unused)
    model.pieces.extend(pieces[4:])
    for index in range(len(model.pieces), base):
        add(f"<unused{index}>", unused)
    for index in range(LOC_COUNT):
        add(f"<loc{index:04d}>", user_defined)
    for index in range(SEG_COUNT):
        add(f"<seg{index:03d}>", user_defined)
    model.trainer_spec.vocab_size = len(model.pieces)
    return model.SerializeToString(deterministic=True)


def _train_base() -> sentencepiece_model_pb2.ModelProto:
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_corpus()),
        model_writer=buffer,
        model_type="bpe",
        vocab_size=_TINY_BASE,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        user_defined_symbols=["\n", "\n\n", "▁▁", "▁▁▁▁"],
        pad_id=PAD,
        eos_id=EOS,
        bos_id=BOS,
        unk_id=UNK,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        num_threads=1,
        character_coverage=1.0,
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(buffer.getvalue())
    return model


def _corpus() -> list[str]:
    lines = []
    for sentences in _TEXT.values():
        for index, word in enumerate(_WORDS):
            other = _WORDS[(index * 7 + 3) % len(_WORDS)]
            lines += [sentence.replace("{}", word, 1).replace("{}", other) for sentence in sentences]
    return lines + _PROMPTS * 20

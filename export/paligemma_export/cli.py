# SPDX-License-Identifier: Apache-2.0
"""The command line: import, export, random, quantize, verify, inspect, goldens."""

from __future__ import annotations

import argparse
import sys

from paligemma_export import __version__, commands, manifest
from paligemma_export.architecture import geometries
from paligemma_export.convert import QUANTIZATIONS, VISION_ENCODINGS
from paligemma_export.errors import ExportError
from paligemma_export.manifest import PADDINGS, RESAMPLINGS

_EPILOG = """examples:
  # from a fine-tune to a server: exported, checked against transformers, and the command that serves it
  python -m paligemma_export import my-finetune
  # a Hugging Face checkpoint (config.json, *.safetensors, tokenizer.model) to a bundle
  python -m paligemma_export export --checkpoint=paligemma2-3b-mix-448 --output=bundles/mix-448 \\
      --mask-decoder=vae-oid.npz
  # a big_vision checkpoint, quantised
  python -m paligemma_export export --checkpoint=pt_3b_224.bf16.npz --tokenizer=paligemma_tokenizer.model \\
      --quantize=int8 --output=bundles/pt-224-int8
  # random weights of the true shapes, the same in Hugging Face layout
  python -m paligemma_export random --geometry=3b-224 --output=bundles/random --checkpoint-output=random-hf
  # does a bundle work at all?
  python -m paligemma_export verify bundles/mix-448

Exit codes: 0 done, 1 the input is wrong (one line says what), 2 usage.
"""


_CHECKPOINT = "Hugging Face folder (of a hub cache, too), big_vision npz, or the first of its .npz.part* files"


def _add_output_flags(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        "--output",
        required=required,
        metavar="BUNDLE",
        help="directory to make; must not exist yet" + ("" if required else " (default: bundles/NAME)"),
    )
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="of what is not quantised (default: as given)"
    )
    parser.add_argument(
        "--quantize",
        choices=QUANTIZATIONS,
        default="none",
        help="what the weights become: int8 (the choice for CPUs), int4 (layers in groups of 32, embedding and "
        "logits int8: the smallest, with the largest loss), mixed (mlp int4, the rest int8: in between), "
        "fp8 (8-bit floating point, weight-only); docs/quantization.md has the figures",
    )
    _add_vision_flag(parser)
    parser.add_argument("--name", help="model name, [a-z0-9.-] (default: the output directory's)")
    parser.add_argument("--display-name", default="", help="name for people")
    parser.add_argument(
        "--mask-decoder",
        metavar="FILE.npz",
        help="VQ-VAE decoder in the published layout; without it Segment is not offered",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress lines")


def _add_vision_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--quantize-vision",
        choices=VISION_ENCODINGS,
        help="what the vision tower becomes with --quantize (default: bfloat16; int8 encodes images about twice as "
        "fast on CPUs and loses more)",
    )


def _export_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "export", help="a checkpoint to a bundle", description=commands.export.__doc__
    )
    parser.add_argument("--checkpoint", required=True, metavar="DIR|FILE.npz", help=_CHECKPOINT)
    _add_checkpoint_flags(parser)
    _add_output_flags(parser)
    parser.set_defaults(run=commands.export)


def _import_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "import",
        help="a checkpoint to a bundle that is checked, and how to serve it",
        description=commands.import_.__doc__,
    )
    parser.add_argument("checkpoint", metavar="DIR|FILE.npz", help=_CHECKPOINT)
    parser.add_argument("--no-compare", action="store_true", help="do not ask transformers the same")
    _add_checkpoint_flags(parser)
    _add_output_flags(parser, required=False)
    parser.set_defaults(run=commands.import_)


def _add_checkpoint_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer", metavar="FILE", help="default: tokenizer.model or tokenizer.json beside the checkpoint"
    )
    parser.add_argument(
        "--adapter", metavar="DIR", help="a LoRA of PEFT (adapter_config.json), merged into the checkpoint"
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="FILE:FIELD",
        help="export although the checkpoint's FILE sets a FIELD that is not served; may be given several times",
    )
    parser.add_argument(
        "--final-softcap",
        type=float,
        metavar="N",
        help="soft-cap of the final logits, 0 = off (fine-tuned checkpoints were trained without it)",
    )
    parser.add_argument(
        "--window-mode",
        choices=("none", "hf"),
        default="none",
        help="none: full attention as trained; hf: the window that transformers applies",
    )
    parser.add_argument(
        "--first-position",
        type=int,
        choices=(0, 1),
        default=0,
        help="of the first token: 0 as trained; 1 as transformers counts, to round as it does",
    )
    parser.add_argument(
        "--resampling",
        choices=RESAMPLINGS,
        help="how images are resized (default: as preprocessor_config.json says, else pillow_bicubic)",
    )
    parser.add_argument("--padding", choices=PADDINGS, default="squash", help="how images become square")
    parser.add_argument(
        "--max-images", type=int, default=1, metavar="N", help="images allowed in one request"
    )
    parser.add_argument(
        "--methods", metavar="FILE.json", help="the manifest's methods block, for other prompts"
    )
    parser.add_argument(
        "--client-special",
        action="append",
        default=[],
        metavar="PIECE",
        help="special piece that clients may write, such as <unused7>; may be given several times (default: none)",
    )
    parser.add_argument(
        "--max-output-tokens",
        type=int,
        metavar="N",
        help=f"limit of every answer, up to {manifest.MOST_OUTPUT_TOKENS} (default: the largest max_tokens of "
        "--methods, else 1024)",
    )
    parser.add_argument(
        "--query-scale",
        type=float,
        metavar="X",
        help="for an npz of no published size (default: head_dim ** -0.5)",
    )
    parser.add_argument("--license", default="", help="licence noted in the manifest")


def _random_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "random", help="random weights to a bundle", description=commands.random.__doc__
    )
    parser.add_argument(
        "--geometry",
        required=True,
        choices=geometries(),
        metavar="NAME",
        help="one of " + ", ".join(geometries()),
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--layers",
        type=int,
        metavar="N",
        help="keep N layers of the decoder and of the vision tower: true shapes where the whole does not fit",
    )
    parser.add_argument(
        "--attention-std",
        type=float,
        default=40.0,
        metavar="X",
        help="standard deviation of the attention logits; rounding errors grow with it in deep models (default 40)",
    )
    parser.add_argument(
        "--checkpoint-output", metavar="DIR", help="also write the weights in Hugging Face layout"
    )
    _add_output_flags(parser)
    parser.set_defaults(run=commands.random)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m paligemma_export",
        description="Makes, checks and shows bundles of PaliGemma 2 models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _import_parser(subparsers)
    _export_parser(subparsers)
    _random_parser(subparsers)
    quantize = subparsers.add_parser(
        "quantize", help="a plain bundle to a quantised one", description=commands.quantize.__doc__
    )
    quantize.add_argument("bundle", metavar="BUNDLE")
    quantize.add_argument("--quantize", choices=QUANTIZATIONS[1:], required=True)
    _add_vision_flag(quantize)
    quantize.add_argument("--output", required=True, metavar="BUNDLE")
    quantize.add_argument("--name", help="default: the old name with the encoding behind it")
    quantize.add_argument("--quiet", action="store_true", help="no progress lines")
    quantize.set_defaults(run=commands.quantize)
    verify = subparsers.add_parser(
        "verify", help="hash a bundle's files and run it", description=commands.verify.__doc__
    )
    verify.add_argument("bundle", metavar="BUNDLE")
    verify.add_argument("--tokens", type=int, default=4, metavar="N", help="tokens to generate")
    verify.add_argument(
        "--ask",
        nargs=2,
        action="append",
        default=[],
        metavar=("PICTURE", "PROMPT"),
        help="print the greedy answer, e.g. --ask cat.jpg 'caption en'; may be given several times",
    )
    verify.set_defaults(run=commands.verify)
    inspect = subparsers.add_parser(
        "inspect", help="print a bundle's manifest", description=commands.inspect.__doc__
    )
    inspect.add_argument("bundle", metavar="BUNDLE")
    inspect.set_defaults(run=commands.inspect)
    goldens = subparsers.add_parser(
        "goldens",
        help="reference answers of transformers for a tiny geometry",
        description=commands.goldens.__doc__,
    )
    goldens.add_argument("--geometry", required=True, choices=("tiny-a", "tiny-b", "tiny-c"))
    goldens.add_argument(
        "--output", required=True, metavar="DIR", help="holds checkpoint/, bundle/, goldens/"
    )
    goldens.set_defaults(run=commands.goldens)
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or 'input or output'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0

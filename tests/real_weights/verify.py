# SPDX-License-Identifier: Apache-2.0
"""Is this checkpoint served right? Exports it, serves it, compares it with what is published and with transformers.

Prints a table of checks: PASS, FAIL, NOTE (differs, but proves nothing) or SKIP with what to do about it. Exit code 0
when nothing failed, 1 when something did, 2 for wrong usage. docs/real-weights.md explains every check.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "export"), str(ROOT / "tests/e2e")]

import serving  # noqa: E402
from paligemma_export.architecture import geometries  # noqa: E402
from paligemma_serving import Client, requests  # noqa: E402

CAT = ROOT / "tests/data/cat.jpg"
PUBLISHED_ANSWERS = Path(__file__).with_name("known_answers.json")
PROMPTS = ["caption en", "answer en What is on the picture?", "detect cat", ""]
PUBLISHED_PIECES = 257152
# What the published tokenizer makes of texts (semantics 3.3).
PUBLISHED_IDS = {
    "\n": [108],
    "Where is the cow standing?": [6006, 603, 573, 13910, 9980, 235336],
    "beach": [54901],
    "cow standing on the beach": [14706, 9980, 611, 573, 8318],
    "image result for chicken on the beach": [2502, 2196, 604, 12254, 611, 573, 8318],
    "<loc0000><loc1023><seg000><seg127>": [256000, 257023, 257024, 257151],
}
MASK_DECODER_SHA256 = "5586010257b8536dddefab65e7755077f21d5672d5674dacf911f73ae95a4447"
READY_SECONDS, CALL_SECONDS = 1800, 600
PICTURE_TYPES = (".jpg", ".jpeg", ".png", ".webp", ".ppm")


@dataclass
class Report:
    """The verdicts so far, printed as they come."""

    verdicts: list[str] = field(default_factory=list)

    def add(self, check: str, verdict: str, detail: str) -> None:
        """PASS, FAIL, NOTE or SKIP."""
        self.verdicts.append(verdict)
        print(f"{verdict:4}  {check:18}  {detail}", flush=True)

    def compare(self, check: str, problems: list[str], good: str) -> None:
        """PASS with `good`, or FAIL with the first problems."""
        self.add(check, "FAIL" if problems else "PASS", "; ".join(problems[:2]) if problems else good)

    def finish(self) -> int:
        """The last line; returns the exit code."""
        counts = {name: self.verdicts.count(name) for name in ("PASS", "FAIL", "NOTE", "SKIP")}
        text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        print(f"verdict: {'NOT served right' if counts['FAIL'] else 'served right'} ({text})")
        return 1 if counts["FAIL"] else 0


def export(options: argparse.Namespace, work: Path, report: Report) -> Path | None:
    """The bundle that is to be checked, or None when there is none."""
    if options.bundle:
        report.add("export", "SKIP", f"--bundle={options.bundle} is checked as it is")
        return options.bundle
    target = work / "bundle"
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "paligemma_export", "export", f"--checkpoint={options.checkpoint}"]
    command += [f"--output={target}", f"--dtype={options.dtype}"]
    command += [f"--tokenizer={options.tokenizer}"] if options.tokenizer else []
    command += [f"--mask-decoder={options.mask_decoder}"] if options.mask_decoder else []
    command += [f"--query-scale={options.query_scale}"] if options.query_scale else []
    environment = os.environ | {"PYTHONPATH": str(ROOT / "export")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1:]
    report.add("export", "FAIL" if done.returncode else "PASS", "".join(last))
    return None if done.returncode else target


def geometry_of(manifest: dict[str, Any]) -> str:
    """The published geometry with these numbers, e.g. "3b-224"; "" when there is none."""
    block = manifest["architecture"]
    for name, numbers in geometries().items():
        shape = (numbers.hidden, numbers.layers, numbers.heads, numbers.kv_heads, numbers.head_dim, numbers.vocab)
        found = tuple(block[key] for key in ("hidden", "layers", "heads", "kv_heads", "head_dim", "vocab"))
        scale = abs(block["query_scale"] / numbers.query_scale - 1) < 1e-6
        same = shape == found and scale and numbers.vision.image_size == manifest["image"]["size"]
        if same and name.split("-")[0] in ("3b", "10b", "28b"):
            return name
    return ""


def check_facts(manifest: dict[str, Any], bundle: Path, options: argparse.Namespace, report: Report) -> None:
    """What is published about numbers, tokens and the mask decoder."""
    name = geometry_of(manifest)
    told = name if name else "these numbers are of no published size: nothing published applies"
    report.add("geometry", "PASS" if name else "SKIP", told)
    if manifest["tokens"]["vocab"] == PUBLISHED_PIECES:
        words = sentencepiece.SentencePieceProcessor(model_file=str(bundle / "tokenizer.model"))
        found = {text: words.encode(text) for text in PUBLISHED_IDS}
        pairs = [(text, ids) for text, ids in found.items() if ids != PUBLISHED_IDS[text]]
        wrong = [f"{text!r} is {ids}, published {PUBLISHED_IDS[text]}" for text, ids in pairs]
        report.compare("tokenizer", wrong, f"{len(PUBLISHED_IDS)} published texts have their ids")
    else:
        report.add("tokenizer", "SKIP", f"{manifest['tokens']['vocab']} pieces: not the published vocabulary")
    if not options.mask_decoder:
        report.add("mask decoder", "SKIP", "name the published vae-oid.npz with --mask-decoder=FILE")
        return
    same = digest_of(options.mask_decoder) == MASK_DECODER_SHA256
    detail = "the published file" if same else f"{options.mask_decoder.name} is not the published vae-oid.npz"
    report.add("mask decoder", "PASS" if same else "NOTE", detail)


def digest_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def served(bundle: Path, threads: int) -> Iterator[Client]:
    """A client of a real server on the bundle."""
    deadlines = (f"--{which}-deadline={CALL_SECONDS}s" for which in ("default", "max"))
    server = serving.Server(bundle, f"--threads={threads}", *deadlines)
    try:
        server.wait_ready(READY_SECONDS)
        with Client(server.address, timeout=CALL_SECONDS) as client:
            yield client
    finally:
        server.stop(seconds=60)


def nearest(picture: Image.Image, size: int) -> np.ndarray:
    """The nearest pixel with the corners aligned: how the program resizes whose answers are published."""
    rows, columns = (np.round(np.arange(size) * (side - 1) / (size - 1)).astype(int) for side in picture.size[::-1])
    return np.asarray(picture.convert("RGB"))[rows][:, columns]


def as_sent(path: Path) -> Any:
    """A file as the server takes it: its bytes, or pixels for what it does not read."""
    return np.asarray(Image.open(path).convert("RGB")) if path.suffix == ".ppm" else path


def ask(client: Client, picture: Any, prompt: str, tokens: int) -> Any:
    """The greedy candidate for a raw prompt."""
    request = requests.generate(picture, prompt, config={"max_output_tokens": tokens, "logprobs": 0})
    return client.send(request).candidates[0]


def check_answers(client: Client, manifest: dict[str, Any], options: argparse.Namespace, report: Report) -> None:
    """Published answers, or those of --answers, to pictures of --pictures."""
    model = f"{geometry_of(manifest) or 'no published size'}-{options.kind}"
    known = json.loads((options.answers or PUBLISHED_ANSWERS).read_text())
    todo = [one for one in known if model in one.get("models", [model])]
    if not todo:
        report.add("known answers", "SKIP", f"none is published for {model}; --answers=FILE.json names your own")
    for one in todo:
        path = (options.pictures or Path()) / one["picture"]
        if options.pictures is None or not path.is_file():
            told = f"{one['picture']} is not there: put it into a folder, name that with --pictures=DIR"
            report.add("known answer", "SKIP", told)
            continue
        upright = ImageOps.exif_transpose(Image.open(path))
        picture = nearest(upright, manifest["image"]["size"]) if one.get("resize") == "nearest" else as_sent(path)
        text = ask(client, picture, one["prompt"], options.tokens).text
        good = one["contains"] in text if "contains" in one else text == one["equals"]
        verdict = "PASS" if good else "NOTE" if one.get("advisory") else "FAIL"
        wanted = "" if good else f", published: {one.get('contains', one.get('equals'))!r}"
        report.add("known answer", verdict, f"{one['picture']}, {one['prompt']!r}: {text!r}{wanted}")


def parity_cases(options: argparse.Namespace) -> list[dict[str, str]]:
    """Every prompt on the photograph of the repository and on at most three of the user's."""
    own = sorted(options.pictures.iterdir()) if options.pictures else []
    pictures = [CAT, *[path for path in own if path.suffix.lower() in PICTURE_TYPES][:3]]
    return [{"picture": str(path.resolve()), "prompt": prompt} for path in pictures for prompt in PROMPTS]


def reference_tokens(bundle: Path, work: Path, options: argparse.Namespace, report: Report) -> list[list[int]] | None:
    """transformers' tokens for the parity cases; None when there are none."""
    checkpoint = options.reference or options.checkpoint
    request = {"checkpoint": str(checkpoint.resolve()), "bundle": str(bundle.resolve()), "work": str(work.resolve())}
    request |= {"tokens": options.tokens, "query_scale": options.query_scale, "cases": parity_cases(options)}
    command = [sys.executable, str(Path(__file__).with_name("reference.py"))]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True)
    if done.returncode:
        report.add("transformers", "FAIL", done.stderr.strip().splitlines()[-1])
        return None
    return json.loads(done.stdout.splitlines()[-1])


def check_parity(client: Client, expected: list[list[int]], options: argparse.Namespace, report: Report) -> None:
    """The server's tokens beside transformers', case by case."""
    cases, problems, equal = parity_cases(options), [], 0
    for case, theirs in zip(cases, expected, strict=True):
        ours = list(ask(client, as_sent(Path(case["picture"])), case["prompt"], options.tokens).token_ids)
        equal += ours == theirs
        if ours != theirs:
            pairs = enumerate(zip(ours, theirs, strict=False))
            step = next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
            problems.append(f"{Path(case['picture']).name}, {case['prompt']!r}: differs from step {step} on")
    if len({tuple(tokens) for tokens in expected}) < 2:
        problems.append("every answer is the same, which proves nothing")
    told = f"the tokens of {equal} of {len(cases)} cases are equal"
    if not (options.reference or options.checkpoint.is_dir()):
        told += "; both sides read the npz with the same code: --reference=DIR names the model's Hugging Face folder"
    report.compare("transformers", problems, told)


def run(options: argparse.Namespace, work: Path) -> int:
    """All checks; returns the exit code."""
    report = Report()
    bundle = export(options, work, report)
    if bundle is None:
        return report.finish()
    manifest = json.loads((bundle / "manifest.json").read_text())
    check_facts(manifest, bundle, options, report)
    expected = reference_tokens(bundle, work, options, report)
    try:
        with served(bundle, options.threads) as client:
            report.add("serve", "PASS", f"{manifest['name']} is ready")
            check_answers(client, manifest, options, report)
            if expected is not None:
                check_parity(client, expected, options, report)
    except RuntimeError as error:  # of serving.Server, with the server's log
        report.add("serve", "FAIL", str(error).strip().splitlines()[-1])
    return report.finish()


def kind_of(name: str) -> str:
    """pt, mix or ft out of a folder's name; "other" when it tells nothing."""
    words = name.lower().replace("_", "-").replace(".", "-").split("-")
    return next((kind for kind in ("pt", "mix", "ft") if kind in words), "other")


def main() -> int:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="Hugging Face folder, or a big_vision npz")
    parser.add_argument("--reference", type=Path, help="folder for transformers, of the same model (CHECKPOINT)")
    parser.add_argument("--query-scale", type=float, help="for an npz of no published size")
    parser.add_argument("--tokenizer", type=Path, help="default: tokenizer.model beside the checkpoint")
    parser.add_argument("--mask-decoder", type=Path, help="the published vae-oid.npz")
    parser.add_argument("--pictures", type=Path, help="folder with the known answers' pictures and more of your own")
    parser.add_argument("--answers", type=Path, help="known answers instead of the published ones, see the docs")
    parser.add_argument("--kind", choices=("pt", "mix", "ft", "other"), help="default: out of the checkpoint's name")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="to serve in (float32)")
    parser.add_argument("--tokens", type=int, default=16, help="how many of each answer (16)")
    parser.add_argument("--bundle", type=Path, help="check this bundle of the checkpoint, do not export")
    parser.add_argument("--work", type=Path, help="keeps the bundle here; default: a folder of build/, removed")
    parser.add_argument("--threads", type=int, default=0, help="of the server; 0: as many as the machine grants")
    options = parser.parse_args()
    files = (options.reference, options.pictures, options.answers, options.mask_decoder, options.bundle)
    for path in (options.checkpoint, *files):
        if path is not None and not path.exists():
            parser.error(f"{path} does not exist")
    options.kind = options.kind or kind_of(options.checkpoint.resolve().name)
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
        return run(options, options.work)
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verify-model-", dir=ROOT / "build") as work:
        return run(options, Path(work))


if __name__ == "__main__":
    sys.exit(main())

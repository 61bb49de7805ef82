# SPDX-License-Identifier: Apache-2.0
"""Tokens of a true-size model over gRPC against transformers on the same checkpoint, and the time of each phase.

One process after the other, so that a float32 3B (12 GB) fits into 16 GB. Three steps, each a run of this file:
    reference   transformers, eager attention, float32: tokens and times to reference.json
    server      a running server's tokens and times to server.json
    report      compares the two, prints a table; exit code 1 when a token differs
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "tests/data/cat.jpg"
PROMPT = "caption en"
TOKENS = 8
MIN_DISTINCT = 3


def prompt_ids(bundle: Path) -> list[int]:
    """BOS, the prompt, the newline, by the bundle's own tokenizer."""
    import sentencepiece

    tokens = json.loads((bundle / "manifest.json").read_text())["tokens"]
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(bundle / "tokenizer.model"))
    return [tokens["bos"], *tokenizer.encode(PROMPT), tokens["newline"]]


def reference(work: Path) -> None:
    """Greedy tokens of transformers and the seconds of vision, prefill and decode."""
    import numpy as np
    import torch
    from PIL import Image
    from transformers import PaliGemmaForConditionalGeneration

    torch.set_grad_enabled(False)
    manifest = json.loads((work / "bundle/manifest.json").read_text())
    size, vocab = manifest["image"]["size"], manifest["architecture"]["vocab"]
    model = PaliGemmaForConditionalGeneration.from_pretrained(
        work / "checkpoint", dtype=getattr(torch, manifest["dtype"]), attn_implementation="eager", local_files_only=True
    ).eval()
    picture = Image.open(PHOTO).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture, dtype=np.float32)
    pixel_values = torch.from_numpy((pixels / 255 - 0.5) / 0.5).permute(2, 0, 1)[None].to(model.dtype)
    ids = torch.tensor([[model.config.image_token_id] * manifest["image"]["tokens"] + prompt_ids(work / "bundle")])

    common = dict(
        input_ids=ids, pixel_values=pixel_values, attention_mask=torch.ones_like(ids),
        token_type_ids=torch.zeros_like(ids), do_sample=False,
        suppress_tokens=list(range(vocab, model.get_input_embeddings().num_embeddings)),
    )
    model.generate(**common, max_new_tokens=2)  # warm: pages of the weights, thread pools
    started = time.monotonic()
    model.model.get_image_features(pixel_values)
    vision = time.monotonic() - started
    started = time.monotonic()
    model.generate(**common, max_new_tokens=1)
    first = time.monotonic() - started
    started = time.monotonic()
    sequence = model.generate(**common, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    total = time.monotonic() - started
    result = {
        "tokens": sequence[0, ids.shape[1]:].tolist(), "vision_s": vision, "prefill_s": first - vision,
        "decode_s_per_token": (total - first) / (TOKENS - 1),
    }
    (work / "reference.json").write_text(json.dumps(result))
    print(result)


def ask_server(work: Path, address: str) -> None:
    """The server's greedy tokens for the same picture and prompt, and its own timing."""
    sys.path.insert(0, str(ROOT / "clients/python"))
    from paligemma_serving import Client, requests

    config = {"max_output_tokens": TOKENS, "min_output_tokens": TOKENS, "logprobs": 0}
    request = requests.generate(PHOTO, PROMPT, config=config, options={"cache_policy": "CACHE_POLICY_BYPASS"})
    with Client(address, timeout=600) as client:
        client.send(request)  # warm
        response = client.send(request)
    timing = response.info.timing
    result = {
        "tokens": list(response.candidates[0].token_ids),
        "vision_s": timing.vision_duration.ToTimedelta().total_seconds(),
        "prefill_s": timing.prefill_duration.ToTimedelta().total_seconds(),
        "decode_s_per_token": timing.decode_duration.ToTimedelta().total_seconds() / (TOKENS - 1),
    }
    (work / "server.json").write_text(json.dumps(result))
    print(result)


def report(work: Path) -> int:
    """Prints the comparison; 0 when all tokens are equal and vary enough to mean something."""
    theirs = json.loads((work / "reference.json").read_text())
    ours = json.loads((work / "server.json").read_text())
    print("| | transformers | server over gRPC | ratio |\n|---|---|---|---|")
    print(f"| tokens | {theirs['tokens']} | {ours['tokens']} | |")
    for name in ("vision_s", "prefill_s", "decode_s_per_token"):
        print(f"| {name} | {theirs[name]:.3f} | {ours[name]:.3f} | {theirs[name] / max(ours[name], 1e-9):.2f} |")
    equal, distinct = theirs["tokens"] == ours["tokens"], len(set(theirs["tokens"]))
    print(f"tokens equal: {equal}; different ids among them: {distinct}")
    return 0 if equal and distinct >= MIN_DISTINCT else 1


def main() -> int:
    """Runs one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("reference", "server", "report"))
    parser.add_argument("work", type=Path, help="folder with bundle/ and checkpoint/")
    parser.add_argument("--server", default="localhost:8001")
    options = parser.parse_args()
    if options.step == "reference":
        reference(options.work)
    elif options.step == "server":
        ask_server(options.work, options.server)
    else:
        return report(options.work)
    return 0


if __name__ == "__main__":
    sys.exit(main())

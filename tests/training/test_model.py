# SPDX-License-Identifier: Apache-2.0
"""The training model is PaliGemma 2 as transformers computes it, and its answers do not depend on how it runs."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from paligemma_train import (
    batches,
    evaluate,
    finish,
    generate,
    learn,
    metrics,
    optimizer,
    schedule,
    tasks,
    tower,
    vqvae,
    warm_start,
    worlds,
)
from paligemma_train.feed import Feed, pixels
from paligemma_train.model import CURVE, Config, PaliGemma, location_curve, prefix_bias, smooth_locations
from paligemma_train.scene import Scene
from paligemma_train.vocabulary import BOS, Vocabulary, train
from PIL import Image

SMALL = Config(hidden=48, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate=64, query_pre_attn_scalar=12,
               vision_hidden=36, vision_layers=2, vision_heads=3, vision_intermediate=40, image_size=56)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path = tmp_path_factory.mktemp("words") / "tokenizer.model"
    train(path)
    vocabulary = Vocabulary(path)
    vocabulary.path = path  # type: ignore[attr-defined]
    return vocabulary


def model_of(config: Config) -> PaliGemma:
    torch.manual_seed(3)
    model = PaliGemma(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            if "q_proj" in name or "k_proj" in name:
                parameter.mul_(4)  # attention logits large enough for the soft-cap to bite
    return model


def test_equals_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = model_of(SMALL)
    finish.write_checkpoint(tmp_path, model, None, torch.float32)
    theirs = transformers.PaliGemmaForConditionalGeneration.from_pretrained(
        tmp_path, attn_implementation="eager", dtype=torch.float32).eval()
    pictures = torch.randint(0, 256, (1, 56, 56, 3), dtype=torch.uint8)
    ids = torch.tensor([[BOS, 40, 41, 4, 900, 901, 902]])
    prefix = torch.tensor([4])
    with torch.no_grad():
        ours = model.logits(model.hidden(model.encode_images(pictures)[1], ids, prefix))
        images = torch.full((1, SMALL.image_tokens), SMALL.vocab)
        kinds = torch.cat((torch.zeros_like(images), torch.tensor([[0, 0, 0, 0, 1, 1, 1]])), 1)
        inputs = {"input_ids": torch.cat((images, ids), 1), "token_type_ids": kinds,
                  "attention_mask": torch.ones_like(kinds),
                  "pixel_values": pictures.permute(0, 3, 1, 2).float() / 127.5 - 1}
        hidden = theirs.model(**inputs).last_hidden_state[:, SMALL.image_tokens:]
        raw = theirs.lm_head(hidden)[..., :SMALL.vocab]
        expected = torch.tanh(raw / 30) * 30
    assert (ours - expected).abs().max() < 1e-4
    assert ours.std() > 0.1


def test_prefix_is_seen_whole_and_the_answer_causally() -> None:
    seen = prefix_bias(torch.tensor([3]), 5)[0, 0, 0] == 0
    assert seen.int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def test_padding_and_cache_change_nothing(words: Vocabulary) -> None:
    model = model_of(SMALL)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 56, 56, 3), dtype=np.uint8)
    prompts = ["caption en", "ocr", "answer en What shape is the red object?"]
    produced = generate.answers(model, words, pictures, prompts, "cpu", most=5)
    for index, prompt in enumerate(prompts):
        ids = words.prompt(prompt)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            rows = model.encode_images(torch.from_numpy(pictures[index:index + 1]))[1]
            padded = torch.tensor([ids + produced[index] + [0, 0]])
            logits = model.logits(model.hidden(rows, padded, torch.tensor([len(ids)])))[0]
        top = logits.max(-1).values
        for step, token in enumerate(produced[index]):
            assert logits[len(ids) - 1 + step, token] > top[len(ids) - 1 + step] - 0.2


def test_pictures_shared_by_prompts_are_pictures_that_see_no_prompt(words: Vocabulary) -> None:
    model = model_of(SMALL)
    pictures = torch.randint(0, 256, (2, 56, 56, 3), dtype=torch.uint8)
    ids = torch.tensor([[BOS, 40, 41, 4, 900, 901], [BOS, 50, 4, 902, 903, 0], [BOS, 60, 4, 904, 0, 0]])
    prefix, picture = torch.tensor([4, 3, 3]), torch.tensor([1, 0, 1])
    with torch.no_grad():
        rows = model.encode_images(pictures)[1]
        found, _ = model.hidden_with_caches(model.image_caches(rows), picture, ids, prefix)
        # a prompt's cache grown on a picture that went before it, token by token as the answer goes
        for index, (length, image) in enumerate(zip(prefix, picture, strict=True)):
            caches: list[list[torch.Tensor]] = [[] for _ in range(SMALL.layers)]
            model.hidden(rows[image:image + 1], ids[:1, :0], torch.tensor([0]), caches)
            h = model.embed(ids[index:index + 1, :length])
            cos, sin = model.rotation(SMALL.image_tokens, int(length))
            for layer, cache in zip(model.language_model.layers, caches, strict=True):
                h = layer(h, cos, sin, None, cache)
            assert torch.allclose(model.language_model.norm(h)[0], found[index, :length], atol=1e-4)


def test_a_coordinate_lies_between_two_steps(words: Vocabulary) -> None:
    loss, model = learn.AnswerLoss(words, 8), model_of(SMALL)
    first = words.loc_first
    rounded = loss.rounded_coordinates(torch.tensor([[first + 3, first + 4, first + 1023, 5]]))
    assert (rounded - first).tolist()[0][:3] == [0, 8, 1023]
    wanted = torch.tensor([[BOS, 4, first + 10]])

    def cost(favoured: dict[int, float]) -> float:
        model.logits = lambda hidden: torch.tensor(  # type: ignore[method-assign]
            [[favoured.get(token - first, -9.0) for token in range(words.size)]])
        return loss(model, torch.zeros(1, 3, SMALL.hidden), wanted, torch.tensor([2])).item()

    assert cost({8: 9.0, 16: 9.0 - 1.1}) < cost({8: 9.0}) < cost({16: 9.0}) < cost({24: 9.0})


def test_reading_costs_least_where_the_heads_look_at_the_character_that_comes_next() -> None:
    char_indices = np.array([[0, 0, 1, 2, 0]])
    rows = batches.Rows(np.ones((1, 5), np.int64), np.array([2]), np.array([1]), np.zeros((0, 2), np.int64),
                        np.zeros((0, 64, 64), np.uint8), np.sign(char_indices), char_indices)
    # of four patches of picture 1 the second shows the first character left and right, the third the second one left
    truth = {f"{half}_{part}": torch.zeros(2, 4, dtype=torch.long)
             for half in ("left", "right") for part in ("line", "char_index")}
    for name, patch, char_index in (("left", 1, 1), ("right", 1, 1), ("left", 2, 2)):
        truth[f"{name}_line"][1, patch], truth[f"{name}_char_index"][1, patch] = 1, char_index

    def cost(left: tuple[int, int], right: tuple[int, int]) -> float:
        attention = torch.full((1, 1, 2, 5, 9), 0.01)
        for head, keys in enumerate((left, right)):
            for column, key in zip((1, 2), keys, strict=True):
                attention[0, 0, head, column, key] = 0.92
        return learn.reading_loss(attention, rows, truth).item()

    elsewhere = 7  # beyond the picture
    assert cost((1, 2), (1, elsewhere)) < 0.5
    assert all(cost(*keys) > 3 for keys in (((2, 1), (1, elsewhere)), ((1, 2), (2, elsewhere)), ((1, 2), (1, 2))))


def test_spelled_text_says_which_character_each_id_is(words: Vocabulary) -> None:
    row = batches._row(words, scene_of_lines("he", "42"), tasks.Example("ocr", "ocr", "he\n42"), 0)
    packed = batches._pack(words, [row])
    assert words.decode(row.answer) == "he\n42"
    assert packed.lines[0, len(row.prompt):].tolist() == [1, 1, 0, 2, 2, 0]
    assert packed.char_indices[0, len(row.prompt):].tolist() == [1, 2, 0, 1, 2, 0]


def scene_of_lines(*lines: str) -> Scene:
    return Scene(Image.new("RGB", (8, 8)), np.zeros((8, 8), np.uint8), [], lines=list(lines))


def test_every_nth_row_keeps_its_masks(words: Vocabulary) -> None:
    masks = np.arange(3, dtype=np.uint8)[:, None, None].repeat(64, 1).repeat(64, 2)
    rows = batches.Rows(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]]), np.array([1, 1, 1]), np.array([0, 0, 1]),
                        np.array([[0, 1], [1, 0], [1, 1]]), masks, *np.zeros((2, 3, 3), np.int64))
    odd = rows.every_nth(3, 2)
    assert odd.ids.tolist() == [[1, 1]] and odd.codes.tolist() == [[0, 0], [0, 1]]
    assert [mask[0, 0] for mask in odd.masks] == [1, 2]
    assert rows.every_nth(0, 2).codes.tolist() == [[0, 1]]


def test_updates_of_matrices_move_all_directions_alike() -> None:
    torch.manual_seed(0)
    skewed = torch.randn(2, 24, 40) * torch.logspace(-2, 0, 24)[:, None]
    values = torch.linalg.svdvals(optimizer.orthogonal(skewed, 8).float())
    assert values.min() > 0.5 and values.max() < 1.4
    assert torch.linalg.svdvals(skewed).amin() < 0.1


def test_both_optimizers_resume() -> None:
    def made() -> tuple[torch.nn.Module, optimizer.Optimizer]:
        torch.manual_seed(0)
        module = tower.VisionTower(SMALL)
        named = [(f"vision_tower.{name}", parameter) for name, parameter in module.named_parameters()]
        return module, optimizer.Optimizer(named, 0.02, 1e-3)

    def advance(module: torch.nn.Module, steps: optimizer.Optimizer) -> None:
        module(torch.full((1, 56, 56, 3), 9, dtype=torch.uint8)).pow(2).mean().backward()
        steps.step(1.0, 0.5)

    one, first = made()
    advance(one, first)
    other, second = made()
    other.load_state_dict(one.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for module, steps in ((one, first), (other, second)):
        advance(module, steps)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_rate_runs_out_with_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(schedule.time, "monotonic", lambda: now)
    counted, timed = schedule.Progress(1000, None), schedule.Progress(1000, 50)
    assert counted.part(250) == 0.25
    now = 125.0
    assert (counted.part(250), timed.part(250)) == (0.25, 0.5)
    rates = [timed.rate(0) for _ in range(60)]
    assert rates[0] < 0.05 and rates[-1] == 1.0
    now = 140.0
    assert timed.rate(0) == pytest.approx(0.5)
    down_at_once = schedule.Progress(1000, 80, held=0)
    now = 180.0
    assert [down_at_once.rate(0) for _ in range(60)][-1] == pytest.approx(0.5)
    now = 200.0
    assert timed.part(0) == 1.0 and timed.rate(0) == 0.01


def test_tokenizer_keeps_the_exporter_s_rules(words: Vocabulary) -> None:
    exporter = pytest.importorskip("paligemma_export.tokenizer")
    ids = exporter.inspect(words.path.read_bytes(), SMALL.vocab)  # type: ignore[attr-defined]
    assert (ids.loc_first, ids.seg_first, ids.newline) == (words.loc_first, words.seg_first, words.newline)
    assert len(words.answer("red circle")) == 3
    assert words.decode(words.answer("étoile\nA1b <loc0007>")) == "étoile\nA1b <loc0007>"


def test_batches_are_the_same_again_and_hold_the_examples(words: Vocabulary) -> None:
    settings = {"tokenizer": str(words.path), "side": 56, "grid": 4, "pictures": 6,  # type: ignore[attr-defined]
                "prompts": 3, "groups": 2, "most_things": 6, "text_share": 0.2, "pages": 2}
    first, second = (batches.make_batch("test", 1, settings) for _ in range(2))
    assert np.array_equal(first.pictures, second.pictures)
    codec = vqvae.MaskCodec()
    for mine, other in zip(first.groups, second.groups, strict=True):
        assert np.array_equal(mine.ids, other.ids)
        ids = torch.from_numpy(mine.ids)
        batches.fill_codes(ids, mine, codec, words.seg_first)
        for line, column in mine.codes:
            assert (ids[line, column:column + 16] >= words.seg_first).all()
            assert words.loc_first <= ids[line, column - 1] < words.seg_first
    assert sum(len(rows.prefix) for rows in first.groups) <= 18


def test_training_lowers_the_loss_and_resumes(words: Vocabulary, tmp_path: Path) -> None:
    (tmp_path / learn.TOKENIZER).write_bytes(words.path.read_bytes())  # type: ignore[attr-defined]
    vqvae.checkpoint.save(tmp_path / vqvae.FILE, {"codec": vqvae.MaskCodec().state_dict()})
    settings = {"tokenizer": str(words.path), "side": 56, "grid": 4, "pictures": 4,  # type: ignore[attr-defined]
                "prompts": 5, "groups": 1, "most_things": 2, "text_share": 0.2, "pages": 1}
    batch = batches.make_batch("test", 0, settings)
    trainer = learn.Trainer(SMALL, tmp_path, "cpu", learn.Plan(1000, rate=1e-2))
    losses = [trainer.train_on(batch) for _ in range(30)]
    assert min(losses[-4:]) < 0.8 * losses[1]
    trainer.save()
    again = learn.Trainer(SMALL, tmp_path, "cpu", learn.Plan(1000))
    assert (again.step, again.examples) == (trainer.step, trainer.examples)
    assert torch.equal(again.model.language_model.norm.weight, trainer.model.language_model.norm.weight)


def test_dense_labels_train_the_tower() -> None:
    torch.manual_seed(0)
    vision, heads = tower.VisionTower(SMALL), tower.DenseHeads(SMALL.vision_hidden)
    pictures, items = tower.make_batch("test", 0, {"side": 56, "grid": 4, "batch": 8, "text_share": 0.2,
                                               "page_share": 0.2})
    truth = tower.stack_labels(items)
    descent = torch.optim.Adam([*vision.parameters(), *heads.parameters()], 3e-3)
    losses = []
    for _ in range(8):
        loss = tower.dense_loss(heads(vision(torch.from_numpy(pictures))), truth)
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_place_on_the_curve_is_answered_as_its_own_coordinate() -> None:
    model = PaliGemma(SMALL)
    first = 64
    smooth_locations(model, first)
    places = torch.tensor([0, 100, 517, 1023])
    table = model.language_model.embed_tokens.weight[first:first + 1024, :CURVE]
    assert (location_curve(places / 1024) @ table.T).argmax(1).tolist() == places.tolist()


def test_a_wrong_edge_costs_more() -> None:
    box = torch.tensor([[0.1, 0.2, 0.5, 0.9]])
    edges = 3 * location_curve(box[0])[None]
    right = tower.edge_loss(edges, box)
    assert all(tower.edge_loss(edges, box + shift) > right + 1 for shift in (0.05, -0.05, 0.3))


def test_the_projector_shows_edges_to_the_decoder() -> None:
    torch.manual_seed(0)
    heads, weight = tower.DenseHeads(8), torch.zeros(192, 8)
    warm_start.show_edges(weight, heads)
    features = torch.randn(5, 8)
    edges = heads.edges(features) - heads.edges.bias
    seen = features @ weight.T
    assert torch.allclose(seen @ seen.T, edges @ edges.T, atol=1e-4)  # all of it, whichever way it is turned


def test_mask_decoder_is_read_by_the_exporter(tmp_path: Path) -> None:
    exporter = pytest.importorskip("paligemma_export.mask_decoder")
    torch.manual_seed(0)
    codec = vqvae.MaskCodec()
    vqvae.write_npz(tmp_path / "masks.npz", codec)
    module, _ = exporter.load(tmp_path / "masks.npz")
    codes = torch.randint(0, 128, (3, 16))
    with torch.no_grad():
        assert torch.allclose(module(codes), codec.decode(codes), atol=1e-5)
        assert codec.encode(torch.randn(2, 1, 64, 64)).shape == (2, 16)


def test_true_answers_score_full_marks() -> None:
    for row in evaluate.TABLE:
        found = evaluate.cases(row, 8, 5)
        replies = [evaluate.Reply(case.example.answer, [case.scene.mask(thing) for thing in case.example.things])
                   for case in found]
        values = row.score(found, replies)
        for measure, value in values.items():
            assert value == 0 if measure == "CER" else value > 0.99 or np.isnan(value), (row.name, measure)


def test_wrong_answers_score_less() -> None:
    rng = worlds.random_of("test", 1)
    scene = worlds.render(rng, "geometric", least_things=2, most_things=2)
    example = tasks.caption(rng, scene)
    assert not metrics.caption_right("a pink elephant", example.answer, scene)
    assert metrics.described("red circle nowhere", scene)[0] == 0
    assert metrics.edit_distance("ABC", "AXC") == 1
    assert pixels(scene, 28).shape == (28, 28, 3)


def _make(stream: str, index: int, settings: dict) -> int:
    return index * settings["factor"]


def test_feed_keeps_the_order_whatever_the_workers() -> None:
    feed = Feed(_make, "test", {"factor": 10}, workers=2, start=3)
    assert [feed.get() for _ in range(6)] == [(index, 10 * index) for index in range(3, 9)]
    feed.close()

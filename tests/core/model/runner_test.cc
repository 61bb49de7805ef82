// SPDX-License-Identifier: Apache-2.0
// The reference's tokens: alone, among any neighbours, and after a preemption.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "core/cpu/isa.h"
#include "core/model/torchscript_mask_decoder.h"
#include "core/model/torchscript_runner.h"
#include "tests/core/model/golden_cases.h"

namespace paligemma {
namespace {

using ::testing::HasSubstr;

class RunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    sets_ = LoadGoldenSets();
    if (sets_.empty()) {
      GTEST_SKIP() << "no goldens below $PG_TEST_MODELS or models";
    }
  }

  static TorchScriptRunner::Options Options(const GoldenSet& set) {
    TorchScriptRunner::Options options;
    options.bundle_dir = set.bundle;
    options.manifest = set.manifest;
    options.device = TestDevice();
    options.num_threads = 1;
    options.num_kv_blocks = 40 * 16;
    options.kv_block_size = 8;
    options.max_vision_batch = 8;
    return options;
  }

  std::vector<std::pair<GoldenSet, std::string>> EverySetWith(
      std::initializer_list<const char*> kv_dtypes) const {
    std::vector<std::pair<GoldenSet, std::string>> all;
    for (const GoldenSet& set : sets_) {
      for (const char* kv_dtype : kv_dtypes) all.emplace_back(set, kv_dtype);
    }
    return all;
  }

  static std::unique_ptr<TorchScriptRunner> Load(const TorchScriptRunner::Options& options) {
    auto runner = TorchScriptRunner::Load(options);
    EXPECT_TRUE(runner.ok()) << runner.status().ToString();
    return runner.ok() ? *std::move(runner) : nullptr;
  }

  static void ExpectTheSameBitsInABatch(TorchScriptRunner* runner, const GoldenSet& set);

  std::vector<GoldenSet> sets_;
};

TEST_F(RunnerTest, EveryCaseAloneGivesTheReferencesTokens) {
  for (const GoldenSet& set : sets_) {
    const auto runner = Load(Options(set));
    ASSERT_NE(runner, nullptr);
    ASSERT_TRUE(runner->WarmUp().ok());
    for (const GoldenCase& golden : set.cases) {
      Driver driver(runner.get(), 1);
      const auto sequence = MakeSequence(golden, set.manifest);
      driver.Run({sequence.get()});
      EXPECT_EQ(Text(*sequence), golden.token_ids) << set.name << " " << golden.name;
      EXPECT_EQ(sequence->output.back() == sequence->eos, golden.stops) << golden.name;
    }
  }
}

TEST_F(RunnerTest, EveryInstructionSetGivesTheReferencesTokens) {
  if (!TestDevice().is_cpu()) {
    GTEST_SKIP() << "for CPUs";
  }
  std::vector<std::string> names = {"reference"};
  for (const cpu::Isa isa : cpu::AvailableIsas()) names.emplace_back(cpu::IsaName(isa));
  const GoldenSet& set = sets_.front();
  for (const std::string& name : names) {
    TorchScriptRunner::Options options = Options(set);
    options.cpu_isa = name;
    const auto runner = Load(options);
    ASSERT_NE(runner, nullptr);
    EXPECT_EQ(runner->summary().cpu_isa, name);
    for (std::size_t i = 0; i < set.cases.size(); i += 3) {
      Driver driver(runner.get(), 1);
      const auto sequence = MakeSequence(set.cases[i], set.manifest);
      driver.Run({sequence.get()});
      EXPECT_EQ(Text(*sequence), set.cases[i].token_ids) << name << " " << set.cases[i].name;
    }
  }
}

TEST_F(RunnerTest, NeighboursChangeNoToken) {
  std::mt19937 random(7);
  for (const GoldenSet& set : sets_) {
    TorchScriptRunner::Options options = Options(set);
    options.num_threads = 2;
    const auto runner = Load(options);
    ASSERT_NE(runner, nullptr);
    for (int round = 0; round < 6; ++round) {
      std::vector<std::size_t> order(set.cases.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::shuffle(order.begin(), order.end(), random);
      order.resize(std::min<std::size_t>(order.size(), 3 + round * 2));
      Driver driver(runner.get(), 16);
      std::vector<std::unique_ptr<Sequence>> sequences;
      std::vector<Sequence*> joined;
      for (const std::size_t i : order) {  // they join one step after the other
        sequences.push_back(MakeSequence(set.cases[i], set.manifest));
        joined.push_back(sequences.back().get());
        std::erase_if(joined, [](const Sequence* s) {
          return !s->output.empty() &&
                 (s->output.back() == s->eos || std::ssize(s->output) >= s->max_tokens);
        });
        driver.Step(joined);
      }
      std::erase_if(joined, [](const Sequence* s) {
        return s->output.back() == s->eos || std::ssize(s->output) >= s->max_tokens;
      });
      driver.Run(joined);
      for (std::size_t k = 0; k < order.size(); ++k) {
        EXPECT_EQ(Text(*sequences[k]), set.cases[order[k]].token_ids)
            << set.name << " " << set.cases[order[k]].name << " round " << round;
      }
    }
  }
}

TEST_F(RunnerTest, APreemptedSequenceGoesOnWithTheSameTokens) {
  for (const GoldenSet& set : sets_) {
    const auto runner = Load(Options(set));
    ASSERT_NE(runner, nullptr);
    for (std::size_t i = 0; i < set.cases.size(); ++i) {
      Driver driver(runner.get(), 3);
      const auto sequence = MakeSequence(set.cases[i], set.manifest);
      const auto neighbour = MakeSequence(set.cases[(i + 1) % set.cases.size()], set.manifest);
      const int steps = 1 + static_cast<int>(i) % 7;
      for (int step = 0; step < steps && Text(*sequence).size() == sequence->output.size() &&
                         std::ssize(sequence->output) < sequence->max_tokens;
           ++step) {
        driver.Step({sequence.get()});
      }
      if (sequence->output.back() != sequence->eos &&
          std::ssize(sequence->output) < sequence->max_tokens) {
        driver.Preempt(sequence.get());
        driver.Run({sequence.get(), neighbour.get()});
      }
      EXPECT_EQ(Text(*sequence), set.cases[i].token_ids) << set.name << " " << set.cases[i].name;
    }
  }
}

TEST_F(RunnerTest, BatchesChangeNoBitOfALogProbability) {
  if (!TestDevice().is_cpu()) {
    GTEST_SKIP() << "GPU libraries choose kernels by the batch's size";
  }
  const GoldenSet& set = sets_.front();
  for (const char* kv_dtype : {"float32", "int8"}) {
    TorchScriptRunner::Options options = Options(set);
    options.kv_dtype = kv_dtype;
    const auto runner = Load(options);
    ASSERT_NE(runner, nullptr);
    ExpectTheSameBitsInABatch(runner.get(), set);
  }
}

void RunnerTest::ExpectTheSameBitsInABatch(TorchScriptRunner* runner, const GoldenSet& set) {
  std::vector<float> alone;
  std::vector<std::unique_ptr<Sequence>> sequences;
  const std::size_t count = std::min<std::size_t>(set.cases.size(), 9);
  for (std::size_t i = 0; i < count; ++i) {
    sequences.push_back(MakeSequence(set.cases[i], set.manifest));
    sequences.back()->logprobs = 2;
    Driver driver(runner, 1);
    driver.Step({sequences.back().get()});
    driver.Step({sequences.back().get()});
    ASSERT_EQ(driver.last_outputs[0].top.size(), 2u);
    EXPECT_EQ(driver.last_outputs[0].top[0].token, driver.last_outputs[0].token);
    alone.push_back(driver.last_outputs[0].logprob);
    sequences.back()->output.clear();
  }
  Driver driver(runner, 10);
  std::vector<Sequence*> all;
  for (const auto& sequence : sequences) all.push_back(sequence.get());
  driver.Step(all);
  driver.Step(all);
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(driver.last_outputs[i].logprob, alone[i]) << set.cases[i].name;
  }
}

TEST_F(RunnerTest, TheImageCacheAnswersUnlessARequestForbidsIt) {
  const GoldenSet& set = sets_.front();
  TorchScriptRunner::Options options = Options(set);
  options.image_cache_images = 1;  // smaller than a step needs
  const auto runner = Load(options);
  ASSERT_NE(runner, nullptr);
  const auto a = MakeSequence(set.cases.front(), set.manifest);
  const auto b = MakeSequence(set.cases.front(), set.manifest);
  const auto c = MakeSequence(set.cases.back(), set.manifest);
  Driver first(runner.get(), 4);
  first.Step({a.get(), c.get()});
  EXPECT_EQ(first.num_cached_images, 0);
  Driver second(runner.get(), 4);
  second.Step({b.get()});
  EXPECT_EQ(second.num_cached_images, 1);
  EXPECT_EQ(a->output, b->output);
  const auto d = MakeSequence(set.cases.front(), set.manifest);
  d->images[0].use_cache = false;
  Driver third(runner.get(), 4);
  third.Step({d.get()});
  EXPECT_EQ(third.num_cached_images, 0);
  EXPECT_EQ(a->output, d->output);
  // A batch that the cache answers in part says which of its rows had their image there.
  const auto cached = MakeSequence(set.cases.front(), set.manifest);
  const auto fresh = MakeSequence(set.cases.back(), set.manifest);
  fresh->images[0].use_cache = false;
  Driver fourth(runner.get(), 4);
  fourth.Step({cached.get(), fresh.get()});
  EXPECT_EQ(fourth.last_outputs[0].num_cached_images, 1);
  EXPECT_EQ(fourth.last_outputs[1].num_cached_images, 0);
}

// Look-ahead: the second step names the first one's output row instead of a token.
TEST_F(RunnerTest, AnUnknownTokenComesFromTheStepBefore) {
  const GoldenSet& set = sets_.front();
  const auto runner = Load(Options(set));
  ASSERT_NE(runner, nullptr);
  const GoldenCase& golden = set.cases.front();
  const auto sequence = MakeSequence(golden, set.manifest);
  sequence->sampling.repetition_penalty = 1.0001f;  // its marks must see the token as well
  Batch first, second;
  first.num_images = 1;
  first.rows.push_back({.sequence = sequence.get(), .prefill = true, .block_table = {4, 9, 2, 7}});
  second.rows.push_back({.sequence = sequence.get(),
                         .num_cached = 1,
                         .input_row = 0,
                         .output_index = 1,
                         .block_table = {4, 9, 2, 7}});
  ASSERT_TRUE(runner->Start(first).ok());
  ASSERT_TRUE(runner->Start(second).ok());
  EXPECT_EQ(runner->Finish()->outputs[0].token, golden.token_ids[0]);
  EXPECT_EQ(runner->Finish()->outputs[0].token, golden.token_ids[1]);
}

TEST_F(RunnerTest, SamplingRepeatsWithItsSeedInAnyBatch) {
  const GoldenSet& set = sets_.front();
  const auto runner = Load(Options(set));
  ASSERT_NE(runner, nullptr);
  const auto sampled = [&](std::uint64_t seed) {
    auto sequence = MakeSequence(set.cases[1], set.manifest);
    sequence->sampling.temperature = 2;
    sequence->sampling.top_k = 50;
    sequence->sampling.top_p = 0.95f;
    sequence->seed = seed;
    return sequence;
  };
  const auto alone = sampled(std::uint64_t{7} << 32 | 5);
  Driver(runner.get(), 1).Run({alone.get()});
  const auto again = sampled(std::uint64_t{7} << 32 | 5), other = sampled(5);
  const auto greedy = MakeSequence(set.cases[2], set.manifest);
  Driver(runner.get(), 3).Run({other.get(), greedy.get(), again.get()});
  EXPECT_EQ(again->output, alone->output);
  EXPECT_NE(other->output, alone->output);
  EXPECT_EQ(Text(*greedy), set.cases[2].token_ids);
}

TEST_F(RunnerTest, MinTokensHoldsEosBack) {
  for (const GoldenSet& set : sets_) {
    const auto golden = std::find_if(set.cases.begin(), set.cases.end(),
                                     [](const GoldenCase& c) { return c.stops; });
    if (golden == set.cases.end()) {
      continue;
    }
    const auto runner = Load(Options(set));
    ASSERT_NE(runner, nullptr);
    const auto sequence = MakeSequence(*golden, set.manifest);
    sequence->sampling.min_tokens = static_cast<int>(golden->token_ids.size()) + 1;
    Driver driver(runner.get(), 1);
    driver.Run({sequence.get()});
    ASSERT_GT(sequence->output.size(), golden->token_ids.size());
    EXPECT_NE(sequence->output[golden->token_ids.size()], sequence->eos);
  }
}

TEST_F(RunnerTest, AnImageOfTheWrongSizeFailsTheStepAndNothingElse) {
  const GoldenSet& set = sets_.front();
  const auto runner = Load(Options(set));
  ASSERT_NE(runner, nullptr);
  const auto sequence = MakeSequence(set.cases.front(), set.manifest);
  const PreparedImage good = sequence->images[0];
  sequence->images[0].pixels = std::make_shared<const std::vector<std::uint8_t>>(12);
  Batch batch;
  batch.num_images = 1;
  batch.rows.push_back({.sequence = sequence.get(), .prefill = true, .block_table = {}});
  const Status status = runner->Start(batch);
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("an image of another size"));
  sequence->images[0] = good;
  Driver driver(runner.get(), 1);
  driver.Run({sequence.get()});
  EXPECT_EQ(Text(*sequence), set.cases.front().token_ids);
}

TEST_F(RunnerTest, APreemptedSequenceWithInt8PagesHasTheTokensItHasAlone) {
  const GoldenSet& set = sets_.front();
  TorchScriptRunner::Options options = Options(set);
  options.kv_dtype = "int8";
  const auto runner = Load(options);
  ASSERT_NE(runner, nullptr);
  EXPECT_EQ(runner->summary().kv_dtype, "int8");
  for (std::size_t i = 0; i < set.cases.size(); ++i) {
    const auto alone = MakeSequence(set.cases[i], set.manifest);
    Driver(runner.get(), 1).Run({alone.get()});
    const auto sequence = MakeSequence(set.cases[i], set.manifest);
    const auto neighbour = MakeSequence(set.cases[(i + 1) % set.cases.size()], set.manifest);
    Driver driver(runner.get(), 3);
    for (std::size_t step = 0; step < alone->output.size() / 2; ++step) {
      driver.Step({sequence.get()});
    }
    driver.Preempt(sequence.get());
    driver.Run({sequence.get(), neighbour.get()});
    EXPECT_EQ(sequence->output, alone->output) << set.cases[i].name;
  }
}

// Reported, not asserted: these types round, so the reference's float32 tokens may differ.
TEST_F(RunnerTest, NarrowKvIsMeasured) {
  for (const auto& [set, kv_dtype] : EverySetWith({"bfloat16", "int8"})) {
    TorchScriptRunner::Options options = Options(set);
    options.kv_dtype = kv_dtype;
    const auto runner = Load(options);
    ASSERT_NE(runner, nullptr);
    int equal = 0;
    for (const GoldenCase& golden : set.cases) {
      Driver driver(runner.get(), 1);
      const auto sequence = MakeSequence(golden, set.manifest);
      driver.Run({sequence.get()});
      equal += Text(*sequence) == golden.token_ids ? 1 : 0;
    }
    std::cout << set.name << ": " << kv_dtype << " KV, " << equal << " of " << set.cases.size()
              << " cases have the float32 reference's tokens\n";
  }
}

TEST_F(RunnerTest, RefusesOptionsItCannotServe) {
  TorchScriptRunner::Options options = Options(sets_.front());
  options.kv_dtype = "int3";
  EXPECT_EQ(TorchScriptRunner::Load(options).status().reason(), Reason::kFieldInvalid);
  options = Options(sets_.front());
  options.cpu_isa = "sse9";
  EXPECT_EQ(TorchScriptRunner::Load(options).status().reason(), Reason::kFieldInvalid);
  options = Options(sets_.front());
  options.num_kv_blocks = 0;
  options.kv_cache_bytes = 1000;
  EXPECT_THAT(TorchScriptRunner::Load(options).status().message(), HasSubstr("KV cache"));
}

TEST_F(RunnerTest, MasksDoNotDependOnTheirNeighbours) {
  for (const GoldenSet& set : sets_) {
    if (!set.manifest.files.contains("mask_decoder.pt")) {
      continue;
    }
    const auto decoder = TorchScriptMaskDecoder::Load(set.bundle, set.manifest, 2);
    ASSERT_TRUE(decoder.ok()) << decoder.status().ToString();
    std::vector<int> codes(3 * MaskDecoder::kNumCodes);
    for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<int>(i * 37 % 128);
    const auto all = (*decoder)->Decode(codes);
    ASSERT_TRUE(all.ok());
    ASSERT_EQ(all->size(), 3u * 64 * 64);
    const auto one = (*decoder)->Decode({codes.begin() + 16, codes.begin() + 32});
    ASSERT_TRUE(one.ok());
    EXPECT_TRUE(std::equal(one->begin(), one->end(), all->begin() + 64 * 64));
  }
}

}  // namespace
}  // namespace paligemma

// SPDX-License-Identifier: Apache-2.0
// Choosing tokens against the same rules written plainly: sorted lists and sums in double.
#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "device_memory.h"

namespace paligemma::gpu {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Ask {
  float temperature = 0, top_p = 1, min_p = 0, repetition = 1;
  int top_k = 0, mask = -1, seen = -1, forced = -1, seed_low = 0, seed_high = 0, counter = 0;
};

struct Chosen {
  std::vector<int> ids;
  std::vector<float> logprobs;
};

bool Bit(const std::vector<int>& words, int line, int width, int i) {
  return (static_cast<unsigned>(words[line * width + i / 32]) >> (i % 32) & 1) != 0;
}

unsigned Mix(unsigned x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// A batch of rows over one vocabulary.
struct ChooseCase {
  int vocab = 0;
  float softcap = 0;
  std::vector<float> logits;
  std::vector<Ask> asks;
  std::vector<int> masks, seen;
  bool of_allowed = false;

  int words() const { return (vocab + 31) / 32; }

  Chosen Run(int first, int count, std::vector<int>* marks = nullptr) const {
    std::vector<float> params;
    std::vector<int> controls;
    for (int i = first; i < first + count; ++i) {
      const Ask& a = asks[i];
      params.insert(params.end(), {a.temperature, a.top_p, a.min_p, a.repetition});
      controls.insert(controls.end(),
                      {a.top_k, a.mask, a.seen, a.forced, a.seed_low, a.seed_high, a.counter, 0});
    }
    const DeviceMemory<float> rows(
        std::vector<float>(logits.begin() + std::size_t(first) * vocab,
                           logits.begin() + std::size_t(first + count) * vocab)),
        device_params(params);
    const DeviceMemory<int> device_controls(controls), device_masks(masks);
    DeviceMemory<int> device_seen(seen), ids(count);
    DeviceMemory<float> scores(std::size_t(count) * vocab), logprobs(count);
    EXPECT_RUNS(Choose({rows.get(), device_params.get(), device_controls.get(), device_masks.get(),
                        device_seen.get(), scores.get(), ids.get(), logprobs.get(), count, vocab,
                        vocab, words(), softcap, of_allowed},
                       nullptr));
    if (marks != nullptr) *marks = device_seen.ToHost();
    return {ids.ToHost(), logprobs.ToHost()};
  }

  // The rules, for one row.
  int Wanted(int index, double* logprob) const {
    const Ask& a = asks[index];
    std::vector<float> capped(vocab), scores(vocab);
    for (int i = 0; i < vocab; ++i) {
      const float logit = logits[std::size_t(index) * vocab + i];
      capped[i] = softcap > 0 ? std::tanh(logit / softcap) * softcap : logit;
      if (std::isnan(capped[i])) return -1;
    }
    double total = 0;
    for (int i = 0; i < vocab; ++i) {
      scores[i] = capped[i];
      if (a.seen >= 0 && a.repetition != 1 && Bit(seen, a.seen, words(), i)) {
        scores[i] = scores[i] > 0 ? scores[i] / a.repetition : scores[i] * a.repetition;
      }
      const bool allowed = a.mask < 0 || Bit(masks, a.mask, words(), i);
      if (!allowed) scores[i] = kNever;
      if (allowed || !of_allowed) total += std::exp(double(capped[i]));
    }
    const int id = a.forced >= 0 ? a.forced : Draw(a, scores);
    *logprob = capped[id] - std::log(total);
    return id;
  }

  int Draw(const Ask& a, std::vector<float> scores) const {
    std::vector<int> order(vocab);
    std::iota(order.begin(), order.end(), 0);
    const auto sort = [&] {
      std::stable_sort(order.begin(), order.end(),
                       [&](int x, int y) { return scores[x] > scores[y]; });
    };
    sort();
    if (!(a.temperature > 0)) return order[0];
    for (float& score : scores) score /= a.temperature;
    if (a.top_k > 0 && a.top_k < vocab) {
      const float least = scores[order[a.top_k - 1]];
      for (float& score : scores) score = score < least ? kNever : score;
    }
    const float most = scores[order[0]];
    if (a.min_p > 0) {
      for (float& score : scores) score = score < most + std::log(a.min_p) ? kNever : score;
    }
    if (a.top_p < 1) {
      double total = 0, before = 0;
      for (const float score : scores) total += std::exp(double(score) - most);
      sort();
      for (const int i : order) {
        const double own = std::exp(double(scores[i]) - most) / total;
        if (before >= a.top_p) scores[i] = kNever;
        before += own;
      }
    }
    const unsigned k1 = Mix(unsigned(a.seed_low) ^ Mix(unsigned(a.counter) + 0x9e3779b9u));
    const unsigned k2 = Mix(unsigned(a.seed_high) ^ k1);
    int best = -1;
    float best_score = kNever;
    for (int i = 0; i < vocab; ++i) {
      if (scores[i] == kNever) continue;
      const unsigned u = Mix(Mix(unsigned(i) ^ k1) + k2);
      const float v = static_cast<float>(u + 0.5) * 0x1p-32f;
      const float score = scores[i] - std::log(-std::log1p(-v));
      if (best < 0 || score > best_score) best = i, best_score = score;
    }
    return best;
  }
};

// Rows that ask for everything, one at a time and together; whole numbers make many ties.
ChooseCase EveryKindOfRow(int vocab, bool ties) {
  Values values;
  ChooseCase c;
  c.vocab = vocab;
  c.softcap = 30;
  const std::vector<Ask> kinds = {{},
                                  {.temperature = 1},
                                  {.temperature = 0.7f, .top_k = 5},
                                  {.temperature = 1, .min_p = 0.1f},
                                  {.temperature = 1, .top_p = 0.5f},
                                  {.temperature = 1, .top_p = 0.95f, .top_k = 40},
                                  {.repetition = 1.5f, .seen = 1},
                                  {.mask = 0},
                                  {.temperature = 2, .top_p = 0.9f, .mask = 1},
                                  {.forced = 17},
                                  {.temperature = 1, .top_p = 1e-6f},
                                  {.temperature = 1, .top_k = vocab}};
#if defined(__SANITIZE_THREAD__)
  const int rounds = 1;
#else
  const int rounds = 3;
#endif
  for (int round = 0; round < rounds; ++round) {
    for (Ask ask : kinds) {
      ask.counter = round;
      ask.seed_low = 77 * round;
      ask.seed_high = -round;
      ask.seen = ask.seen < 0 ? -1 : round;  // no two rows share a line
      c.asks.push_back(ask);
    }
  }
  c.logits = values.Normal(c.asks.size() * vocab, 3);
  if (ties) {
    for (float& logit : c.logits) logit = std::nearbyint(logit / 2) * 2;
  }
  for (int i = 0; i < 2 * c.words(); ++i) {
    c.masks.push_back(static_cast<int>(i < c.words() ? 0x00010100u : 0x7fffffffu));
  }
  c.seen.assign(3 * c.words(), 0x0f0f0f0f);
  return c;
}

TEST(ChooseTest, FollowsTheRulesForEveryKindOfRow) {
#if defined(__SANITIZE_THREAD__)  // a fiber costs a millisecond there
  const std::vector<int> vocabs = {70};
#else
  const std::vector<int> vocabs = {70, 1664};
#endif
  for (const bool ties : {false, true}) {
    for (const int vocab : vocabs) {
      ChooseCase c = EveryKindOfRow(vocab, ties);
      for (const bool of_allowed : {false, true}) {
        if (ties != of_allowed && vocabs.size() == 1) continue;
        c.of_allowed = of_allowed;
        const Chosen got = c.Run(0, int(c.asks.size()));
        for (std::size_t i = 0; i < c.asks.size(); ++i) {
          double logprob = 0;
          EXPECT_EQ(got.ids[i], c.Wanted(int(i), &logprob)) << "row " << i << " of " << vocab;
          // A forced id need not be an allowed one, and then has no probability.
          EXPECT_NEAR(got.logprobs[i], logprob, 1e-4 + 1e-5 * std::fabs(logprob));
        }
      }
    }
  }
}

TEST(ChooseTest, NanGivesNoIdAndDoesNotReachOtherRows) {
  ChooseCase c = EveryKindOfRow(200, false);
  const Chosen clean = c.Run(0, 3);
  c.logits[200 + 7] = NAN;
  const Chosen got = c.Run(0, 3);
  EXPECT_EQ(got.ids, (std::vector<int>{clean.ids[0], -1, clean.ids[2]}));
  EXPECT_EQ(got.logprobs[1], 0);
}

TEST(ChooseTest, MarksWhatItChose) {
  ChooseCase c;
  c.vocab = 64;
  c.logits.assign(2 * 64, 0);
  c.logits[40] = 5;
  c.logits[64 + 3] = 5;
  c.asks = {{.seen = 1}, {}};
  c.masks = {0};
  c.seen = {0, 0, 1, 0};
  std::vector<int> marks;
  EXPECT_EQ(c.Run(0, 2, &marks).ids, (std::vector<int>{40, 3}));
  EXPECT_EQ(marks, (std::vector<int>{0, 0, 1, 1 << 8}));
}

TEST(ChooseTest, ARowHasTheSameBitsInEveryBatchAndOrder) {
  const ChooseCase c = EveryKindOfRow(300, true);
  const int count = int(c.asks.size());
  const Chosen all = c.Run(0, count);
  InEveryOrder([&] {
    for (const auto& [first, some] : {std::pair{0, count}, {4, 1}, {5, 7}}) {
      const Chosen got = c.Run(first, some);
      EXPECT_TRUE(std::equal(got.ids.begin(), got.ids.end(), all.ids.begin() + first));
      EXPECT_TRUE(SameBits(got.logprobs,
                           {all.logprobs.begin() + first, all.logprobs.begin() + first + some}));
    }
  });
}

// As often as the probabilities say, over many counters.
TEST(ChooseTest, DrawsAsOftenAsTheProbabilitiesSay) {
  ChooseCase c;
  c.vocab = 4;
  c.masks = c.seen = {0};
  const int count = 400;
  for (int i = 0; i < count; ++i) {
    c.logits.insert(c.logits.end(), {std::log(4.f), std::log(3.f), std::log(2.f), std::log(1.f)});
    c.asks.push_back({.temperature = 1, .counter = i});
  }
  std::vector<int> histogram(4);
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizers see one row as well as thousands";
#endif
  for (const int id : c.Run(0, count).ids) ++histogram[id];
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(histogram[i] / double(count), (4 - i) / 10.0, 0.08);
}

}  // namespace
}  // namespace paligemma::gpu

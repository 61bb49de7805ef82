// SPDX-License-Identifier: Apache-2.0
// The reference's answers: cases.json and pictures of a goldens folder (written by
// export/paligemma_export/goldens.py), and what runs a TorchScriptRunner on them.
#ifndef TESTS_CORE_MODEL_GOLDEN_CASES_H_
#define TESTS_CORE_MODEL_GOLDEN_CASES_H_

#include <memory>
#include <string>
#include <vector>

#include "core/bundle/manifest.h"
#include "core/model/model_runner.h"
#include "core/model/torchscript_runner.h"

namespace paligemma {

struct GoldenCase {
  std::string name;
  PreparedImage image;
  std::vector<TokenId> prompt_ids;
  int max_tokens = 0;
  std::vector<TokenId> token_ids;  // without EOS
  bool stops = false;              // EOS follows
};

// Where the test bundles lie: $PG_TEST_MODELS or models; a bundle and its goldens folder.
struct GoldenSet {
  std::string name, bundle, goldens;
  Manifest manifest;
  std::vector<GoldenCase> cases;
};

// Every set that is there; empty: none.
std::vector<GoldenSet> LoadGoldenSets();

// $PG_TEST_DEVICE or "cpu", prepared. scripts/gpu-check sets it.
Device TestDevice();

// A sequence that asks for the case's tokens greedily.
std::unique_ptr<Sequence> MakeSequence(const GoldenCase& golden, const Manifest& manifest);

// Drives sequences by hand, one block table each, the blocks spread over the cache.
class Driver {
 public:
  Driver(ModelRunner* runner, int max_sequences);

  // One step: prefill with replay for sequences that are not cached, else decode. Appends tokens.
  void Step(const std::vector<Sequence*>& sequences);
  // Generates until EOS or max_tokens.
  void Run(std::vector<Sequence*> sequences);
  // Loses the sequence's blocks: the next step replays it.
  void Preempt(const Sequence* sequence);

  std::vector<StepOutput> last_outputs;
  int num_cached_images = 0;

 private:
  struct Entry {
    const Sequence* sequence = nullptr;
    bool cached = false;
    std::vector<BlockId> blocks;
  };
  Entry& Find(const Sequence* sequence);
  BatchRow MakeRow(const Sequence* sequence);

  ModelRunner* const runner_;
  const int blocks_each_;
  std::vector<Entry> entries_;
};

// Tokens without a last EOS.
std::vector<TokenId> Text(const Sequence& sequence);

}  // namespace paligemma

#endif  // TESTS_CORE_MODEL_GOLDEN_CASES_H_

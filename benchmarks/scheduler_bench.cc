// SPDX-License-Identifier: Apache-2.0
// CPU time of one scheduler step (Schedule and Commit) while many sequences decode. Target: 50 us
// at 256.
#include <benchmark/benchmark.h>

#include <memory>

#include "core/sched/scheduler.h"

namespace paligemma {
namespace {

constexpr int kPromptTokens = 268;  // a 224 px image and a short question
constexpr int kOutputTokens = 4096;
constexpr int kBlockSize = 16;

StepResult TokensFor(const Batch& batch) {
  StepResult result;
  result.outputs.resize(batch.rows.size());
  for (StepOutput& output : result.outputs) output.token = 7;
  return result;
}

std::unique_ptr<Sequence> MakeSequence(SequenceId id) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->prompt.assign(kPromptTokens, 5);
  sequence->max_tokens = kOutputTokens;
  return sequence;
}

void BM_DecodeStep(benchmark::State& state) {
  const auto num_sequences = static_cast<int>(state.range(0));
  SchedulerOptions options;
  options.max_running = num_sequences;
  options.max_batch_tokens = num_sequences * kPromptTokens;
  KvCacheManager kv(num_sequences * (kPromptTokens + kOutputTokens) / kBlockSize + num_sequences,
                    kBlockSize);
  auto scheduler = std::make_unique<Scheduler>(options, &kv);
  SequenceId next_id = 1;
  TimePoint now{std::chrono::hours(1)};
  for (auto _ : state) {
    if (scheduler->num_running() == 0) {
      state.PauseTiming();
      for (int i = 0; i < num_sequences; ++i) scheduler->Add(MakeSequence(next_id++), now);
      const Batch prefill = scheduler->Schedule(now).batch;
      scheduler->Commit(prefill.step, TokensFor(prefill));
      state.ResumeTiming();
    }
    Scheduler::Decision decision = scheduler->Schedule(now);
    benchmark::DoNotOptimize(scheduler->Commit(decision.batch.step, TokensFor(decision.batch)));
  }
}
BENCHMARK(BM_DecodeStep)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace paligemma

BENCHMARK_MAIN();

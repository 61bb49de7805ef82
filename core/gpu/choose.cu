// SPDX-License-Identifier: Apache-2.0
// Choosing tokens. A block is a row: the whole vocabulary passes by a few times, from the L2 cache.
// Whatever many threads add up is an integer, so no order shows.
#include "core/gpu/device.h"
#include "core/gpu/kernels.h"

namespace paligemma::gpu {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarp, kBuckets = 256;
constexpr float kNever = -INFINITY;
enum Param { kTemperature, kTopP, kMinP, kRepetition, kParams };
enum Control { kTopK, kMaskLine, kSeenLine, kForced, kSeedLow, kSeedHigh, kCounter, kControls = 8 };

using Mass = unsigned long long;
constexpr float kMassOfOne = 4294967296.0f;  // of a weight of 1: 2^32

struct Shared {
  float floats[kWarps];
  Mass masses[kBuckets];
  unsigned long long best;
  unsigned nans, key;
  Mass before;
};

// An unsigned integer that is ordered as the float is.
__device__ unsigned KeyOf(float value) {
  unsigned bits;
  memcpy(&bits, &value, sizeof bits);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ float FloatOf(unsigned key) {
  const unsigned bits = (key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

__device__ bool Bit(const int* words, int i) {
  return (static_cast<unsigned>(words[i / 32]) >> (i % 32) & 1) != 0;
}

// What one row asks.
struct Row {
  const float* params;
  const int* controls;
  const int* mask;  // null: all ids are allowed
  int* seen;        // null: no penalty, no marks
  float* scores;
};

__device__ Row RowOf(const ChooseArguments& a, int row) {
  const int* controls = a.controls + row * kControls;
  const auto line = [&](const int* lines, Control which) {
    return controls[which] >= 0 ? lines + std::size_t(controls[which]) * a.words : nullptr;
  };
  return {a.params + row * kParams, controls, line(a.masks, kMaskLine),
          const_cast<int*>(line(a.seen, kSeenLine)), a.scores + std::size_t(row) * a.vocab};
}

// The block's largest float, and then its sum; `floats` is free again afterwards.
__device__ float LargestOf(float value, Shared* shared) {
  const float most = BlockMax<kThreads>(value, shared->floats);
  __syncthreads();
  return most;
}
__device__ float SumOf(float value, Shared* shared) {
  const float sum = BlockSum<kThreads>(value, shared->floats);
  __syncthreads();
  return sum;
}

// The id with the largest value(i); ties go to the lowest id, and -inf is never taken. The same in
// every thread; -1 if there is none.
template <typename F>
__device__ int ArgMax(int vocab, F value, Shared* shared) {
  if (threadIdx.x == 0) shared->best = 0;
  __syncthreads();
  unsigned long long best = 0;
  for (int i = static_cast<int>(threadIdx.x); i < vocab; i += kThreads) {
    const float own = value(i);
    if (!(own > kNever)) continue;
    const unsigned long long key = static_cast<unsigned long long>(KeyOf(own)) << 32 |
                                   (0xffffffffu - static_cast<unsigned>(i));
    best = max(best, key);
  }
  atomicMax(&shared->best, best);
  __syncthreads();
  const unsigned long long all = shared->best;
  __syncthreads();
  return all == 0 ? -1 : static_cast<int>(0xffffffffu - static_cast<unsigned>(all));
}

// Writes the scores; returns the largest capped logit that counts for probabilities.
__device__ float Score(const ChooseArguments& a, const Row& row, const float* logits,
                       Shared* shared) {
  const float penalty = row.params[kRepetition];
  float most = kNever;
  if (threadIdx.x == 0) shared->nans = 0;
  __syncthreads();
  bool any_nan = false;
  for (int i = static_cast<int>(threadIdx.x); i < a.vocab; i += kThreads) {
    const float capped = a.softcap > 0 ? tanhf(logits[i] / a.softcap) * a.softcap : logits[i];
    any_nan |= isnan(capped);
    const bool allowed = row.mask == nullptr || Bit(row.mask, i);
    if (allowed || !a.logprobs_of_allowed) most = fmaxf(most, capped);
    float score = capped;
    if (row.seen != nullptr && penalty != 1 && Bit(row.seen, i)) {
      score = score > 0 ? score / penalty : score * penalty;
    }
    row.scores[i] = allowed ? score : kNever;
  }
  if (any_nan) atomicMax(&shared->nans, 1u);
  most = LargestOf(most, shared);
  return most;
}

// Finds where, from the largest score down, the masses of the scores reach `target`. Returns the
// key of that score; `before` is the mass of all larger ones.
template <typename F>
__device__ unsigned KeyAtMass(const ChooseArguments& a, const Row& row, F mass_of, Mass target,
                              Mass* before, Shared* shared) {
  unsigned prefix = 0, known = 0;  // bits that the key has, and which of its bits are known
  Mass above = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = static_cast<int>(threadIdx.x); i < kBuckets; i += kThreads) shared->masses[i] = 0;
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < a.vocab; i += kThreads) {
      const float score = row.scores[i];
      if (!(score > kNever)) continue;
      const unsigned key = KeyOf(score);
      if ((key & known) != prefix) continue;
      atomicAdd(&shared->masses[key >> shift & 255u], mass_of(score));
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      Mass sum = above;
      int bucket = kBuckets - 1;
      // Stops at the lowest bucket that holds anything, should the target lie below all of them.
      int last = bucket;
      for (; bucket >= 0; --bucket) {
        if (shared->masses[bucket] == 0) continue;
        last = bucket;
        if (sum + shared->masses[bucket] >= target) break;
        sum += shared->masses[bucket];
      }
      if (bucket < 0) sum -= shared->masses[last];
      shared->key = static_cast<unsigned>(last);
      shared->before = sum;
    }
    __syncthreads();
    prefix |= shared->key << shift;
    known |= 255u << shift;
    above = shared->before;
    __syncthreads();
  }
  *before = above;
  return prefix;
}

// Removes what lies below the key.
__device__ void KeepFrom(const ChooseArguments& a, const Row& row, unsigned key) {
  for (int i = static_cast<int>(threadIdx.x); i < a.vocab; i += kThreads) {
    if (KeyOf(row.scores[i]) < key) row.scores[i] = kNever;
  }
  __syncthreads();
}

// Of the scores with this key, keeps the `count` with the lowest ids.
__device__ void KeepLowestIds(const ChooseArguments& a, const Row& row, unsigned key, Mass count,
                              Shared* shared) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp,
            warp = static_cast<int>(threadIdx.x) / kWarp;
  Mass kept = 0;
  for (int base = 0; base < a.vocab; base += kThreads) {
    const int i = base + static_cast<int>(threadIdx.x);
    const bool equal = i < a.vocab && KeyOf(row.scores[i]) == key;
    unsigned before = equal ? 1 : 0;  // becomes the number among the lanes up to this one
    for (int step = 1; step < kWarp; step *= 2) {
      const unsigned other = __shfl_up_sync(~0u, before, step);
      if (lane >= step) before += other;
    }
    if (lane == kWarp - 1) shared->masses[warp] = before;
    __syncthreads();
    Mass rank = kept + before - (equal ? 1 : 0);
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) rank += shared->masses[w];
      kept += shared->masses[w];
    }
    if (equal && rank >= count) row.scores[i] = kNever;
    __syncthreads();
  }
}

__device__ float LargestScore(const ChooseArguments& a, const Row& row, Shared* shared) {
  float most = kNever;
  for (int i = static_cast<int>(threadIdx.x); i < a.vocab; i += kThreads) {
    most = fmaxf(most, row.scores[i]);
  }
  return LargestOf(most, shared);
}

// top-k, min-p and top-p, on scores that were divided by the temperature.
__device__ void Truncate(const ChooseArguments& a, const Row& row, Shared* shared) {
  Mass before = 0;
  const int top_k = row.controls[kTopK];
  if (top_k > 0 && top_k < a.vocab) {
    const auto one = [](float) { return Mass{1}; };
    KeepFrom(a, row, KeyAtMass(a, row, one, static_cast<Mass>(top_k), &before, shared));
  }
  const float most = LargestScore(a, row, shared);
  if (row.params[kMinP] > 0) {
    KeepFrom(a, row, KeyOf(most + logf(row.params[kMinP])));
  }
  const float top_p = row.params[kTopP];
  if (!(top_p < 1)) return;
  const auto mass = [most](float score) {
    return static_cast<Mass>(expf(score - most) * kMassOfOne);
  };
  if (threadIdx.x == 0) shared->before = 0;
  __syncthreads();
  Mass own = 0;
  for (int i = static_cast<int>(threadIdx.x); i < a.vocab; i += kThreads) {
    if (row.scores[i] > kNever) own += mass(row.scores[i]);
  }
  atomicAdd(&shared->before, own);
  __syncthreads();
  const Mass target = max(
      Mass{1}, static_cast<Mass>(static_cast<double>(top_p) * static_cast<double>(shared->before)));
  __syncthreads();
  const unsigned key = KeyAtMass(a, row, mass, target, &before, shared);
  KeepFrom(a, row, key);
  // The scores that are equal to the last one count one by one, the lowest id first.
  const Mass each = max(Mass{1}, mass(FloatOf(key)));
  KeepLowestIds(a, row, key, (target - before + each - 1) / each, shared);
}

// lowbias32
__device__ unsigned Mix(unsigned x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

__device__ int Draw(const ChooseArguments& a, const Row& row, Shared* shared) {
  const auto control = [&](Control which) { return static_cast<unsigned>(row.controls[which]); };
  const unsigned k1 = Mix(control(kSeedLow) ^ Mix(control(kCounter) + 0x9e3779b9u));
  const unsigned k2 = Mix(control(kSeedHigh) ^ k1);
  const auto noisy = [&](int i) {
    const float score = row.scores[i];
    if (!(score > kNever)) return kNever;
    const unsigned u = Mix(Mix(static_cast<unsigned>(i) ^ k1) + k2);
    const float v = static_cast<float>(u + 0.5) * 0x1p-32f;
    return score - logf(-log1pf(-v));
  };
  return ArgMax(a.vocab, noisy, shared);
}

__device__ int ChooseId(const ChooseArguments& a, const Row& row, Shared* shared) {
  if (row.controls[kForced] >= 0) return row.controls[kForced];
  const float temperature = row.params[kTemperature];
  if (!(temperature > 0)) {
    return ArgMax(
        a.vocab, [&](int i) { return row.scores[i]; }, shared);
  }
  for (int i = static_cast<int>(threadIdx.x); i < a.vocab; i += kThreads) {
    row.scores[i] /= temperature;
  }
  __syncthreads();
  Truncate(a, row, shared);
  return Draw(a, row, shared);
}

__global__ void __launch_bounds__(kThreads) ChooseKernel(ChooseArguments a) {
  PG_SHARED(Shared, shared);
  WaitForPredecessor();
  const int index = static_cast<int>(blockIdx.x);
  const Row row = RowOf(a, index);
  const float* logits = a.logits + std::size_t(index) * a.stride;
  const float most = Score(a, row, logits, &shared);
  const bool fault = shared.nans != 0;
  const int id = fault ? -1 : ChooseId(a, row, &shared);
  if (a.logprobs != nullptr) {
    float total = 0;
    for (int i = static_cast<int>(threadIdx.x); i < a.vocab; i += kThreads) {
      if (a.logprobs_of_allowed && row.mask != nullptr && !Bit(row.mask, i)) continue;
      const float capped = a.softcap > 0 ? tanhf(logits[i] / a.softcap) * a.softcap : logits[i];
      total += expf(capped - most);
    }
    total = SumOf(total, &shared);
    if (threadIdx.x == 0) {
      float own = 0;
      if (id >= 0) {
        own = a.softcap > 0 ? tanhf(logits[id] / a.softcap) * a.softcap : logits[id];
        own = own - most - logf(total);
      }
      a.logprobs[index] = own;
    }
  }
  if (threadIdx.x == 0) {
    a.ids[index] = id;
    if (row.seen != nullptr && id >= 0) {
      atomicOr(reinterpret_cast<unsigned*>(&row.seen[id / 32]), 1u << (id % 32));
    }
  }
}

}  // namespace

cudaError_t Choose(const ChooseArguments& a, cudaStream_t stream) {
  return Launch(ChooseKernel, dim3(a.rows), kThreads, sizeof(Shared), stream, a);
}

}  // namespace paligemma::gpu

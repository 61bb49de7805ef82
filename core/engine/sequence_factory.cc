// SPDX-License-Identifier: Apache-2.0
#include "core/engine/sequence_factory.h"

#include <random>
#include <utility>

namespace paligemma {
namespace {

// Returns a seed that fits the API's positive int32.
std::uint64_t DrawSeed() {
  std::random_device device;
  return device() & 0x7fffffffu;
}

// Returns splitmix64 (Steele, Lea, Flood 2014), so that neighbouring places draw unrelated numbers.
std::uint64_t SeedOf(std::uint64_t seed, std::uint64_t place) {
  if (place == 0) return seed;
  std::uint64_t z = seed + place * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

PreparedSequences MakeSequences(const Request& request, PreparedRequest prepared,
                                const Vocabulary& vocabulary, std::atomic<SequenceId>* next_id) {
  PreparedSequences made;
  DeliveryRequest& delivery = made.delivery;
  Answer& result = delivery.result;
  result.seed = request.seed.has_value() ? *request.seed : DrawSeed();
  result.images = std::move(prepared.image_infos);
  result.usage.num_images = static_cast<int>(prepared.images.size());
  result.usage.image_tokens = result.usage.num_images * prepared.tokens_per_image;
  result.usage.prompt_tokens = result.usage.image_tokens;
  delivery.arrival = request.arrival;
  const int logprobs = LogprobsOf(request);
  delivery.deadline = request.deadline;
  delivery.logprobs = logprobs >= 0;
  delivery.streams_objects = request.streamed && TraitsOf(ObjectTaskOf(request)).has_objects;
  delivery.mask = request.mask;
  const ImageInfo image = result.images.empty() ? ImageInfo() : result.images.front();
  for (std::size_t p = 0; p < prepared.prompts.size(); ++p) {
    PreparedPrompt& prompt = prepared.prompts[p];
    result.usage.prompt_tokens += static_cast<int>(prompt.tokens.size());
    for (int candidate = 0; candidate < request.num_candidates; ++candidate) {
      auto sequence = std::make_unique<Sequence>();
      sequence->id = next_id->fetch_add(1);
      sequence->images = prepared.images;
      sequence->tokens_per_image = prepared.tokens_per_image;
      sequence->prompt = prompt.tokens;
      sequence->sampling = request.sampling;
      sequence->max_tokens = prepared.max_tokens;
      sequence->logprobs = logprobs;
      sequence->seed = SeedOf(result.seed, made.sequences.size());
      sequence->priority = request.priority;
      sequence->arrival = request.arrival;
      sequence->deadline = request.deadline;
      sequence->time_budget = request.time_budget;
      sequence->eos = prepared.eos;
      sequence->output_rules = prepared.output_rules;
      delivery.outputs.push_back(
          {sequence->id, std::make_unique<AnswerReader>(&vocabulary, request, image)});
      Candidate& outcome = result.candidates.emplace_back();
      outcome.prompt_index = static_cast<int>(p);
      outcome.candidate_index = candidate;
      made.sequences.push_back(std::move(sequence));
    }
    result.prompts.push_back(std::move(prompt.text));
  }
  return made;
}

}  // namespace paligemma

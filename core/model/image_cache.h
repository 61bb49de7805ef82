// SPDX-License-Identifier: Apache-2.0
// Encoded images on the device: one slab of slots, each the soft tokens of one image, from which
// the decoder gathers rows itself. Internal to core/model. Thread safety: none.
#ifndef CORE_MODEL_IMAGE_CACHE_H_
#define CORE_MODEL_IMAGE_CACHE_H_

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <vector>

#include "core/model/image_slots.h"
#include "core/request/batch.h"

namespace paligemma {

class ImageCache {
 public:
  struct Options {
    int num_images = 64;  // kept; grows if one step holds more
    int tokens_per_image = 256;
    int hidden = 0;
    int max_vision_batch = 8;  // images in one call of the encoder; on CPUs always one, so that a
                               // picture's features cannot depend on its neighbours
  };
  ImageCache(torch::jit::Module vision, const Options& options, c10::Device device);

  struct Encoded {
    // For each batch row, the first row in rows() of each of its images.
    std::vector<std::vector<std::int32_t>> first_rows;
    std::vector<int> num_cached;  // for each batch row, how many of its images were there already
  };
  // Encodes what the batch's prefill rows show and the cache does not hold. Throws what torch
  // throws. EndStep must follow.
  Encoded Encode(const Batch& batch);
  void EndStep(bool succeeded) { slots_.EndStep(succeeded); }

  const at::Tensor& rows() const { return slab_; }  // f32 [slots * tokens, hidden]
  std::int64_t bytes() const { return static_cast<std::int64_t>(slab_.nbytes()); }

 private:
  ImageSlots::Place PlaceFor(const PreparedImage& image, int num_images);
  void RunEncoder(const std::vector<const PreparedImage*>& images, const std::vector<int>& slots);

  torch::jit::Module vision_;
  const Options options_;
  const c10::Device device_;
  ImageSlots slots_;
  at::Tensor slab_;
};

}  // namespace paligemma

#endif  // CORE_MODEL_IMAGE_CACHE_H_

// SPDX-License-Identifier: Apache-2.0
#include "core/model/image_cache.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace paligemma {

ImageCache::ImageCache(torch::jit::Module vision, const Options& options, c10::Device device)
    : vision_(std::move(vision)),
      options_(options),
      device_(device),
      slots_(options.num_images),
      slab_(at::empty({std::int64_t{slots_.num_slots()} * options.tokens_per_image, options.hidden},
                      at::TensorOptions(at::kFloat).device(device))) {}

ImageCache::Encoded ImageCache::Encode(const Batch& batch) {
  Encoded encoded;
  encoded.first_rows.resize(batch.rows.size());
  encoded.num_cached.resize(batch.rows.size());
  std::vector<const PreparedImage*> missing;
  std::vector<int> missing_slots;
  for (std::size_t i = 0; i < batch.rows.size(); ++i) {
    if (!batch.rows[i].prefill) {
      continue;
    }
    for (const PreparedImage& image : batch.rows[i].sequence->images) {
      const ImageSlots::Place place = PlaceFor(image, batch.num_images);
      encoded.first_rows[i].push_back(place.slot * options_.tokens_per_image);
      if (place.hit) {
        ++encoded.num_cached[i];
      } else {
        missing.push_back(&image);
        missing_slots.push_back(place.slot);
      }
    }
  }
  const int chunk = device_.is_cpu() ? 1 : std::max(options_.max_vision_batch, 1);
  for (std::size_t first = 0; first < missing.size(); first += chunk) {
    const std::size_t last = std::min(missing.size(), first + chunk);
    RunEncoder({missing.begin() + first, missing.begin() + last},
               {missing_slots.begin() + first, missing_slots.begin() + last});
  }
  return encoded;
}

ImageSlots::Place ImageCache::PlaceFor(const PreparedImage& image, int num_images) {
  if (auto place = slots_.Acquire(image.key, image.use_cache)) {
    return *place;
  }
  // More images in one step than slots: grow at once to what the step needs.
  slots_.Grow(std::max(num_images, slots_.num_slots() + 1));
  at::Tensor larger =
      at::empty({std::int64_t{slots_.num_slots()} * options_.tokens_per_image, options_.hidden},
                slab_.options());
  larger.narrow(0, 0, slab_.size(0)).copy_(slab_);
  slab_ = larger;
  return slots_.Acquire(image.key, image.use_cache).value();
}

void ImageCache::RunEncoder(const std::vector<const PreparedImage*>& images,
                            const std::vector<int>& slots) {
  const std::int64_t size = images.front()->size;
  at::Tensor pixels =
      at::empty({static_cast<std::int64_t>(images.size()), size, size, 3}, at::kByte);
  const std::size_t bytes = static_cast<std::size_t>(size) * size * 3;
  for (std::size_t i = 0; i < images.size(); ++i) {
    TORCH_CHECK(images[i]->size == size && images[i]->pixels->size() == bytes,
                "an image of another size");
    std::memcpy(pixels.mutable_data_ptr<std::uint8_t>() + i * bytes, images[i]->pixels->data(),
                bytes);
  }
  const at::Tensor features = vision_.forward({pixels.to(device_)}).toTensor();
  const std::int64_t tokens = options_.tokens_per_image;
  for (std::size_t i = 0; i < images.size(); ++i) {
    slab_.narrow(0, slots[i] * tokens, tokens)
        .copy_(features.narrow(0, static_cast<std::int64_t>(i) * tokens, tokens));
  }
}

}  // namespace paligemma

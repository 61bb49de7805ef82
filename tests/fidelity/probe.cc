// SPDX-License-Identifier: Apache-2.0
// Lets the fidelity suite ask core/text and core/vision directly: one JSON request on each line of
// standard input, one JSON answer on each line of standard output. Pixels and masks go by file.
// Usage: fidelity_probe BUNDLE
#include <array>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/base/heap.h"
#include "core/bundle/manifest.h"
#include "core/text/detokenizer.h"
#include "core/text/prompt_builder.h"
#include "core/text/region_parser.h"
#include "core/text/tokenizer.h"
#include "core/vision/image_decoder.h"
#include "core/vision/mask_renderer.h"
#include "core/vision/resampler.h"

namespace paligemma {
namespace {

using Json = nlohmann::json;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename Bytes>
void WriteFile(const std::string& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

Json Error(const Status& status) { return {{"error", status.message()}}; }

// {file, out} -> {width, height}; RGB to `out`.
Json DecodePicture(const Json& request) {
  ImageInput input;
  input.encoded = ReadFile(request.at("file"));
  const auto decoded = DecodeImage(input, ImageLimits(), "image");
  if (!decoded.ok()) {
    return Error(decoded.status());
  }
  WriteFile(request.at("out"), decoded->image.pixels);
  return {{"width", decoded->image.width}, {"height", decoded->image.height}};
}

// {file (RGB), width, height, size, resampling, pad_white, plain, out} -> {}; RGB to `out`.
Json Resize(const Json& request) {
  static const std::map<std::string, Resampling> kResamplings = {
      {"pillow_bicubic", Resampling::kPillowBicubic},
      {"bilinear", Resampling::kBilinear},
      {"bilinear_antialias", Resampling::kBilinearAntialias}};
  const std::string bytes = ReadFile(request.at("file"));
  const RgbImage image{request.at("width"), request.at("height"), {bytes.begin(), bytes.end()}};
  const Padding padding = request.at("pad_white") ? Padding::kPadWhite : Padding::kSquash;
  const ResizeKernels kernels =
      request.value("plain", false) ? ResizeKernels::kPlain : ResizeKernels::kBest;
  WriteFile(request.at("out"),
            ResizeToSquare(image, request.at("size"), kResamplings.at(request.at("resampling")),
                           padding, kernels));
  return Json::object();
}

// Seconds of this thread.
double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// {file, size, out} -> {decode, resize}: seconds of one thread for a file in memory; RGB to `out`.
Json Prepare(const Json& request) {
  ImageInput input;
  input.encoded = ReadFile(request.at("file"));
  const double started = CpuSeconds();
  const auto decoded = DecodeImage(input, ImageLimits(), "image");
  if (!decoded.ok()) {
    return Error(decoded.status());
  }
  const double between = CpuSeconds();
  const auto pixels = ResizeToSquare(decoded->image, request.at("size"), Resampling::kPillowBicubic,
                                     Padding::kSquash);
  const double ended = CpuSeconds();
  WriteFile(request.at("out"), pixels);
  return {{"decode", between - started}, {"resize", ended - between}};
}

// {file (64 x 64 float32), box [x0, y0, x1, y1], width, height, encoding, whole_image}
// -> {num_pixels, region} and {rle} or {rings}; a PNG or soft mask to `out`.
Json Mask(const Json& request) {
  static const std::map<std::string, MaskEncoding> kEncodings = {
      {"png", MaskEncoding::kPng},
      {"soft", MaskEncoding::kSoft},
      {"rle", MaskEncoding::kRle},
      {"polygon", MaskEncoding::kPolygon}};
  const std::string bytes = ReadFile(request.at("file"));
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  const auto box = request.at("box").get<std::array<int, 4>>();
  MaskOptions options;
  options.encoding = kEncodings.at(request.at("encoding"));
  options.whole_image = request.at("whole_image");
  const auto mask = RenderMask(values, {box[0], box[1], box[2], box[3]}, request.at("width"),
                               request.at("height"), options);
  if (!mask.ok()) {
    return Error(mask.status());
  }
  if (options.encoding == MaskEncoding::kPng) {
    WriteFile(request.at("out"), mask->png);
  } else if (options.encoding == MaskEncoding::kSoft) {
    WriteFile(request.at("out"), mask->soft);
  }
  const PixelBox& region = mask->region;
  return {{"num_pixels", mask->num_pixels},
          {"region", {region.x_min, region.y_min, region.x_max, region.y_max}},
          {"rle", mask->rle_counts},
          {"rings", mask->rings}};
}

// {bins, width, height} -> {box: [x0, y0, x1, y1]}.
Json PixelsOfBox(const Json& request) {
  const PixelBox box = ToPixelBox(request.at("bins").get<std::array<int, 4>>(), request.at("width"),
                                  request.at("height"));
  return {{"box", {box.x_min, box.y_min, box.x_max, box.y_max}}};
}

class TextProbe {
 public:
  TextProbe(const Manifest& manifest, const Tokenizer& tokenizer)
      : tokenizer_(tokenizer), prompts_(manifest, tokenizer) {}

  // {text} -> {ids}: the whole prefix of Generate.
  Json Prompt(const Json& request) const {
    Request generate;
    generate.task = Task::kGenerate;
    generate.text = request.at("text");
    const auto prompts = prompts_.Build(generate);
    return prompts.ok() ? Json{{"ids", prompts->front().tokens}} : Error(prompts.status());
  }

  // {text} -> {ids}: text of a typed field.
  Json Plain(const Json& request) const {
    const auto ids = tokenizer_.EncodePlain(request.at("text").get<std::string>());
    return ids.ok() ? Json{{"ids", *ids}} : Error(ids.status());
  }

  // {ids} -> {whole, parts}: decoded at once, and token by token with what Flush() gives.
  Json Decode(const Json& request) const {
    const auto ids = request.at("ids").get<std::vector<TokenId>>();
    Detokenizer detokenizer(tokenizer_);
    std::vector<std::string> parts;
    for (const TokenId id : ids) {
      parts.push_back(detokenizer.Append(id));
    }
    parts.push_back(detokenizer.Flush());
    return {{"whole", tokenizer_.Decode(ids)}, {"parts", parts}};
  }

  // {ids, require_codes} -> {objects: [{bins, label, codes}], dropped}.
  Json Regions(const Json& request) const {
    const auto parsed = ParseRegions(tokenizer_, request.at("ids").get<std::vector<TokenId>>(),
                                     /*cut=*/false, {request.at("require_codes").get<bool>()});
    Json objects = Json::array();
    for (const ParsedObject& object : parsed.objects) {
      objects.push_back({{"bins", object.bins},
                         {"label", object.label},
                         {"codes", object.codes ? Json(*object.codes) : Json()}});
    }
    return {{"objects", objects}, {"dropped", parsed.num_dropped}};
  }

 private:
  const Tokenizer& tokenizer_;
  const PromptBuilder prompts_;
};

int Run(const std::string& bundle) {
  const auto manifest = LoadManifest(bundle);
  if (!manifest.ok()) {
    std::cerr << manifest.status().message() << "\n";
    return 1;
  }
  const auto tokenizer = Tokenizer::Load(bundle + "/tokenizer.model", manifest->tokens);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().message() << "\n";
    return 1;
  }
  const TextProbe text(*manifest, **tokenizer);
  const std::map<std::string, std::function<Json(const Json&)>> operations = {
      {"decode_picture", DecodePicture},
      {"resize", Resize},
      {"prepare", Prepare},
      {"mask", Mask},
      {"pixel_box", PixelsOfBox},
      {"prompt", [&](const Json& request) { return text.Prompt(request); }},
      {"plain", [&](const Json& request) { return text.Plain(request); }},
      {"decode", [&](const Json& request) { return text.Decode(request); }},
      {"regions", [&](const Json& request) { return text.Regions(request); }}};
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    std::cout << operations.at(request.at("op"))(request) << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace paligemma

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fidelity_probe BUNDLE\n";
    return 2;
  }
  paligemma::ConfigureHeap();  // as the server
  return paligemma::Run(argv[1]);
}

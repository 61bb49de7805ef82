// SPDX-License-Identifier: Apache-2.0
#include "client/overlay.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string>

namespace paligemma::client {
namespace {

constexpr double kMaskOpacity = 0.45;
// Told apart by most people with defective colour vision (Okabe and Ito).
const cv::Scalar kColors[] = {{230, 159, 0}, {86, 180, 233}, {0, 158, 115},  {240, 228, 66},
                              {0, 114, 178}, {213, 94, 0},   {204, 121, 167}};

Status TintMask(const v1::Mask& mask, const cv::Scalar& color, cv::Mat* canvas) {
  if (mask.encoding_case() != v1::Mask::kPng || mask.png().empty()) return OkStatus();
  ImageInput input;
  input.encoded = mask.png();
  PG_ASSIGN_OR_RETURN(const DecodedImage decoded, DecodeImage(input, ImageLimits(), "mask"));
  const RgbImage& pixels = decoded.image;
  const int left = mask.region().x_min(), top = mask.region().y_min();
  // The mask of a picture that was resized before it was sent has fewer pixels than its region.
  const int width = std::max(pixels.width, mask.region().x_max() - left);
  const int height = std::max(pixels.height, mask.region().y_max() - top);
  for (int y = 0; y < height; ++y) {
    const size_t mask_row = static_cast<size_t>(std::int64_t{y} * pixels.height / height);
    for (int x = 0; x < width; ++x) {
      const size_t mask_column = static_cast<size_t>(std::int64_t{x} * pixels.width / width);
      const size_t index = 3 * (mask_row * static_cast<size_t>(pixels.width) + mask_column);
      const int row = top + y, column = left + x;
      const bool inside = row >= 0 && row < canvas->rows && column >= 0 && column < canvas->cols;
      if (!inside || pixels.pixels[index] < 128) continue;
      auto& pixel = canvas->at<cv::Vec3b>(row, column);
      for (int c = 0; c < 3; ++c) {
        pixel[c] =
            cv::saturate_cast<uchar>(pixel[c] * (1 - kMaskOpacity) + color[c] * kMaskOpacity);
      }
    }
  }
  return OkStatus();
}

std::string Caption(const v1::DetectedObject& object) {
  std::string text = object.label();
  // The font has ASCII alone.
  for (char& c : text) c = static_cast<unsigned char>(c) < 0x80 ? c : '?';
  if (!object.has_score()) return text;
  char score[16];
  std::snprintf(score, sizeof(score), " %.2f", object.score());
  return text + score;
}

// White with a black outline: readable on anything.
void DrawLabel(const std::string& text, cv::Point corner, double scale, cv::Mat* canvas) {
  int base = 0;
  const int thickness = std::max(1, static_cast<int>(scale * 2));
  const cv::Size size = cv::getTextSize(text, cv::FONT_HERSHEY_SIMPLEX, scale, thickness, &base);
  corner.x = std::clamp(corner.x, 0, std::max(0, canvas->cols - size.width));
  corner.y = std::clamp(corner.y - base, size.height + base, std::max(size.height, canvas->rows));
  cv::putText(*canvas, text, corner, cv::FONT_HERSHEY_SIMPLEX, scale, cv::Scalar(0, 0, 0),
              thickness + 2 + thickness / 2, cv::LINE_AA);
  cv::putText(*canvas, text, corner, cv::FONT_HERSHEY_SIMPLEX, scale, cv::Scalar(255, 255, 255),
              thickness, cv::LINE_AA);
}

}  // namespace

Status DrawObjects(const Objects& objects, RgbImage* image) {
  // Shares the pixels; the channels are RGB here, and OpenCV does not care.
  cv::Mat canvas(image->height, image->width, CV_8UC3, image->pixels.data());
  const int side = std::max(image->width, image->height);
  const int line = std::max(2, side / 300);
  const double scale = std::max(0.4, side / 1200.0);
  int index = 0;
  for (const v1::DetectedObject& object : objects) {
    const cv::Scalar& color = kColors[static_cast<size_t>(index++) % std::size(kColors)];
    PG_RETURN_IF_ERROR(TintMask(object.mask(), color, &canvas));
  }
  index = 0;
  for (const v1::DetectedObject& object : objects) {
    const cv::Scalar& color = kColors[static_cast<size_t>(index++) % std::size(kColors)];
    const v1::PixelBox& box = object.pixel_box();
    const cv::Rect rectangle(box.x_min(), box.y_min(), box.x_max() - box.x_min(),
                             box.y_max() - box.y_min());
    cv::rectangle(canvas, rectangle, cv::Scalar(0, 0, 0), line + 2);
    cv::rectangle(canvas, rectangle, color, line);
    DrawLabel(Caption(object), cv::Point(box.x_min(), box.y_min()), scale, &canvas);
  }
  return OkStatus();
}

}  // namespace paligemma::client

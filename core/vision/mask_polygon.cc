// SPDX-License-Identifier: Apache-2.0
#include "core/vision/mask_polygon.h"

#include <opencv2/imgproc.hpp>
#include <string>

namespace paligemma::vision {

StatusOr<std::vector<std::vector<float>>> MaskRings(const std::vector<std::uint8_t>& mask,
                                                    int width, int height, int x, int y) {
  std::vector<std::vector<float>> rings;
  try {
    // findContours only reads its input.
    const cv::Mat image(height, width, CV_8UC1, const_cast<std::uint8_t*>(mask.data()));
    std::vector<std::vector<cv::Point>> contours;
    cv::findContours(image, contours, cv::RETR_CCOMP, cv::CHAIN_APPROX_SIMPLE, cv::Point(x, y));
    for (const auto& contour : contours) {
      std::vector<float> ring;
      for (const cv::Point& point : contour) {
        ring.push_back(static_cast<float>(point.x));
        ring.push_back(static_cast<float>(point.y));
      }
      rings.push_back(std::move(ring));
    }
  } catch (const cv::Exception& error) {
    return InternalError(std::string("contours of a mask: ") + error.what());
  }
  return rings;
}

}  // namespace paligemma::vision

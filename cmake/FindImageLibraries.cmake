# SPDX-License-Identifier: Apache-2.0
# The codecs, and OpenCV's core and imgproc. OpenCV's own CMake config comes only with the whole of libopencv-dev
# (198 packages), so its two libraries are looked for by name.
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_path(WebP_INCLUDE_DIR webp/decode.h)
find_library(WebP_LIBRARY webp)
find_path(OpenCV_INCLUDE_DIR opencv2/imgproc.hpp PATH_SUFFIXES opencv4)
find_library(OpenCV_core_LIBRARY opencv_core)
find_library(OpenCV_imgproc_LIBRARY opencv_imgproc)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ImageLibraries REQUIRED_VARS WebP_LIBRARY WebP_INCLUDE_DIR OpenCV_INCLUDE_DIR
  OpenCV_core_LIBRARY OpenCV_imgproc_LIBRARY)
if(ImageLibraries_FOUND AND NOT TARGET ImageLibraries::opencv)
  add_library(ImageLibraries::webp INTERFACE IMPORTED)
  target_include_directories(ImageLibraries::webp SYSTEM INTERFACE ${WebP_INCLUDE_DIR})
  target_link_libraries(ImageLibraries::webp INTERFACE ${WebP_LIBRARY})
  add_library(ImageLibraries::opencv INTERFACE IMPORTED)
  target_include_directories(ImageLibraries::opencv SYSTEM INTERFACE ${OpenCV_INCLUDE_DIR})
  target_link_libraries(ImageLibraries::opencv INTERFACE ${OpenCV_imgproc_LIBRARY} ${OpenCV_core_LIBRARY})
endif()

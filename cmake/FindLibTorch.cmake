# SPDX-License-Identifier: Apache-2.0
# LibTorch out of the pinned Python wheel. The wheel's own CMake config demands a CUDA toolkit and always links
# libtorch_cuda; the server wants libtorch_cpu and libc10 alone, and CUDA in a plugin.
#   LibTorch_ROOT   the wheel's `torch` folder
find_path(LibTorch_INCLUDE_DIR torch/library.h HINTS ${LibTorch_ROOT}/include NO_DEFAULT_PATH)
find_library(LibTorch_cpu_LIBRARY torch_cpu HINTS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH)
find_library(LibTorch_c10_LIBRARY c10 HINTS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LibTorch_cpu_LIBRARY LibTorch_c10_LIBRARY LibTorch_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/setup, then configure with scripts/build")
if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  set(LibTorch_LIBRARY_DIR ${LibTorch_ROOT}/lib)
  set(LibTorch_NVIDIA_LIBRARY_DIR ${LibTorch_ROOT}/../nvidia/cu13/lib)
  # The wheel ships its own fmt and protobuf headers: only core/model may see this path, and after the system's.
  add_library(LibTorch::headers INTERFACE IMPORTED)
  target_compile_options(LibTorch::headers INTERFACE
    "SHELL:-idirafter ${LibTorch_INCLUDE_DIR}" "SHELL:-idirafter ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  target_compile_definitions(LibTorch::headers INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  target_link_libraries(LibTorch::cpu INTERFACE ${LibTorch_cpu_LIBRARY} ${LibTorch_c10_LIBRARY})
  target_link_options(LibTorch::cpu INTERFACE -Wl,-rpath,${LibTorch_LIBRARY_DIR} -Wl,-rpath,${LibTorch_NVIDIA_LIBRARY_DIR}
    -Wl,-rpath-link,${LibTorch_NVIDIA_LIBRARY_DIR})
  if(PALIGEMMA_CUDA OR PALIGEMMA_EMULATOR)
    find_library(LibTorch_cuda_LIBRARY torch_cuda HINTS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH REQUIRED)
    find_library(LibTorch_c10_cuda_LIBRARY c10_cuda HINTS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH REQUIRED)
    add_library(LibTorch::cuda INTERFACE IMPORTED)
    target_link_libraries(LibTorch::cuda INTERFACE LibTorch::cpu ${LibTorch_cuda_LIBRARY} ${LibTorch_c10_cuda_LIBRARY})
  endif()
endif()

# SPDX-License-Identifier: Apache-2.0
# sentencepiece as scripts/setup builds it: static, on the system protobuf. Debian's own copy exports the symbols of
# an older protobuf and crashes every process that also links gRPC.
#   SentencePiece_ROOT   its prefix
find_path(SentencePiece_INCLUDE_DIR sentencepiece_processor.h HINTS ${SentencePiece_ROOT}/include NO_DEFAULT_PATH)
find_library(SentencePiece_LIBRARY NAMES libsentencepiece.a HINTS ${SentencePiece_ROOT}/lib NO_DEFAULT_PATH)
find_library(SentencePiece_PROTOBUF_LIBRARY NAMES protobuf-lite protobuf)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(SentencePiece
  REQUIRED_VARS SentencePiece_LIBRARY SentencePiece_INCLUDE_DIR SentencePiece_PROTOBUF_LIBRARY
  REASON_FAILURE_MESSAGE "run scripts/setup, then configure with scripts/build")
if(SentencePiece_FOUND AND NOT TARGET SentencePiece::SentencePiece)
  add_library(SentencePiece::SentencePiece STATIC IMPORTED)
  set_target_properties(SentencePiece::SentencePiece PROPERTIES
    IMPORTED_LOCATION ${SentencePiece_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${SentencePiece_INCLUDE_DIR}
    INTERFACE_LINK_LIBRARIES "protobuf")
endif()

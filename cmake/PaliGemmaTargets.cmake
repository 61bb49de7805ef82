# SPDX-License-Identifier: Apache-2.0
# pg_library(NAME name SOURCES a.cc ... [DEPS targets] [PRIVATE_DEPS targets])  static library paligemma_<name>, alias paligemma::<name>
# pg_test(NAME name SOURCES a_test.cc ... [DEPS targets])                       one GoogleTest program, its cases found by ctest
# pg_benchmark(NAME name SOURCES a_bench.cc ... [DEPS targets])                 one Google Benchmark program
# pg_fuzz(NAME name SOURCES a_fuzz.cc ... [DEPS targets])                       one libFuzzer program, with PALIGEMMA_FUZZ only
# Every .cc of a folder is listed in its CMakeLists.txt; the ctest `layers` finds one that is not.
include(GoogleTest)

add_library(paligemma_options INTERFACE)
target_include_directories(paligemma_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(paligemma_options INTERFACE -Wall -Wextra -Werror
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
target_link_libraries(paligemma_options INTERFACE Threads::Threads)

function(pg_library)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(paligemma_${ARG_NAME} STATIC ${ARG_SOURCES})
  add_library(paligemma::${ARG_NAME} ALIAS paligemma_${ARG_NAME})
  target_link_libraries(paligemma_${ARG_NAME} PUBLIC paligemma_options ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

function(pg_test)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE paligemma_options ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${ARG_NAME} DISCOVERY_MODE PRE_TEST WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    PROPERTIES TIMEOUT 300)
endfunction()

function(pg_benchmark)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE paligemma_options ${ARG_DEPS} benchmark::benchmark)
endfunction()

function(pg_fuzz)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS" ${ARGN})
  if(NOT PALIGEMMA_FUZZ)
    return()
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_compile_options(${ARG_NAME} PRIVATE -fsanitize=fuzzer)
  target_link_options(${ARG_NAME} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${ARG_NAME} PRIVATE paligemma_options ${ARG_DEPS})
endfunction()

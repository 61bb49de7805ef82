# SPDX-License-Identifier: Apache-2.0
# Writes the commit of SOURCE_DIR to the header OUTPUT; leaves the file alone when it says so already, so that only
# what includes it is built again. Run at every build: cmake -DSOURCE_DIR=... -DOUTPUT=... -P WriteCommit.cmake
set(commit "")
find_program(git git)
if(git)
  execute_process(COMMAND ${git} describe --always --dirty --abbrev=12 --exclude=* WORKING_DIRECTORY ${SOURCE_DIR}
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define PALIGEMMA_COMMIT \"${commit}\"\n" @ONLY)

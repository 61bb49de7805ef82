# SPDX-License-Identifier: Apache-2.0
# cmake -DSOURCE=<repository> -DOUT=<header> -P write_commit.cmake: PALIGEMMA_COMMIT of the checkout; "unknown" without
# git. Writes only when it changed, so that nothing is rebuilt otherwise.
execute_process(COMMAND git describe --always --dirty --abbrev=12 --exclude=*
  WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE result ERROR_QUIET)
if(NOT result EQUAL 0)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define PALIGEMMA_COMMIT \"${commit}\"\n")

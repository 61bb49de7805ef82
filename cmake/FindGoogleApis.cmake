# SPDX-License-Identifier: Apache-2.0
# google/rpc/*.proto, out of the Python package googleapis-common-protos.
#   GoogleApis_ROOT   the folder that holds google/
find_path(GoogleApis_PROTO_DIR google/rpc/error_details.proto HINTS ${GoogleApis_ROOT} NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(GoogleApis REQUIRED_VARS GoogleApis_PROTO_DIR)

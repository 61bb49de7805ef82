# SPDX-License-Identifier: Apache-2.0
"""The one error that the command line turns into a line and exit code 1."""


class ExportError(Exception):
    """Something about the input that a user can fix; the message is a single line that names it."""

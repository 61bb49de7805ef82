# SPDX-License-Identifier: Apache-2.0
"""Every field of the JSON files beside a checkpoint's weights: honoured, known not to matter, or refused by name.

rules.py has the kinds of rules and applies a table to a file. Each other module is the table of one kind of file.
"""

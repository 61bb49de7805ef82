# SPDX-License-Identifier: Apache-2.0
"""Trains the miniature PaliGemma 2 of the repository on scenes that are rendered here."""

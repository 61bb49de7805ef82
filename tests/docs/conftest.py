# SPDX-License-Identifier: Apache-2.0
"""Makes docs/references.py importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))

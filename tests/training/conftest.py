# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
for folder in ("training", "export"):
    sys.path.insert(0, str(_ROOT / folder))

# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import torch

_ROOT = Path(__file__).resolve().parents[2]
for folder in ("training", "export"):
    sys.path.insert(0, str(_ROOT / folder))

torch.set_num_threads(1)  # the models are small: threads that wait for each other take longer

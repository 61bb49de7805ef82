# SPDX-License-Identifier: Apache-2.0
from paligemma_train.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

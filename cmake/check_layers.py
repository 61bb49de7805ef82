# SPDX-License-Identifier: Apache-2.0
"""Checks the architecture that docs/design.md draws: which folder may include which, and which owns a library.

Also finds sources that no CMakeLists.txt lists, and crowded folders. Prints one line per fault; exits with 1 if
there is one.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Folder -> folders it may include besides itself.
LAYERS: dict[str, set[str]] = {
    "core/base": set(),
    "core/bundle": {"core/base"},
    "core/cpu": {"core/base"},
    "core/request": {"core/base", "core/bundle"},
    "core/text": {"core/base", "core/bundle", "core/request"},
    "core/vision": {"core/base", "core/bundle", "core/request"},
    "core/kv": {"core/base"},
    "core/sched": {"core/base", "core/request", "core/kv"},
    "core/metrics": {"core/base", "core/request"},
    "core/gpu": set(),
    "core/model": {"core/base", "core/bundle", "core/cpu", "core/gpu", "core/request"},
    "core/answer": {"core/base", "core/bundle", "core/request", "core/text", "core/vision", "core/model"},
    "core/engine": {"core/base", "core/bundle", "core/request", "core/answer", "core/kv", "core/sched", "core/model"},
    "core/host": {
        "core/base", "core/bundle", "core/request", "core/text", "core/vision", "core/model", "core/answer",
        "core/engine",
    },
    "client": {"core/base", "core/bundle", "core/request", "core/vision"},
}
LAYERS |= {
    "server/net": {"core/base"},
    "server/http": {"core/base", "server/net"},
    "server/rpc": {"core/base"},
    "server/config": {"core/base", "core/host", "server/net"},
    "server/life": {"core/base", "core/request", "server/config"},
    "server/api": {"core/base", "core/bundle", "core/request", "core/vision", "core/host"},
    "server/access": {
        "core/base", "core/request", "core/metrics", "server/net", "server/rpc", "server/config", "server/life",
        "server/api",
    },
    "server/services": {
        "core/base", "core/bundle", "core/request", "core/vision", "core/metrics", "core/host", "server/net",
        "server/rpc", "server/config", "server/life", "server/api", "server/access",
    },
    "server": {
        "core/base", "core/bundle", "core/request", "core/metrics", "core/model", "core/host", "server/http",
        "server/net", "server/config", "server/life", "server/api", "server/access", "server/services",
    },
}

# core/model's interface is all that the layers above it see of it.
MODEL_INTERFACE = {
    "core/model/model_runner.h",
}

# Include prefix -> folders that own the library.
OWNERS: dict[str, tuple[str, ...]] = {
    r"sentencepiece": ("core/text",),
    r"(jpeglib|jerror|png|webp/.*)\.h": ("core/vision",),
    r"opencv2/": ("core/vision", "client"),
    r"(torch|ATen|c10|caffe2)/": ("core/model",),
    r"cuda": ("core/gpu", "core/model"),
    r"(grpc|grpcpp|google/protobuf|google/rpc)/": ("server", "client"),
    r".*\.pb\.h": ("server", "client"),
    r"prometheus/": ("core/metrics", "server"),
    r"openssl/": ("core/bundle", "core/vision", "server"),
    r"boost/": ("server/http",),
    r"absl/": (),
}

# Folders that stay small enough to read as a whole.
UNCROWDED = ("server", "core/request", "core/answer", "core/engine", "core/host")
MAX_SOURCES = 14

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[">]', re.MULTILINE)


def level_of(folder: str) -> int:
    """How many floors lie below a folder."""
    return 1 + max((level_of(below) for below in LAYERS[folder]), default=-1)


def diagram() -> str:
    """The layers as text, the highest first: a folder includes nothing from its own line or from a line above it."""
    floors: dict[int, list[str]] = {}
    for folder in LAYERS:
        floors.setdefault(level_of(folder), []).append(folder)
    return "\n".join(f"{level}  {'   '.join(floors[level])}" for level in sorted(floors, reverse=True))


def folder_of(path: str) -> str | None:
    """The layer that a path lies in, or None."""
    return max((layer for layer in LAYERS if path.startswith(layer + "/")), key=len, default=None)


def check_file(path: str) -> list[str]:
    """Faults of one source file, as lines."""
    faults = []
    own = folder_of(path)
    for include in INCLUDE.findall((ROOT / path).read_text()):
        target = folder_of(include)
        if own and target and target != own and target not in LAYERS[own]:
            faults.append(f"{path}: {own} may not include {include}")
        if own in ("core/answer", "core/engine") and target == "core/model" and include not in MODEL_INTERFACE:
            faults.append(f"{path}: {own} sees core/model only through {sorted(MODEL_INTERFACE)}")
        if own and target is None:
            for library, owners in OWNERS.items():
                if re.match(library, include) and not own.startswith(owners):
                    faults.append(f"{path}: {include} belongs to {', '.join(owners) or 'nobody'}")
    return faults


def unlisted(sources: list[str]) -> list[str]:
    """Sources that no CMakeLists.txt on the way up names."""
    faults = []
    for path in sources:
        if not path.endswith((".cc", ".cu")):
            continue
        folder = (ROOT / path).parent
        listed = False
        while folder != ROOT.parent and not listed:
            lists = folder / "CMakeLists.txt"
            listed = lists.exists() and Path(path).name in lists.read_text()
            folder = folder.parent
        if not listed:
            faults.append(f"{path}: no CMakeLists.txt lists it")
    return faults


def crowded(sources: list[str]) -> list[str]:
    """Folders that hold more sources than a reader keeps in mind; a header and its source count once."""
    members: dict[Path, set[str]] = {}
    for path in sources:
        members.setdefault(Path(path).parent, set()).add(Path(path).stem)
    return [
        f"{folder}: {len(names)} sources, at most {MAX_SOURCES}"
        for folder, names in sorted(members.items())
        if str(folder).startswith(UNCROWDED) and len(names) > MAX_SOURCES
    ]


def main() -> int:
    """Checks every tracked source."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "core", "server", "client", "tests", "benchmarks"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    sources = [p for p in listing.split() if p.endswith((".cc", ".h", ".cu", ".cuh")) and (ROOT / p).exists()]
    faults = [fault for path in sources for fault in check_file(path)] + unlisted(sources) + crowded(sources)
    print("\n".join(faults) if faults else f"layers: {len(sources)} sources, no fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Tables of the documentation that are read out of the source: settings, metrics, error reasons, limits.

A page holds what people wrote and, between `<!-- generated: NAME -->` and `<!-- end -->`, what this program writes.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cpp_source import ROOT, SourceError, calls, constants, integer, read, split_arguments, string_literals

PAGES = ("docs/design.md", "docs/limits.md", "docs/configuration.md", "docs/metrics.md", "docs/errors.md")
REGION = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def code(text: str) -> str:
    """Text as a code span; nothing stays nothing."""
    return f"`{text}`" if text else ""


def number(value: int) -> str:
    """For people: 16 MiB, 40,000,000."""
    if value >= 1 << 20 and value % (1 << 16) == 0:
        return f"{value / (1 << 20):g} MiB"
    return f"{value:,}"


# --- Settings ---------------------------------------------------------------------------------------------------------


@dataclass
class Setting:
    """One setting of the server."""

    name: str
    hint: str
    help: str
    type: str
    default: str
    member: str  # of ServerConfig: "host.image_limits.max_bytes"
    allowed: str = ""

    @property
    def environment(self) -> str:
        """The variable that sets it."""
        return "PALIGEMMA_" + self.name.upper().replace("-", "_")


def duration(millis: int) -> str:
    """As FormatDuration writes it: 500ms, 5s, 1m."""
    for suffix, scale in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if millis % scale == 0 and (millis or suffix == "s"):
            return f"{millis // scale}{suffix}"
    return f"{millis}ms"


def default_of(kind: str, name: str, text: str) -> str:
    """A member's default as a user would write it; "" for a struct."""
    value = text.removeprefix(name).strip().removeprefix("=").strip()
    if kind == "std::string":
        return (string_literals(value) or [""])[0]
    if kind == "bool" and value in ("true", "false"):
        return value
    if kind in ("int", "std::int64_t"):
        try:
            return str(integer(value))
        except SourceError:
            return str(constants(sources_text())[value])
    if kind in ("Millis", "std::chrono::milliseconds"):
        return duration(integer(value.strip("{}")))
    return ""


# Where the structs of options stand that the configuration holds.
OPTIONS = {
    "ServerConfig": "server/config/server_config.h",
    "HostOptions": "core/host/host_options.h",
    "DispatcherOptions": "core/engine/dispatcher.h",
    "AdmissionOptions": "core/engine/admission.h",
    "SchedulerOptions": "core/sched/scheduler_options.h",
    "RunnerOptions": "core/model/runner_options.h",
    "ImageLimits": "core/request/image.h",
}


def sources_text() -> str:
    """The headers that hold the options' named defaults."""
    return "\n".join(read(path) for path in ("core/answer/mask_maker.h", "core/request/image.h"))


def members(struct: str = "ServerConfig") -> dict[str, tuple[str, str]]:
    """Member -> (type, default) of a struct of options."""
    body = re.search(rf"struct {struct} \{{(.*?)\n\}};", read(OPTIONS[struct]), re.DOTALL)
    if body is None:
        raise SourceError(f"{OPTIONS[struct]}: no struct {struct}")
    found = {}
    for line in re.sub(r"//.*", "", body[1]).split(";"):
        words = line.split(None, 1)
        if not words:
            continue
        for declarator in words[1].split(", "):
            name = re.match(r"\w+", declarator.strip())
            if name is None:
                continue  # a pointer: no setting
            found[name[0]] = (words[0], default_of(words[0], name[0], declarator.strip()))
    return found


def member(path: str) -> tuple[str, str]:
    """Type and default of "host.image_limits.max_bytes"."""
    struct = "ServerConfig"
    *parents, last = path.split(".")
    for parent in parents:
        struct, _ = members(struct)[parent]
    return members(struct)[last]


def allowed_values(source: str) -> dict[str, str]:
    """What Validate and its helpers accept, by setting."""
    names = constants(source)
    allowed = {}
    for _, (name, *rest) in calls(source, "CheckRange"):
        if name.startswith('"'):
            allowed[string_literals(name)[0]] = f"{integer(rest[1], names):,} to {integer(rest[2], names):,}"
    for _, (name, *rest) in calls(source, "CheckChoice"):
        if name.startswith('"'):
            allowed[string_literals(name)[0]] = ", ".join(code(choice) for choice in string_literals(rest[1]))
    for name, rule in re.findall(r'"--([a-z-]+) must be ([^"]+)"', source):
        allowed[name] = rule
    return allowed


def settings() -> list[Setting]:
    """All settings, in the order of the visitor."""
    header = read("server/config/server_config.h")
    allowed = allowed_values(read("server/config/server_config.cc"))
    found = []
    for _, arguments in calls(header, "visit"):
        if not arguments[0].startswith("S{"):
            continue
        texts = [" ".join(string_literals(part)) for part in split_arguments(arguments[0], 1)]
        path = arguments[1].removeprefix("config.")
        kind, default = member(path)
        name, hint, help_text = texts
        found.append(Setting(name, hint, help_text, kind, default, path, allowed.pop(name, "")))
    if not found or allowed:
        raise SourceError(f"server_config: rules for settings that do not exist: {sorted(allowed)}")
    return found


def settings_table() -> str:
    """The reference of all settings."""
    rows = []
    for setting in settings():
        default = code(setting.default)
        if setting.type in ("int", "std::int64_t") and int(setting.default) >= 1 << 20:
            default += f" ({number(int(setting.default))})"
        hint = f"={setting.hint}" if setting.hint else ""
        rows.append(
            [code(f"--{setting.name}{hint}"), code(setting.environment), default, setting.allowed, setting.help]
        )
    return table(["flag", "environment", "default", "allowed", "what"], rows)


# --- Metrics ----------------------------------------------------------------------------------------------------------


@dataclass
class Metric:
    """One family of series."""

    name: str
    type: str
    help: str
    labels: dict[str, str] = field(default_factory=dict)  # label -> its values, in words
    buckets: str = ""


class MetricsSource:
    """The sources of core/metrics, as far as they declare metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.arrays = {
            name: string_literals(body)
            for name, body in re.findall(r"constexpr std::array<[^>]*> (k\w+) = \{(.*?)\};", text, re.DOTALL)
        }
        buckets = r"^const Buckets (k\w+) = \{(.*?)\};"
        self.buckets = {
            name: re.findall(r"[0-9.]+", body) for name, body in re.findall(buckets, text, re.DOTALL | re.MULTILINE)
        }

    def last_before(self, pattern: str, end: int) -> str:
        """The first group of a pattern's last match before a position."""
        found = re.findall(pattern, self.text[:end], re.DOTALL)
        if not found:
            raise SourceError(f"core/metrics: nothing for {pattern}")
        return found[-1]

    def help(self, expression: str, at: int) -> str:
        """The text of a literal or of a local constant."""
        if not expression.startswith('"'):
            expression = self.last_before(rf"const std::string {expression} = (.*?);", at)
        return "".join(string_literals(expression))

    def labels(self, expression: str, at: int) -> dict[str, str]:
        """The labels of an initializer or of a local variable."""
        if not re.fullmatch(r"\w+", expression):
            pairs = re.findall(r'\{"(\w+)",\s*((?:[^{}()]|\([^{}]*\))*)\}', expression)
            if not pairs:
                raise SourceError(f"core/metrics: no labels in {expression!r}")
            return {key: self.values(value.strip(), at) for key, value in pairs}
        found = self.labels(self.last_before(rf"Labels {expression} = (.*?);", at).strip(), at)
        since = self.text.rfind(f"Labels {expression} =", 0, at)
        for key, value in re.findall(rf'{expression}\.emplace\("(\w+)", (\w+(?:\[\w+\])?)\)', self.text[since:at]):
            found[key] = self.values(value, at)
        return found

    def values(self, expression: str, at: int) -> str:
        """The values of a label: those of a closed set, or nothing."""
        bare = re.sub(r"^std::string\((.*)\)$", r"\1", expression)
        if bare.startswith('"'):
            return code(string_literals(bare)[0])
        name = re.sub(r"\[.*", "", bare)
        if name not in self.arrays:
            loops = re.findall(rf"for \(const std::string_view {re.escape(name)} : (k\w+)\)", self.text[:at])
            name = loops[-1] if loops else ""
        return ", ".join(code(value) for value in self.arrays.get(name, []))

    def metrics(self) -> list[Metric]:
        """All that it registers; series of one family are merged."""
        found: dict[str, Metric] = {}
        for match, (name, *rest) in calls(self.text, "(?:Add(?:Counter|Gauge|Histogram)|Single)"):
            if not name.startswith('"'):
                continue  # the definition of the helper
            kind = match[0].removeprefix("Add").rstrip("(").lower()
            if kind == "single":  # of process_metrics.cc: name, help, type, value
                kind, rest = rest[1].removeprefix("MetricType::").lower(), rest[:1]
            metric = Metric(string_literals(name)[0], kind, self.help(rest[0], match.start()))
            labels = rest[1:]
            if kind == "histogram":
                bounds = self.buckets[rest[1]]
                metric.buckets = f"{len(bounds)}, {float(bounds[0]):g} to {float(bounds[-1]):g}"
                labels = rest[2:]
            if labels:
                metric.labels = self.labels(labels[0], match.start())
            known = found.setdefault(metric.name, metric)
            for key, value in metric.labels.items():
                if value and value not in known.labels.get(key, ""):
                    known.labels[key] = ", ".join(filter(None, [known.labels.get(key), value]))
        missing = set(re.findall(r'"((?:paligemma|grpc|process)_\w+)"', self.text)) - set(found) - {"grpc_service"}
        missing -= {label for metric in found.values() for label in metric.labels}
        if missing:
            raise SourceError(f"core/metrics: not understood: {sorted(missing)}")
        return list(found.values())


def metrics() -> list[Metric]:
    """All metrics of the server."""
    folder = ROOT / "core/metrics"
    return MetricsSource("\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.cc")))).metrics()


def metrics_table() -> str:
    """The reference of all metrics."""
    rows = []
    for metric in metrics():
        labels = ", ".join(code(label) for label in metric.labels)
        rows.append([code(metric.name), metric.type, labels, metric.buckets, metric.help])
    return table(["metric", "type", "labels", "buckets", "what"], rows)


def label_table() -> str:
    """The values of the labels that have a closed set of them."""
    rows = []
    for metric in metrics():
        for label, values in metric.labels.items():
            row = [code(label), code(metric.name), values]
            if not values:
                continue
            same = [known for known in rows if known[0] == row[0] and known[2] == row[2]]
            if same:
                same[0][1] += ", " + row[1]
            else:
                rows.append(row)
    return table(["label", "of", "values"], rows)


# --- Errors -----------------------------------------------------------------------------------------------------------


@dataclass
class ErrorReason:
    """One reason of error_reason.proto, with one of its codes."""

    name: str
    code: str
    retry: str
    meaning: str
    metadata: list[str]


def error_reasons() -> list[ErrorReason]:
    """All reasons that can be sent, from the comments of the proto."""
    text = read("proto/paligemma/v1/error_reason.proto")
    found = []
    for comment, name, value in re.findall(r"((?:  //[^\n]*\n)+)  ERROR_REASON_(\w+) = (\d+);", text):
        words = " ".join(re.findall(r"// ?(.*)", comment))
        if value == "0":
            continue
        # One statement, or one for each code that the reason comes with.
        for statement in re.split(r"(?<=\.) (?=[A-Z_]{6,}[.,])", words):
            match = re.fullmatch(r"([A-Z_]+)(?:, (retry [^.]+))?\. (.*?)(?:: ([a-z_, ]+))?\.", statement)
            if match is None:
                raise SourceError(f"error_reason.proto: {name}: {statement!r}")
            keys = match[4].split(", ") if match[4] else []
            found.append(ErrorReason(name, match[1], match[2] or "", match[3], keys))
    return found


def camel(name: str) -> str:
    """kFieldInvalid of FIELD_INVALID."""
    return "k" + "".join(word.capitalize() for word in name.split("_"))


def sources(folders: tuple[str, ...] = ("core", "server")) -> Iterator[tuple[Path, str]]:
    """All C++ sources of some folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".cc", ".h"):
                yield path, path.read_text(encoding="utf-8")


def emitted() -> set[str]:
    """The reasons that some line of the source gives to an error, as opposed to comparing with them."""
    found = set()
    for _, text in sources():
        for before, name in re.findall(r"(case |[=!]= |)\bReason::(k[A-Z]\w+)", text):
            if not before:
                found.add(name)
    return found


def error_table() -> str:
    """The reference of all reasons."""
    sent = emitted()
    rows = []
    for reason in error_reasons():
        meaning = reason.meaning + ("" if camel(reason.name) in sent else " (reserved: this version never sends it)")
        rows.append(
            [
                code(reason.name),
                code(reason.code),
                reason.retry.removeprefix("retry ") or "no",
                ", ".join(code(key) for key in reason.metadata),
                meaning,
            ]
        )
    return table(["reason", "code", "retry", "metadata", "what"], rows)


# --- Limits -----------------------------------------------------------------------------------------------------------


def limits_table() -> str:
    """What a request may hold."""
    by_name = {setting.name: setting for setting in settings()}
    files = ("core/request/validate.h", "core/request/image.h", "server/api/request_reader.cc")
    fixed = {name: value for file in files for name, value in constants(read(file)).items()}

    def setting(name: str) -> str:
        value = by_name[name].default
        return number(int(value)) if value.isdigit() else value

    def flag(name: str) -> str:
        return code(f"--{name}")

    rows = [
        ["an encoded image (JPEG, PNG, WebP)", setting("max-image-bytes"), flag("max-image-bytes")],
        ["pixels of a decoded image", setting("max-image-pixels"), flag("max-image-pixels")],
        ["pixels of one side", f"{fixed['kMaxImageSide']:,}", "fixed"],
        ["images, prompt tokens, output tokens, labels", "the model's", "manifest; `GetModel` tells"],
        ["one label", f"{fixed['kMaxLabelBytes']} bytes", "fixed"],
        ["candidates", str(fixed["kMaxCandidates"]), "fixed"],
        ["log-probability alternatives", str(fixed["kMaxLogprobs"]), "fixed"],
        [
            "stop sequences",
            f"{fixed['kMaxStopSequences']}, of {fixed['kMaxStopBytes']} bytes each",
            "fixed",
        ],
        [
            "tags",
            f"{fixed['kMaxTags']}, keys of {fixed['kMaxTagKeyBytes']}, values of {fixed['kMaxTagValueBytes']} bytes",
            "fixed",
        ],
        [
            "deadline; without one",
            f"{setting('max-deadline')}; {setting('default-deadline')}",
            f"{flag('max-deadline')}, {flag('default-deadline')}",
        ],
        ["requests that wait", setting("max-queued"), flag("max-queued")],
        ["a response", setting("max-response-bytes"), flag("max-response-bytes")],
        [
            "pixels of all masks of a request; polygons and codes are not counted",
            setting("max-mask-pixels"),
            flag("max-mask-pixels"),
        ],
    ]
    return table(["limit on", "default", "set by"], rows)


# --- Layers -----------------------------------------------------------------------------------------------------------


def layers_diagram() -> str:
    """The layers that cmake/check_layers.py holds, the highest first."""
    spec = importlib.util.spec_from_file_location("check_layers", ROOT / "cmake" / "check_layers.py")
    if spec is None or spec.loader is None:
        raise SourceError("cmake/check_layers.py: missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return f"```text\n{module.diagram()}\n```"


REGIONS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "metrics": metrics_table,
    "labels": label_table,
    "errors": error_table,
    "limits": limits_table,
    "layers": layers_diagram,
}


def render(page: str) -> str:
    """A page with its regions written anew."""
    regions = REGION.findall(page)
    if len(regions) != page.count("<!-- generated:"):
        raise SourceError("a region that does not end")
    return REGION.sub(lambda match: match[1] + "\n" + REGIONS[match[2]]() + "\n" + match[3], page)


def main() -> int:
    """Writes the pages, or says which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name in PAGES:
        page = read(name)
        fresh = render(page)
        if fresh == page:
            continue
        stale.append(name)
        if not check:
            (ROOT / name).write_text(fresh, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'out of date; run scripts/docs' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SourceError as error:
        sys.exit(f"scripts/docs: {error}")

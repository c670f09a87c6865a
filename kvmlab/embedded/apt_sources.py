"""The apt sources of this machine, where they serve the suite of a build.

A machine's administrator has chosen its mirror, perhaps the only one that it reaches. Only Debian's
own archive counts, signed: a repository of somebody else must not bring packages into a build.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

APT: Final = Path("/etc/apt")
#: The suite itself, and what Debian adds to it.
_ADDED: Final = ("", "-updates", "-security")
_ARCHIVES: Final = ("debian", "debian-security")
_ONE_LINE: Final = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>\S.*)")
_KEYRING: Final = re.compile(r"/usr/share/keyrings/debian-archive-[a-z0-9-]+\.(?:gpg|pgp|asc)")


@dataclass(frozen=True)
class AptSource:
    """One line of sources.list."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def __str__(self) -> str:
        options = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {options}{self.uri} {self.suite} {' '.join(self.components)}"


def machine_sources(suite: str, apt: Path = APT) -> str:
    """Return this machine's sources of a Debian suite as a sources.list; "" where it has none."""
    wanted = {f"{suite}{added}" for added in _ADDED}
    sources = [
        source
        for source in _all_sources(apt)
        if source.suite in wanted
        and "main" in source.components
        and urlsplit(source.uri).scheme in ("http", "https", "file")
        and urlsplit(source.uri).path.rstrip("/").rpartition("/")[2] in _ARCHIVES
        and (not source.signed_by or _KEYRING.fullmatch(source.signed_by))
    ]
    if not any(source.suite == suite for source in sources):
        return ""
    return "".join(f"{source}\n" for source in dict.fromkeys(sources))


def _all_sources(apt: Path) -> Iterator[AptSource]:
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if path.suffix == ".list":
            yield from _one_line_sources(text)
        elif path.suffix == ".sources":
            yield from _deb822_sources(text)


def _one_line_sources(text: str) -> Iterator[AptSource]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match is None:
            continue
        options = dict(
            word.partition("=")[::2] for word in (match["options"] or "").lower().split()
        )
        uri, *words = match["rest"].split()
        if len(words) >= 2 and _is_signed(options, options.get("arch", "")):
            suite, *components = words
            yield AptSource(uri, suite, tuple(components), options.get("signed-by", ""))


def _deb822_sources(text: str) -> Iterator[AptSource]:
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        # A line that begins with a blank goes on with the field above it.
        joined = re.sub(r"\n[ \t]+", " ", "\n".join(lines))
        fields = {
            name.strip().lower(): value.strip()
            for name, colon, value in (line.partition(":") for line in joined.splitlines())
            if colon
        }
        enabled = fields.get("enabled", "yes").lower() in ("yes", "true", "1")
        if "deb" not in fields.get("types", "").split() or not enabled:
            continue
        if not _is_signed(fields, fields.get("architectures", "")):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                components = tuple(fields.get("components", "").split())
                yield AptSource(uri, suite, components, fields.get("signed-by", ""))


def _is_signed(options: Mapping[str, str], architectures: str) -> bool:
    """Return whether apt checks the signature of a source, and it has our architecture."""
    unsigned = options.get("trusted", "no").lower() not in ("no", "false", "0")
    insecure = options.get("allow-insecure", "no").lower() not in ("no", "false", "0")
    fits = not architectures or "amd64" in re.split(r"[\s,]+", architectures)
    return not unsigned and not insecure and fits

"""libvirt's own RELAX NG schemas, where this machine has them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lxml import etree

from kvmlab.errors import OutputError

SCHEMAS = Path("/usr/share/libvirt/schemas")


@cache
def _schema(name: str, folder: Path) -> etree.RelaxNG | None:
    path = folder / f"{name}.rng"
    return etree.RelaxNG(etree.parse(path)) if path.exists() else None


def validate(xml: str, *, schema: str = "domain", folder: Path = SCHEMAS) -> bool:
    """Validate a document by libvirt's schema; return False where there is no such schema here.

    Raises:
        OutputError: the document is not valid; the evidence is what the schema says.
    """
    rules = _schema(schema, folder)
    if rules is None:
        return False
    document = etree.fromstring(xml.encode())
    if not rules.validate(document):
        raise OutputError(
            f"XML of <{document.tag}> does not fit libvirt's schema {schema}.rng.",
            evidence="\n".join(str(entry) for entry in rules.error_log)[:4000] + "\n" + xml[:2000],
        )
    return True

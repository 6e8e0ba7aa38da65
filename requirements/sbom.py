"""The list of parts (SBOM) of what `requirements/run.txt` installs, as CycloneDX 1.6 in JSON.

It is made from the lock and from requirements/licences.toml alone, so the same lock gives the same bytes on every machine. A
package's hashes are those of all files that the index offers for this version; the lock does not tell which file is whose.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from requirements.check import US, licences
from requirements.lock import HERE, Pin, read
from triage import __version__


def made(pins: Sequence[Pin], version: str) -> str:
    """The document, with a line break at its end."""
    known = licences()
    ours = Component(
        type=ComponentType.APPLICATION,
        name=US,
        version=version,
        bom_ref=f"{US}=={version}",
        purl=PackageURL("pypi", None, US, version),
        licenses=[LicenseExpression("Apache-2.0")],
    )
    parts = {pin: _part(pin, known.packages.get(pin.name, "")) for pin in pins}
    bom = Bom(
        components=parts.values(),
        metadata=BomMetaData(component=ours),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, "\n".join([version, *map(repr, pins)])),
    )
    bom.metadata.timestamp = None  # type: ignore[assignment] # optional in the format; it would change the bytes
    users: dict[Component, list[Component]] = {ours: [], **{part: [] for part in parts.values()}}
    for pin, part in parts.items():
        for user in pin.via:
            wanting = [ours] if user == canonicalize_name(US) else [other for one, other in parts.items() if one.name == user]
            for one in wanting:
                users[one].append(part)
    for component, needed in users.items():
        bom.register_dependency(component, needed)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _part(pin: Pin, licence: str) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=pin.name,
        version=pin.version,
        bom_ref=f"{pin.name}=={pin.version}",
        purl=PackageURL("pypi", None, pin.name, pin.version),
        licenses=[LicenseExpression(licence)] if licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in pin.hashes],
        properties=[Property(name="triage:installed-where", value=pin.marker)] if pin.marker else [],
    )


def main(arguments: Sequence[str]) -> int:
    """Write it to the file that is named, else to standard output."""
    text = made(read(HERE / "run.txt"), __version__)
    if not arguments:
        sys.stdout.write(text)
        return 0
    path = Path(arguments[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {len(read(HERE / 'run.txt'))} parts")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

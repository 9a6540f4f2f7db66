"""The smallest package of each kind, and an index that offers it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path

TINY = "tiny"
SAYS = "a tiny package\n"


def npm_registry(folder: Path, url: str) -> None:
    """A registry at `url`, whose files `folder` has."""
    package = {"name": TINY, "version": "1.0.0", "bin": {TINY: "tiny.js"}}
    program = f"#!/usr/bin/env node\nprocess.stdout.write({json.dumps(SAYS)})\n"
    packed = _tar({"package/package.json": json.dumps(package), "package/tiny.js": program}, "gz")
    digest = base64.b64encode(hashlib.sha512(packed).digest()).decode()
    dist = {"tarball": f"{url}{TINY}.tgz", "integrity": f"sha512-{digest}"}
    versions = {"1.0.0": {**package, "dist": dist}}
    about = {"name": TINY, "dist-tags": {"latest": "1.0.0"}, "versions": versions}
    folder.mkdir(parents=True)
    (folder / TINY).write_text(json.dumps(about))
    (folder / f"{TINY}.tgz").write_bytes(packed)


def debian_archive(folder: Path) -> None:
    """An archive without suites and signatures: `deb [trusted=yes] URL ./`."""
    about = {
        "Package": TINY,
        "Version": "1.0",
        "Architecture": "all",
        "Maintainer": "Nobody <nobody@example.org>",
        "Description": "a tiny package",
    }
    control = "".join(f"{key}: {value}\n" for key, value in about.items())
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": _tar({"./control": control}, "gz"),
        "data.tar.gz": _tar({"./usr/share/tiny": SAYS}, "gz"),
    }
    package = b"!<arch>\n"
    for name, content in members.items():
        package += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        package += content + b"\n" * (len(content) % 2)
    file = {
        "Filename": f"./{TINY}.deb",
        "Size": len(package),
        "SHA256": hashlib.sha256(package).hexdigest(),
    }
    folder.mkdir(parents=True)
    (folder / f"{TINY}.deb").write_bytes(package)
    listed = control + "".join(f"{key}: {value}\n" for key, value in file.items())
    (folder / "Packages").write_text(listed)


def _tar(files: dict[str, str], compression: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]  # a computed mode
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content.encode()))
    return packed.getvalue()

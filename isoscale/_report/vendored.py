"""The drawing libraries that travel inside the page: read from the package, checked against the manifest."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_HERE = files("isoscale._report")


@dataclass(frozen=True)
class Library:
    """One vendored build: where it came from and the sha256 its file must have."""

    package: str
    version: str
    file: str
    path: str
    sha256: str
    licence: str
    licence_file: str


def libraries() -> tuple[Library, ...]:
    """The vendored builds, in the order in which a page must load them."""
    manifest = json.loads(_HERE.joinpath("vendor/manifest.json").read_text("utf-8"))
    return tuple(Library(**entry) for entry in manifest["order"])


@cache
def scripts() -> tuple[str, ...]:
    """The code of each build. A file that is not what the manifest says is refused.

    The pointer to a source map goes: it would be the page's only reason to ask for another file.
    """
    loaded = []
    for library in libraries():
        raw = _HERE.joinpath("vendor", library.file).read_bytes()
        if hashlib.sha256(raw).hexdigest() != library.sha256:
            raise ValueError(
                f"{library.file} is not {library.package} {library.version}: its sha256 differs from "
                "vendor/manifest.json, so the report would run code nobody looked at; install isoscale again"
            )
        loaded.append(re.sub(r"\n//# sourceMappingURL=.*\s*$", "\n", raw.decode()))
    return tuple(loaded)


@cache
def packed_scripts() -> tuple[str, ...]:
    """The same, packed for the page."""
    return tuple(map(pack, scripts()))


def pack(text: str) -> str:
    """Text as base64 of gzip: a third of its size in the page, and free of any character that HTML could mistake."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def licences() -> str:
    """The licences of the builds and of what they contain, as the page must carry them."""
    own = (
        f"{library.package} {library.version}\n\n{_HERE.joinpath('vendor', library.licence_file).read_text('utf-8')}"
        for library in libraries()
    )
    return "\n\n".join((*own, _HERE.joinpath("vendor/NOTICE").read_text("utf-8")))


def asset(name: str) -> str:
    """One of the page's own files."""
    return _HERE.joinpath("assets", name).read_text("utf-8")

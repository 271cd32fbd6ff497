"""The libraries in the page are the ones of the manifest, with their licences."""

import base64
import gzip
import json
import re
from importlib.resources import files

import pytest

from isoscale._report import vendored

VENDOR = files("isoscale._report").joinpath("vendor")


def test_every_library_is_the_one_of_the_manifest_and_carries_its_licence() -> None:
    found = vendored.libraries()
    assert [library.package for library in found] == ["vega", "vega-lite", "vega-embed"]
    for library, code in zip(found, vendored.scripts()):
        assert library.version in code
        assert "University of Washington" in VENDOR.joinpath(library.licence_file).read_text("utf-8")
    listed = {library.file for library in found} | {library.licence_file for library in found}
    assert {path.name for path in VENDOR.iterdir()} == listed | {"manifest.json", "NOTICE"}


def test_the_code_asks_for_no_source_map_and_unpacks_to_itself() -> None:
    for code, packed in zip(vendored.scripts(), vendored.packed_scripts()):
        assert "sourceMappingURL" not in code
        assert gzip.decompress(base64.b64decode(packed)).decode() == code
        assert not re.search(r"[^A-Za-z0-9+/=]", packed)


def test_a_changed_library_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "vendor").mkdir()
    for path in VENDOR.iterdir():
        (tmp_path / "vendor" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(vendored, "_HERE", tmp_path)
    assert len(vendored.scripts.__wrapped__()) == 3
    with (tmp_path / "vendor" / "vega.min.js").open("ab") as file:
        file.write(b";fetch('x')")
    with pytest.raises(ValueError, match=r"vega\.min\.js is not vega 6\.4\.0"):
        vendored.scripts.__wrapped__()


def test_the_licences_name_what_the_libraries_contain() -> None:
    text = vendored.licences()
    assert all(name in text for name in ("d3-scale", "fast-json-patch", "topojson-client", "vega-tooltip"))
    assert json.loads(VENDOR.joinpath("manifest.json").read_text("utf-8"))["order"][0]["licence"] == "BSD-3-Clause"

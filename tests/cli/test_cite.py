import re
from pathlib import Path

from typer.testing import CliRunner

import isoscale
from isoscale.cli import app

ROOT = Path(__file__).parents[2]


def test_it_prints_three_entries_with_balanced_braces() -> None:
    said = CliRunner().invoke(app, ["cite"]).stdout
    assert re.findall(r"^@(\w+)\{", said, re.M) == ["software", "inproceedings", "article"]
    assert said.count("{") == said.count("}")
    assert isoscale.__version__ in said


def test_the_citation_file_names_the_same_papers_and_version() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    said = CliRunner().invoke(app, ["cite"]).stdout
    for title in re.findall(r"^    title: \"(.*)\"$", text, re.M):
        assert title in said
    assert f"version: {isoscale.__version__.partition('.dev')[0]}" in text

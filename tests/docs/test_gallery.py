"""Every page of the gallery runs as it stands; those that need an extra are run by tests/stack."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SPEC = importlib.util.spec_from_file_location("gallery_pages", DOCS / "pages.py")
gallery = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gallery)

PAGES = [page for page in gallery.pages() if not gallery.needs(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    environment = os.environ | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, page], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_there_are_pages() -> None:
    assert PAGES


def test_a_page_says_what_it_needs(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text('"""\nTitle\n=====\n\nNeeds ``torch``, ``no_such_package`` (extra ``trainers``). Text.\n"""\n')
    assert gallery.needs(page) == ["torch", "no_such_package"]
    assert gallery.absent(page) == ["no_such_package"]
    page.write_text('"""Title: a page that needs `torch` only."""\n')
    assert gallery.needs(page) == []


def test_every_page_that_imports_an_extra_says_so() -> None:
    """A page that forgot its sentence would fail where the extra is absent."""
    extras = "transformers|accelerate|lightning|ray|optuna|wandb|trackio|dask|polars|tensorboard|cmaes"
    for page in gallery.pages():
        imported = set(re.findall(rf"^\s*(?:from|import) ({extras})\b", page.read_text(), re.MULTILINE))
        assert imported <= set(gallery.needs(page)), page.name


def test_the_documentation_runs_what_can_be_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text('"""Plain."""\n')
    (tmp_path / "extra.py").write_text('"""Extra.\n\nNeeds `no_such_package` (extra `trainers`).\n"""\n')
    monkeypatch.setattr(gallery, "GALLERY", tmp_path)
    assert re.search(gallery.runnable(), str(tmp_path / "plain.py"))
    assert not re.search(gallery.runnable(), str(tmp_path / "extra.py"))

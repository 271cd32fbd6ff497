"""The pages of the gallery that need an extra run as they stand, where it is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack

DOCS = Path(__file__).parents[2] / "docs"
SPEC = importlib.util.spec_from_file_location("gallery_pages", DOCS / "pages.py")
gallery = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gallery)


@pytest.mark.parametrize("page", [page for page in gallery.pages() if gallery.needs(page)], ids=lambda page: page.stem)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    if absent := gallery.absent(page):
        pytest.skip(f"{page.name} needs {', '.join(absent)}, which is not installed: make stack installs all extras")
    environment = os.environ | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, page], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""`isoscale cite`: what to cite, ready to paste."""

import typer

import isoscale

ENTRIES = """\
@software{{isoscale,
  title   = {{isoscale: tune small, train wide and deep}},
  author  = {{{{The isoscale authors}}}},
  version = {{{version}}},
  year    = {{2026}}
}}

@inproceedings{{bordelon2024depthwise,
  title     = {{Depthwise Hyperparameter Transfer in Residual Networks: Dynamics and Scaling Limit}},
  author    = {{Bordelon, Blake and Noci, Lorenzo and Li, Mufan Bill and Hanin, Boris and Pehlevan, Cengiz}},
  booktitle = {{International Conference on Learning Representations}},
  year      = {{2024}},
  eprint    = {{2309.16620}}, archiveprefix = {{arXiv}}
}}

@article{{chizat2025hidden,
  title  = {{The Hidden Width of Deep ResNets: Tight Error Bounds and Phase Diagram}},
  author = {{Chizat, L{{\\'e}}na{{\\"i}}c}},
  year   = {{2025}},
  eprint = {{2509.10167}}, archiveprefix = {{arXiv}}
}}
"""


def register(app: typer.Typer) -> None:
    app.command()(cite)


def cite() -> None:
    """Print BibTeX of isoscale and of the two papers it implements."""
    typer.echo(ENTRIES.format(version=isoscale.__version__), nl=False)

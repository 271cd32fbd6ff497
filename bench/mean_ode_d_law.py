"""C8: how the error law depends on the embedding dimension D, in the outputs and in the embeddings.

Several minutes on one core: 1800 nets of E(D) to k = 20 and 1800 of F(D) to k = 1. `quick` as an argument runs a small
part of it and records nothing.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict

import torch
from mean_ode_claims import Claim, save

from isoscale.theory.mean_ode.error_law import Row, fit_rows, measure
from isoscale.theory.mean_ode.setting import setting_b, setting_f


def measured(depths: Sequence[int], widths: Sequence[int], seeds: int) -> tuple[list[Row], list[Row]]:
    """Rows of E(D) (embedding = output) to k=20, and of F(D) (five outputs whatever D) at k=1."""
    shapes = [(L, M) for L in depths for M in widths]
    e, f = [], []
    for D in (5, 10, 20, 50, 100):
        e += measure(setting_b(D), shapes, seeds, (1, 5, 10, 20))
        f += measure(setting_f(D), shapes, seeds, (1,))
        print(f"D = {D} measured", flush=True)
    return e, f


def d_claims(e: list[Row], f: list[Row]) -> tuple[list[Claim], dict[str, object]]:
    with_D = {k: fit_rows(e, k) for k in (1, 5, 10, 20)}
    without = {k: fit_rows(e, k, with_D=False, resamples=2) for k in (1, 5, 10, 20)}
    large = fit_rows([row for row in e if row.D >= 10], 5, resamples=2)
    outputs, embeddings = (
        fit_rows([r for r in f if r.D >= 10], 1, name, resamples=2) for name in ("outputs", "embeddings")
    )
    for law in with_D.values():
        print(*law.sentences(), sep="\n  ")
    claims = [
        Claim("C8", "E(D), k=5: R2 with sqrt(D)", with_D[5].linear.r2, low=0.98),
        Claim("C8", "E(D), k=5: R2 without D (control)", without[5].linear.r2, high=0.80),
        Claim("C8", "E(D), k=5: exponent of the seeds' std in D", large.fluctuation["D"].value, 0.43, 0.57),
        Claim("C8", "F(D), k=1: exponent of the output's std in D", outputs.fluctuation["D"].value, -0.1, 0.1),
        Claim("C8", "F(D), k=1: exponent of the embedding's std in D", embeddings.fluctuation["D"].value, 0.48, 0.60),
    ]
    return claims, {"E": {str(k): asdict(law) for k, law in with_D.items()}, "R2 without D": {
        str(k): law.linear.r2 for k, law in without.items()}}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    if "quick" in sys.argv[1:]:
        claims, _ = d_claims(*measured((3, 10, 30), (1, 3, 10), 3))
        print(*(claim.line() for claim in claims), sep="\n")
        return
    claims, facts = d_claims(*measured((3, 10, 30, 60, 100, 200), (1, 3, 10, 30, 100, 200), 10))
    save("mean_ode_d_law", claims, facts)


if __name__ == "__main__":
    main()

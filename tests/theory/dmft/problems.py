"""Small problems for the tests: D = 6 inputs, P = 4 training points, one probe."""

import torch

from isoscale.theory.dmft.problem import Problem


def small(steps: int = 5, P: int = 4, C: int = 1, seed: int = 0, **changes: object) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(P + 1, 6, generator=generator, dtype=torch.float64)
    Y = torch.randn(P, C, generator=generator, dtype=torch.float64)
    if changes.get("loss") == "logistic":
        Y = Y.sign()
    if changes.get("loss") == "softmax":
        Y = torch.nn.functional.one_hot(Y.argmax(1), C).double()
    fields = {"eta0": 0.4, "probes": X[P:], **changes}
    return Problem(X[:P], Y, steps, **fields)  # type: ignore[arg-type]

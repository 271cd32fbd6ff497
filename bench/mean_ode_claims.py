"""The claims about the mean ODE: each a number, the range it must lie in, and the command that measures it.

Run by itself, prints the table of every claim recorded in bench/facts/mean_ode*.json. The accepted ranges were fixed
before measuring; a claim outside its range is printed as it is.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FACTS = Path(__file__).parent / "facts"


@dataclass(frozen=True)
class Claim:
    """`value` is held to lie in [low, high]."""

    name: str
    what: str
    value: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def holds(self) -> bool:
        return self.low <= self.value <= self.high

    def line(self) -> str:
        low, high = ("" if math.isinf(x) else f"{x:g}" for x in (self.low, self.high))
        within = f"[{low}, {high}]"
        return f"{self.name:5} {self.value:12.4g}  {within:18} {'holds' if self.holds else 'FAILS':6} {self.what}"


def save(script: str, claims: Sequence[Claim], facts: Mapping[str, object], name: str | None = None) -> None:
    """Print the claims and write them, with the facts behind them, to bench/facts/<script>.json."""
    for claim in claims:
        print(claim.line(), flush=True)
    rows = [asdict(claim) | {"holds": claim.holds} for claim in claims]
    record = {"command": f"python bench/{script}.py", "claims": rows, "facts": facts}
    text = json.dumps(_finite(record), indent=1, allow_nan=False, default=str)  # exact exponents as "1/2"
    (FACTS / f"{name or script}.json").write_text(text + "\n")


def _finite(value: object) -> object:
    """JSON has no infinities: an open end of a range, or a number that could not be had, is null."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def main() -> None:
    for path in sorted(FACTS.glob("mean_ode*.json")):
        record = json.loads(path.read_text())
        print(f"# {record['command']}")
        for row in record["claims"]:
            ends = {"value": math.nan, "low": -math.inf, "high": math.inf}
            numbers = {key: end if row[key] is None else row[key] for key, end in ends.items()}
            print(Claim(row["name"], row["what"], **numbers).line())


if __name__ == "__main__":
    main()

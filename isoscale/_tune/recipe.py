"""The recipe: what was found, in a file that another script applies in three lines."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isoscale._plan import Plan, PlanError, Setting, template
from isoscale._plan.persist import write
from isoscale._train.schedule import schedule
from isoscale._tune.errors import TuneError
from isoscale._tune.sizes import spelled
from isoscale._tune.toml import dumps

FORMAT = "isoscale-recipe"
VERSION = 1
EXIT = {"transfers": 0, "drifts": 1, "cannot tell": 2}
_ADAM = ("beta1", "beta2")


@dataclass(frozen=True)
class Tuned:
    """A hyperparameter's best value at the base, its 95% interval (None where there is none) and how it is known."""

    value: float
    low: float | None
    high: float | None
    sentence: str


@dataclass(frozen=True)
class Recipe:
    """How to train the target: the plan, the hyperparameters found on the proxy, and how far to trust them.

        recipe = isoscale.Recipe.load("recipe.toml")
        model = recipe.plan.init_(build(**recipe.target))
        optimizer = recipe.optimizer(model)

    hyperparameters: found ones, values of the base model (the plan carries them). settings: everything else of the
    training that was tuned: steps, batch_size, schedule, warmup, betas. outcome: "transfers", "drifts" or "cannot
    tell", from the verification at `second`; `verification` has a row a hyperparameter. cost: runs, FLOPs and seconds
    of the tuning, and FLOPs of as many runs at the target. Files: TOML or JSON by the name's ending; `Plan.load` reads
    the plan out of either.
    """

    plan: Plan
    outcome: str
    sentence: str
    hyperparameters: Mapping[str, Tuned]
    settings: Mapping[str, Any]
    second: Mapping[str, Any]
    verification: tuple[Mapping[str, Any], ...] = ()
    check: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    # -- doing

    @property
    def base(self) -> dict[str, Any]:
        """The size that was tuned."""
        return dict(self.plan.base)

    @property
    def target(self) -> dict[str, Any]:
        """The size to train."""
        return dict(self.plan.target)

    def optimizer(self, model: nn.Module, **other: Any) -> torch.optim.Optimizer:
        """The planned torch optimizer over the model's parameters, at the values found; `other` goes before them."""
        return self.plan.optimizer(model, **(self._given() | other))

    def scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
        """The schedule that was tuned, stretched to `steps`: call its step() after each optimizer step."""
        factors = schedule(str(self.settings["schedule"]), steps, float(self.settings["warmup"]))
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factors[min(step, steps - 1)])

    def _given(self) -> dict[str, Any]:
        """What the optimizer's constructor takes."""
        found = {name: each.value for name, each in self.hyperparameters.items()}
        known = {**{name: self.settings[name] for name in ("weight_decay", "eps") if name in self.settings}, **found}
        if self.plan.optimizer_name == "sgd":
            return known | {name: self.settings[name] for name in ("momentum", "nesterov") if name in self.settings}
        return known | {"betas": tuple(self.settings[name] for name in _ADAM)}

    # -- showing

    @property
    def exit_code(self) -> int:
        """0 transfers, 1 drifts, 2 cannot tell."""
        return EXIT[self.outcome]

    @property
    def groups(self) -> tuple[Mapping[str, Any], ...]:
        """One row for each pattern of parameter names: what its parameters start from and are trained with.

        `*` stands for numbers of layers that all agree: blocks.*.mlp.0.weight, where mlp.0 and mlp.2 do not.
        """
        given = self._given()
        found = [(setting.name, _row(setting, given, self.plan.optimizer_name)) for setting in self.plan.settings]
        alike: dict[str, dict[str, tuple[Any, ...]]] = {}
        for name, row in found:
            alike.setdefault(template(name), {})[name] = tuple(row.values())
        patterns = {name: pattern for each in alike.values() for name, pattern in _patterns(each).items()}
        rows: dict[str, dict[str, Any]] = {}
        for name, row in found:
            pattern = patterns[name]
            rows.setdefault(pattern, {"pattern": pattern, "parameters": 0, **row})["parameters"] += 1
        return tuple(rows.values())

    def __str__(self) -> str:
        lines = [f"recipe for {spelled(self.target)}, tuned at {spelled(self.base)}: {self.outcome}", self.sentence, ""]
        for name, each in self.hyperparameters.items():
            span = "" if each.low is None or each.high is None else f"  95% interval {each.low:.3g} to {each.high:.3g}"
            lines.append(f"  {name} = {each.value:.4g}{span}")
        held = {name: value for name, value in self.settings.items() if name not in self.hyperparameters}
        lines.append("  with " + ", ".join(f"{name} {_short(value)}" for name, value in held.items()))
        lines += ["", *_table(self.groups), ""]
        lines += [f"{row['hyperparameter']}: {row['gap']}" for row in self.verification if "gap" in row]
        lines += [f"cost: {self.cost['sentence']}"] if "sentence" in self.cost else []
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    # -- keeping

    def content(self) -> dict[str, Any]:
        """The recipe as plain values, without its plan."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "warnings": list(self.warnings),
            "rule": self.plan.rule,
            "optimizer": self.plan.optimizer_name,
            "plan_digest": self.plan.digest,
            "base": self.base,
            "second": dict(self.second),
            "target": self.target,
            "hyperparameters": {name: asdict(each) for name, each in self.hyperparameters.items()},
            "settings": dict(self.settings),
            "verification": [dict(row) for row in self.verification],
            "check": dict(self.check),
            "cost": dict(self.cost),
            "data": dict(self.data),
            "versions": dict(self.versions),
            "groups": [dict(row) for row in self.groups],
        }

    def save(self, path: str | Path) -> Path:
        """Write the recipe, whole or not at all: JSON where the name ends in .json, else TOML."""
        place = Path(path)
        if place.suffix == ".json":
            whole = {**self.content(), "plan": json.loads(self.plan.to_json())}
            write(place, json.dumps(whole, indent=1, allow_nan=False) + "\n")
        else:
            compact = json.dumps(json.loads(self.plan.to_json()), separators=(",", ":"))
            write(place, f"{_HEAD.format(name=place.name)}{dumps({**self.content(), 'plan': {'json': compact}})}")
        return place

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read a recipe. Raises TuneError for a file that is none, PlanError where its plan was changed."""
        try:
            text = Path(path).read_text(encoding="utf-8")
            table = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        except (UnicodeDecodeError, ValueError) as error:
            raise TuneError(f"{path} is not a whole TOML or JSON file: {error}; run isoscale tune again") from error
        if not isinstance(table, dict) or table.get("format") != FORMAT or "plan" not in table:
            raise TuneError(f"{path} is not a recipe: its format is not {FORMAT!r}; isoscale tune writes one")
        if table.get("version") != VERSION:
            raise TuneError(
                f"{path} has recipe version {table.get('version')!r} and this isoscale reads {VERSION}: tune again"
            )
        inner = table["plan"]
        found = Plan.from_json(inner["json"] if "json" in inner else json.dumps(inner))
        if found.digest != table.get("plan_digest"):
            raise PlanError(f"{path}: the plan inside is another than plan_digest says; save the recipe again")
        empty = {"low": None, "high": None}
        return cls(
            found,
            table["outcome"],
            table["sentence"],
            {name: Tuned(**{**empty, **each}) for name, each in table["hyperparameters"].items()},
            table["settings"],
            table["second"],
            tuple(table.get("verification", ())),
            table.get("check", {}),
            table.get("cost", {}),
            table.get("data", {}),
            table.get("versions", {}),
            tuple(table.get("warnings", ())),
        )


_HEAD = """\
# Written by `isoscale tune`. Learning rate, decay and eps are those of the base; the plan at the end carries them:
#   recipe = isoscale.Recipe.load("{name}")
#   model = recipe.plan.init_(build(**recipe.target))
#   optimizer = recipe.optimizer(model)

"""


def _patterns(rows: Mapping[str, tuple[Any, ...]]) -> dict[str, str]:
    """Each name with `*` for as many of its numbers as different rows allow; the names differ in numbers only."""
    parts = {name: name.split(".") for name in rows}
    numbers = [at for at, part in enumerate(next(iter(parts.values()))) if part.isdigit()]
    for kept in chain.from_iterable(combinations(reversed(numbers), count) for count in range(len(numbers) + 1)):
        stars = [at for at in numbers if at not in kept]
        patterns = {
            name: ".".join("*" if at in stars else part for at, part in enumerate(each)) for name, each in parts.items()
        }
        if len(set(patterns.values())) == len({(patterns[name], row) for name, row in rows.items()}):
            break
    return patterns


def _row(setting: Setting, given: Mapping[str, Any], optimizer: str) -> dict[str, Any]:
    lr = given["lr"] * setting.lr
    decay = given.get("weight_decay", 0.0) * setting.decay
    row = {"role": setting.role, "init": setting.init, "rms": setting.rms, "lr": lr, "weight_decay": decay}
    return row | ({"eps": given["eps"] * setting.eps} if "eps" in given else {})


def _table(rows: tuple[Mapping[str, Any], ...]) -> list[str]:
    """The rows aligned, for a terminal."""
    names = list(rows[0]) if rows else []
    cells = [names, *([_short(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    return ["  " + "  ".join(part.ljust(w) for part, w in zip(line, widths, strict=True)).rstrip() for line in cells]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

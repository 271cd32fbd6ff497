"""What a configuration may say: every name, its default and its limits; all mistakes are told at once."""

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isoscale._records.run import Config
from isoscale._train.models import MODELS

Optimizer = Literal["sgd", "adam", "adamw", "adamw_independent"]
Schedule = Literal["constant", "linear", "cosine"]
Loss = Literal["cross_entropy", "mse"]


class ConfigError(ValueError):
    """A configuration that cannot be trained; lists every mistake in it."""


class Settings(BaseModel):
    """A configuration, checked and completed. Rates and decay are those of the base model; the rule carries them.

    width, depth: the network trained; base_width, base_depth: the network for which lr is meant (equal: plain PyTorch).
    batch_size: None trains on the whole train split at every step. schedule, warmup: the rate's factor over training,
    rising linearly over the first `warmup` of it, then constant, linear to 0 or a half cosine to 0. momentum and
    nesterov act with "sgd", beta1, beta2, eps with the Adams; weight_decay is coupled (added to the gradient) with
    "sgd" and "adam", times lr with "adamw", not times lr with "adamw_independent". beta: branch constant,
    h <- h + beta f(h). gamma0: output over gamma0, lr times gamma0^2 (sgd) or gamma0 (the Adams); gamma0 -> 0 is the
    lazy limit. zero_init: branches start at zero; zero_readout: so does the readout. activation, head_size, patch,
    pool: for the models that have them. context: window of text or tokens. loss: None takes cross entropy for classes
    and tokens, mean square error for real targets. evaluations: points on the curves after the start.
    final_examples: of each split, at most, for the final figures, evenly spread over it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    rule: str
    optimizer: Optimizer
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    base_width: int = Field(ge=1)
    base_depth: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**63)
    lr: float = Field(gt=0)
    model: str = "residual_mlp"
    data: str = "digits"
    steps: int = Field(default=200, ge=1)
    batch_size: int | None = Field(default=64, ge=1)
    schedule: Schedule = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    eps: float = Field(default=1e-8, ge=0)
    beta: float = 1.0
    gamma0: float = Field(default=1.0, gt=0)
    zero_init: bool = False
    zero_readout: bool = False
    activation: Literal["relu", "tanh", "gelu"] | None = None
    head_size: int | None = Field(default=None, ge=1)
    patch: int | None = Field(default=None, ge=1)
    pool: int | None = Field(default=None, ge=1)
    context: int = Field(default=32, ge=1)
    loss: Loss | None = None
    evaluations: int = Field(default=5, ge=1)
    final_examples: int = Field(default=2048, ge=1)
    dtype: Literal["float32", "float64"] = "float32"

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of the model's builder that the configuration fixes."""
        own = {name: getattr(self, name) for name in MODELS[self.model].options if getattr(self, name) is not None}
        common = {name: getattr(self, name) for name in ("beta", "gamma0", "zero_init", "zero_readout")}
        return common | own


def parse(config: Config) -> Settings:
    """The settings a configuration means. Raises `ConfigError` with every mistake, each with a close match."""
    mistakes: list[str] = []
    try:
        settings = Settings.model_validate(dict(config))
    except ValidationError as error:
        mistakes = [_sentence(each["loc"], each["type"], each["msg"], each["input"]) for each in error.errors()]
    mistakes += _conflicts(config)
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise ConfigError(f"{count} in the configuration:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))
    return settings


def vocabulary() -> dict[str, Collection[str]]:
    """Every name a configuration may have, with its values where they are words (else empty)."""
    words = {"model": tuple(MODELS), "optimizer": get_args(Optimizer), "schedule": get_args(Schedule)}
    return {name: words.get(name, ()) for name in Settings.model_fields}


def _sentence(place: tuple[int | str, ...], kind: str, message: str, value: Any) -> str:
    name = str(place[0])
    if kind == "extra_forbidden":
        return f"{name}: no such setting{_near(name, Settings.model_fields)}"
    if kind == "missing":
        return f"{name}: is missing"
    near = _near(value, vocabulary().get(name, ())) if isinstance(value, str) else ""
    return f"{name} = {value!r}: {message[0].lower()}{message[1:]}{near}"


def _near(word: str, words: Collection[str]) -> str:
    found = get_close_matches(word, words, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _conflicts(config: Mapping[str, Any]) -> list[str]:
    """Mistakes that lie between two settings, read from the raw configuration so that they are told with the rest."""
    found = []
    name = config.get("model", "residual_mlp")
    if isinstance(name, str) and name not in MODELS:
        found.append(f"model = {name!r}: there are {', '.join(MODELS)}{_near(name, MODELS)}")
    elif isinstance(name, str):
        for option in ("activation", "head_size", "patch", "pool"):
            if config.get(option) is not None and option not in MODELS[name].options:
                found.append(f"{option} = {config[option]!r}: {name} has none; leave it out")
    if config.get("nesterov") is True and not config.get("momentum"):
        found.append("nesterov = True: needs a momentum above 0; set momentum, or leave nesterov out")
    beta = config.get("beta", 1.0)
    if isinstance(beta, int | float) and (beta == 0 or not math.isfinite(beta)):
        found.append(f"beta = {beta!r}: branches would not act; take a finite number other than 0")
    return found

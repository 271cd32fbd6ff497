"""The plan: what every parameter of the target model gets, frozen and printable; doing it is dumb."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isoscale._plan import choice, explain, groups, guards, init, persist
from isoscale._plan.errors import PlanError
from isoscale._plan.hooks import Hook, attach, detach
from isoscale._plan.proof import Proof, prove
from isoscale._plan.settings import Setting

__all__ = ["Plan", "PlanError"]


@dataclass(frozen=True)
class Plan:
    """What each parameter of `build(**target)` gets so that hyperparameters tuned on `build(**base)` stay best.

    Made by `isoscale.plan`; `print(plan)` shows one row per parameter, `plan.explain(name)` says why. Keyed by fully
    qualified names and global shapes, so it survives deepcopy, compiling, wrapping and sharding of the model.
    """

    rule: str
    optimizer_name: str
    mode: Literal["fold", "explicit"]
    base: Mapping[str, Any]
    target: Mapping[str, Any]
    settings: tuple[Setting, ...]
    hooks: tuple[Hook, ...] = ()
    depths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    # -- doing

    def init_(self, model: nn.Module) -> nn.Module:
        """Bring a freshly built model to the planned initialisation, in place; returns the model.

        rms(w) = rms of w in the base model (measured) x std ratio, whatever the builder's own scale at this size is;
        constants (norm gains, layer scale) and zeros are multiplied by the folded multiplier alone; buffers stay.
        Idempotent: a second call changes nothing. At base size the model stays bit for bit the user's. Layers that
        were deep-copied from one another get draws of their own (torch's default generator). In mode="explicit" the
        hooks are attached too. Raises PlanError where names or shapes are not the planned ones.
        """
        init.initialise(self.settings, model)
        attach(self.hooks, model)
        return model

    def attach_hooks(self, model: nn.Module) -> nn.Module:
        """mode="explicit": put the multipliers on a model that must not be initialised (a loaded checkpoint)."""
        attach(self.hooks, model)
        return model

    def remove_hooks(self, model: nn.Module) -> Sequence[str]:
        """Take the hooks of mode="explicit" off again; returns the paths of the modules that had one."""
        return detach(model)

    def param_groups(
        self,
        model: nn.Module,
        *,
        lr: float,
        weight_decay: float | None = None,
        eps: float | tuple[float, float] | None = None,
        for_optimizer: str | None = None,
        no_decay: Sequence[str] = (),
        **other: Any,
    ) -> list[dict[str, Any]]:
        """Parameter groups for a torch optimizer: few, merged by equal settings; fresh dicts at every call.

        lr, weight_decay, eps: the base model's values; each group gets lr x lr ratio, eps x eps ratio, weight_decay x
        decay ratio. What is not given is completed from the optimizer's own defaults and scaled: eps=1e-8 has the
        gradient's unit. Give them here and not to the optimizer's constructor, whose values the groups overrule.
        Under "adamw_independent" a weight shrinks by weight_decay per step whatever lr is: since torch multiplies the
        decay by the rate, the group's weight_decay is weight_decay / its lr (a schedule still scales both).
        no_decay: globs of names that get no weight decay ("*.bias"). other: settings without a unit (betas, momentum,
        nesterov, fused, ...), passed on. Frozen parameters are left out. Names travel as `param_names`.
        for_optimizer: which one's parameters, where the plan has several ("muon" and "adamw").
        """
        return groups.param_groups(
            self.settings,
            choice.one_of(for_optimizer, self._optimizers),
            model,
            lr=lr,
            weight_decay=weight_decay,
            eps=eps,
            no_decay=no_decay,
            other=other,
        )

    def optimizer(self, model: nn.Module, *, lr: float, **other: Any) -> torch.optim.Optimizer:
        """The planned torch optimizer over `param_groups(model, lr=lr, **other)`."""
        name = choice.one_of(other.get("for_optimizer"), self._optimizers)
        return groups.torch_optimizer(name, self.param_groups(model, lr=lr, **other))

    def optimizers(self, model: nn.Module, **each: Mapping[str, Any]) -> dict[str, torch.optim.Optimizer]:
        """All optimizers of a plan that has several, by name: `plan.optimizers(model, muon=dict(lr=0.02), adamw=...)`.

        Each gets the arguments of `param_groups`. Raises PlanError where one of the plan's is not given, or is none.
        """
        if set(each) != set(self._optimizers):
            raise PlanError(
                f"this plan's optimizers are {', '.join(self._optimizers)}, and given are {', '.join(each) or 'none'}: "
                "give the settings of each, plan.optimizers(model, adamw=dict(lr=1e-3), ...)."
            )
        return {name: self.optimizer(model, for_optimizer=name, **settings) for name, settings in each.items()}

    # -- guarding

    def check_scheduler(self, scheduler: Any) -> None:
        """Raise PlanError where a scheduler overwrites the groups' ratios, with the call that mends it.

        OneCycleLR, CyclicLR and SWALR with scalar rates, ReduceLROnPlateau(min_lr > 0) and cosine with eta_min > 0 set
        one absolute rate for all groups; then nothing is scaled any more, and nothing fails. `per_group` makes the
        lists that these schedulers accept.
        """
        guards.check_scheduler(self.settings, scheduler)

    def check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Raise PlanError where the live groups' lr, eps or decay are not in the planned ratios. Reads only."""
        guards.check_optimizer(self.settings, self._optimizers, optimizer)

    def per_group(self, optimizer: torch.optim.Optimizer, value: float) -> list[float]:
        """A rate of the base model as a list over live groups: `OneCycleLR(opt, max_lr=plan.per_group(opt, 3e-3))`."""
        return guards.per_group(self.settings, optimizer, value)

    def clip_grad_norm_(self, model: nn.Module, max_norm: float) -> Tensor:
        """Clip the gradients so that their planned norm is at most `max_norm`; returns the norm before, a 0-d tensor.

        norm^2 = sum_p r_p |grad_p|^2, r_p the SGD learning-rate ratio of the parameter. The plain norm is not gauge
        invariant: folding a multiplier c into a weight divides its gradient by c, and the same network would be
        clipped at another threshold; r_p carries c^2 and takes it back, so mode="fold" and mode="explicit" clip
        alike. Each term is also the loss decrease per unit of learning rate, Theta(1) in width and depth, so that the
        threshold tuned on the base model keeps its meaning. At base size it is torch's own clip_grad_norm_.
        """
        return guards.clip_grad_norm_(self.settings, model, max_norm)

    def verify(
        self, build: Callable[..., nn.Module], inputs: Any = None, *, size: Mapping[str, Any] | None = None
    ) -> Proof:
        """Prove the fold numerically: random factors on tails against the same factors on the branches, in float64.

        Done by `isoscale.plan` once at base size; here at any size (None: the base). The model is built for real.
        """
        return prove(build, dict(self.base if size is None else size), inputs)

    # -- showing

    @property
    def table(self) -> tuple[Mapping[str, Any], ...]:
        """One row (a dict) per parameter, in the model's order."""
        return tuple(explain.row(setting) for setting in self.settings)

    def explain(self, name: str) -> str:
        """What the parameter is, why, and what it gets, in plain words."""
        return explain.explain(self.settings, name, self.optimizer_name, self.rule)

    def diff(self, other: "Plan") -> str:
        """Every line in which two plans differ, `this -> other`; empty where nothing does."""
        return explain.diff(self.settings, other.settings, (self._head(), other._head()))

    def __getitem__(self, name: str) -> Setting:
        if name not in self._by_name:
            self.explain(name)  # raises, with the closest names
        return self._by_name[name]

    def __str__(self) -> str:
        depths = ", ".join(f"{name or 'stream'} {base} -> {now}" for name, (base, now) in self.depths.items()) or "none"
        head = (
            f"plan: rule {self.rule}, optimizer {self.optimizer_name}, mode {self.mode}\n"
            f"base {dict(self.base)} -> target {dict(self.target)}; residual branches: {depths}"
        )
        notes = "".join(f"\nwarning: {warning}" for warning in self.warnings)
        hooked = "".join(f"\nhook: {h.side} of {h.module} x {h.factor:.4g} ({h.why})" for h in self.hooks)
        return explain.printable(f"{head}\n{explain.table(self.table)}{hooked}{notes}")

    # -- keeping

    def to_json(self) -> str:
        """The plan as JSON text with its version and sha256."""
        return persist.sealed(self._content())

    @property
    def digest(self) -> str:
        """Sha256 of the plan's canonical JSON."""
        return persist.digest(self._content())

    def save(self, path: str | Path) -> None:
        """Write the plan to a file, whole or not at all."""
        persist.write(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "Plan":
        """Read a plan; a torn, edited or foreign file raises PlanError."""
        return cls.from_content(persist.read(path))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The inverse of `to_json`."""
        return cls.from_content(persist.opened(text, "the text"))

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> "Plan":
        """A plan from the content of its file."""
        shaped = ({key: tuple(row.get(key, ())) for key in ("shape", "base_shape")} for row in content["settings"])
        settings = tuple(Setting(**{**row, **shapes}) for row, shapes in zip(content["settings"], shaped))
        depths = {name: (int(base), int(now)) for name, (base, now) in content["depths"].items()}
        kept = {key: content[key] for key in ("rule", "optimizer_name", "mode", "base", "target")}
        placed = tuple(Hook(**hook) for hook in content["hooks"])
        return cls(**kept, settings=settings, hooks=placed, depths=depths, warnings=tuple(content["warnings"]))

    def _content(self) -> dict[str, Any]:
        shapes = ({"shape": list(each.shape), "base_shape": list(each.base_shape)} for each in self.settings)
        rows = [{**asdict(setting), **lists} for setting, lists in zip(self.settings, shapes)]
        depths = {name: list(pair) for name, pair in self.depths.items()}
        parts = {"settings": rows, "hooks": [asdict(hook) for hook in self.hooks], "depths": depths}
        return {**self._head(), **parts, "warnings": list(self.warnings)}

    def _head(self) -> dict[str, Any]:
        head = {"rule": self.rule, "optimizer_name": self.optimizer_name, "mode": self.mode}
        return {**head, "base": dict(self.base), "target": dict(self.target)}

    @cached_property
    def _optimizers(self) -> tuple[str, ...]:
        """The optimizers that have a parameter, in the model's order."""
        return tuple(dict.fromkeys(setting.optimizer or self.optimizer_name for setting in self.settings))

    @cached_property
    def _by_name(self) -> dict[str, Setting]:
        return {setting.name: setting for setting in self.settings}

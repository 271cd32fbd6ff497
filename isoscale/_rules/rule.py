"""A rule: the few exponents that define it. Learning rates, eps and decay are solved for, regimes are read off."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from isoscale._rules.entry import Entry, Role, Weight, depth_of, in_role
from isoscale._rules.optimizers import ONE_OF_EACH_SCALE, OPTIMIZERS, Optimizer, get_optimizer
from isoscale._rules.power import ONE, Power, exact
from isoscale._rules.reasons import reason_of
from isoscale._rules.regime import Scaling, scaling
from isoscale._rules.update import Settings, largest_settings

DEPTH_SOURCE = "arXiv 2309.16620 (alpha = 1/2), arXiv 2505.01618 (alpha = 1)"

Rates = Literal["derived", "constant"]
"""Settings over one size: solved from the maximal-update demand, or left at the base model's value."""


class RuleError(ValueError):
    """A table whose exponents contradict what it was declared to be."""


@dataclass(frozen=True)
class Rule:
    """A scaling rule, defined by the forward multiplier and init of each role, and the branch exponent alpha.

    Stream: h <- h + l^-alpha f(h). Rates over width and depth are either "derived" (the largest that keep the network
    stable, per layer and optimizer) or "constant" (ratio 1). `width` and `depth` declare the regime it is meant to
    have; the table is checked against them when built. Where rates are constant that is the regime under optimizers
    whose step does not shrink as the gradient grows: natural gradient bounds the change of the output by itself, and
    standard parameterization is lazy under it (arXiv 2312.12226).

    `update_alignment` p and `readout_alignment` w are the growths n^p and n^w of sums over fan-in of an update with
    activations, and of the initial readout with changes of the features: 1 = fully aligned (law of large numbers),
    1/2 = random (central limit), as in arXiv 2407.05872. `hidden_tail`: a hidden weight at the end of its branch that
    is initialised otherwise than the rest (None: the same).

    Raises RuleError where the derived regime is not the declared one, for any optimizer of the table.
    """

    name: str
    input: Weight
    hidden: Weight
    output: Weight
    alpha: Fraction
    width: Literal["feature-learning", "lazy", "unstable", "vanishing"]
    depth: Literal["feature-learning", "lazy", "unstable"]
    width_rates: Rates = "derived"
    depth_rates: Rates = "derived"
    update_alignment: Fraction = Fraction(1)
    readout_alignment: Fraction = Fraction(1)
    hidden_tail: Weight | None = None
    source: str = "this project's derivation (docs/theory/rules.md)"

    def __post_init__(self) -> None:
        for name in ("alpha", "update_alignment", "readout_alignment"):
            object.__setattr__(self, name, exact(getattr(self, name), name))
        for optimizer in ONE_OF_EACH_SCALE:
            if self.width_rates == "constant" and get_optimizer(optimizer).gradient_degree < 0:
                continue
            found = self.scaling(optimizer)
            for size, declared, derived in (
                ("width", self.width, found.width_regime),
                ("depth", self.depth, found.depth_regime),
            ):
                if declared != derived:
                    raise RuleError(
                        f"rule {self.name!r} is declared {declared} in {size}, its exponents make it {derived} under "
                        f"{optimizer}: {found.explain(size)}; a learning rate tuned small would not carry over; "
                        f"mend the exponents, or declare {size}={derived!r}"
                    )

    def weight(self, role: Role, *, tail: bool = False) -> Weight:
        """Multiplier and init of a role, without the branch's multiplier."""
        if role == "hidden" and tail and self.hidden_tail is not None:
            return self.hidden_tail
        by_role = {"input": self.input, "hidden": self.hidden, "output": self.output, "scalar": Weight()}
        return by_role[role].in_role(role)

    def entry(self, role: Role, in_branch: bool, optimizer: str, *, tail: bool = False) -> Entry:
        """The row of a parameter of this role, with its multiplier explicit.

        tail=True: the last homogeneous weight of a branch; the row's multiplier then includes the branch's l^-alpha,
        and `fold(entry)` gives the settings of a model whose code carries no multiplier at all.
        Raises UnknownName for an optimizer without a row, ValueError for a tail outside branches.
        """
        if tail and not in_branch:
            raise ValueError(f"tail=True with in_branch=False ({role}): only a branch has a tail; pass in_branch=True")
        row = get_optimizer(optimizer)
        weight = self.weight(role, tail=tail)
        settings = self._settings(role, in_branch, row, weight)
        return Entry(
            role=role,
            in_branch=in_branch,
            optimizer=optimizer,
            multiplier=weight.multiplier * self.branch_multiplier if tail else weight.multiplier,
            std=weight.std,
            lr=settings.lr,
            eps=settings.eps,
            decay=settings.decay,
            reason=self._reason(role, in_branch, row),
            source=f"{self.source}; depth: {DEPTH_SOURCE}"
            if in_branch and self.depth_rates == "derived"
            else self.source,
            tail=tail,
        )

    def scaling(self, optimizer: str) -> Scaling:
        """How sizes and updates grow under this rule: the facts that its regime is read from."""
        return scaling(self, get_optimizer(optimizer))

    @property
    def branch_multiplier(self) -> Power:
        """l^-alpha: what every residual branch is multiplied by, once."""
        return depth_of(-self.alpha)

    @property
    def attention(self) -> Power:
        """Extra factor on attention logits q.k / sqrt(d_head) where d_head grows (its growth is `fan_in`).

        With features that learn, q and k align: their sum over d_head grows as d_head, so 1 / d_head is needed.
        Where they do not, or nothing is scaled, the square root is already right.
        """
        return Power(fan_in=Fraction(-1, 2)) if self.width == "feature-learning" else ONE

    @property
    def logits(self) -> Power:
        """The whole scale of q.k over d_head (its growth is `fan_in`): the usual square root times `attention`."""
        return Power(fan_in=Fraction(-1, 2)) * self.attention

    @property
    def stable(self) -> bool:
        """Nothing grows with width or depth, at initialisation and under training, for every optimizer."""
        return all(self.scaling(name).stable for name in OPTIMIZERS)

    @property
    def maximal(self) -> bool:
        """Every layer's update changes what it feeds by Theta(1), its share of Theta(1/L) in a branch."""
        return all(self.scaling(name).maximal for name in OPTIMIZERS)

    @property
    def faithful(self) -> bool:
        """At the base size (every growth ratio 1) every ratio of the table is exactly 1."""
        rows = (self.entry(role, True, name) for role in ("input", "hidden", "output", "scalar") for name in OPTIMIZERS)
        return all(
            power.at(fan_in=1, fan_out=1, depth=1) == 1.0
            for row in rows
            for power in (row.multiplier, row.std, row.lr, row.eps, row.decay, self.branch_multiplier)
        )

    def _reason(self, role: Role, in_branch: bool, row: Optimizer) -> str:
        if not in_branch:
            return reason_of(role, row, scaled_width=self.width_rates == "derived")
        return reason_of(
            role,
            row,
            scaled_width=self.width_rates == "derived",
            alpha=self.alpha,
            scaled_depth=self.depth_rates == "derived",
        )

    def _settings(self, role: Role, in_branch: bool, row: Optimizer, weight: Weight) -> Settings:
        """The largest stable settings, with the sizes left out over which this rule keeps them constant."""
        found = largest_settings(
            weight,
            in_role(self.output.multiplier * self.output.std, "output").width,
            self.branch_multiplier if in_branch else None,
            row,
            self.update_alignment,
            self.readout_alignment,
        )
        return Settings(*(self._scaled(in_role(power, role)) for power in (found.lr, found.eps, found.decay)))

    def _scaled(self, power: Power) -> Power:
        fans = power * depth_of(-power.depth) if self.width_rates == "derived" else ONE
        return fans * depth_of(power.depth) if self.depth_rates == "derived" else fans

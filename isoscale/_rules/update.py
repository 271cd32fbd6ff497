"""The maximal-update demand, solved: the largest learning rate that keeps a layer stable, and what follows it."""

from dataclasses import dataclass
from fractions import Fraction

from isoscale._rules.entry import Weight
from isoscale._rules.optimizers import Optimizer
from isoscale._rules.power import ONE, Power
from isoscale._rules.scales import eps_of


@dataclass(frozen=True)
class Settings:
    """Ratios of an optimizer's settings for one parameter."""

    lr: Power
    eps: Power
    decay: Power


def backward_exponent(readout: Fraction, update_alignment: Fraction) -> Fraction:
    """d in delta ~ n^-d: the size of a coordinate's gradient on the stream, relative to the loss.

    delta = W_out^T dL/df is as large as the readout's entries: n^readout initially, and n^-update_alignment after
    the readout's own update has changed the output by Theta(1). The larger one counts.
    """
    return min(-readout, update_alignment)


def feature_exponent(readout: Fraction, readout_alignment: Fraction) -> Fraction:
    """r in dh ~ n^-r: the largest change of a feature that the initial readout can bear.

    The output then changes by n^readout_alignment * n^readout * dh, which must stay O(1); and dh itself must.
    """
    return max(Fraction(0), readout_alignment + readout)


def largest_settings(
    weight: Weight,
    readout: Fraction,
    branch: Power | None,
    optimizer: Optimizer,
    update_alignment: Fraction,
    readout_alignment: Fraction,
) -> Settings:
    """Solve multiplier * branch * dW * fan_in^p = n_out^-r / l for the learning rate.

    With activations Theta(1) the gradient is g = multiplier * branch * n_out^-d and a step has entries
    dW = lr * g^k * std^j * shape (k, j the optimizer's degrees; see `Scale`). `readout` is the exponent of the
    readout's entries, multiplier and std together; `branch` the branch's multiplier, None outside branches.
    """
    path = weight.multiplier * (branch or ONE)
    gradient = path * Power(fan_out=-backward_exponent(readout, update_alignment))
    share = Power(fan_out=-feature_exponent(readout, readout_alignment), depth=Fraction(0 if branch is None else -1))
    step = share / (path * Power(fan_in=update_alignment))
    size = gradient**optimizer.gradient_degree * weight.std**optimizer.parameter_degree * optimizer.shape
    lr = step / size
    eps = ONE if optimizer.eps is None else eps_of(optimizer.eps, gradient)
    return Settings(lr, eps, decay_of(optimizer, lr, gradient, weight.std))


def decay_of(optimizer: Optimizer, lr: Power, gradient: Power, std: Power) -> Power:
    """Weight decay with the same effect at every size.

    Where the weight shrinks by lr * decay in a step (decoupled, or added to a raw gradient), lr * decay is kept.
    Where decay * w is normalised together with the gradient, the two keep their proportion: more would crowd the
    gradient out of the step as the network grows, less would vanish.
    """
    if optimizer.decay == "independent":
        return ONE
    if optimizer.decay == "decoupled" or optimizer.gradient_degree == 1:
        return lr**-1
    if optimizer.decay == "before_trust":
        return std**-1
    return gradient / std

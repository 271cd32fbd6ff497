"""Every optimizer of the table written out, one array, one step at a time: the slow and obvious oracle of the laws."""

import numpy as np

from isoscale._rules import get_optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def ema(state: dict, key: str, value: np.ndarray, keep: float) -> np.ndarray:
    state[key] = keep * state.get(key, 0.0) + (1 - keep) * value
    return state[key]


def adaptive(state: dict, g: np.ndarray, eps: float, keep: float = 0.75) -> np.ndarray:
    """Adam's normalised step with bias correction; powers of two as constants of averaging keep it exact to scale."""
    t = state["t"]
    first = ema(state, "m", g, 0.5) / (1 - 0.5**t)
    second = ema(state, "v", g * g, keep) / (1 - keep**t)
    return first / (np.sqrt(second) + eps)


def orthogonalised(g: np.ndarray, eps: float) -> np.ndarray:
    """Muon's iteration: singular values near 1, those that are 0 stay 0."""
    a, b, c = NEWTON_SCHULZ
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / max(np.sqrt(np.sum(x * x)), eps)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def fourth_root(matrix: np.ndarray) -> np.ndarray:
    """matrix^(-1/4); square roots, unlike powers, scale exactly."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors / np.sqrt(np.sqrt(values)) @ vectors.T


def shampoo(state: dict, g: np.ndarray, eps: float) -> np.ndarray:
    """L^-1/4 G R^-1/4, L and R sums of G G^T and G^T G (arXiv 1802.09568)."""
    state["L"] = state.get("L", eps * np.eye(g.shape[0])) + g @ g.T
    state["R"] = state.get("R", eps * np.eye(g.shape[1])) + g.T @ g
    return fourth_root(state["L"]) @ g @ fourth_root(state["R"])


def soap(state: dict, g: np.ndarray, eps: float) -> np.ndarray:
    """Adam in the eigenbasis of averages of G G^T and G^T G, found anew every step (arXiv 2409.11321)."""
    left = np.linalg.eigh(ema(state, "L", g @ g.T, 0.75))[1]
    right = np.linalg.eigh(ema(state, "R", g.T @ g, 0.75))[1]
    first = ema(state, "m", g, 0.5) / (1 - 0.5 ** state["t"])
    second = ema(state, "v", (left.T @ g @ right) ** 2, 0.75) / (1 - 0.75 ** state["t"])
    return left @ (left.T @ first @ right / (np.sqrt(second) + eps)) @ right.T


def kfac(g: np.ndarray, damping: float, x: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """(B + r_B)^-1 G (A + r_A)^-1, A = x x^T, B = d d^T, r_A r_B = damping split by the factors' mean traces."""
    a, b = x @ x.T, delta @ delta.T
    ratio = np.sqrt(np.trace(a) / len(a) / (np.trace(b) / len(b)))
    left = b + np.sqrt(damping) / ratio * np.eye(len(b))
    right = a + np.sqrt(damping) * ratio * np.eye(len(a))
    return np.linalg.solve(right, np.linalg.solve(left, g).T).T


def adafactor(state: dict, w: np.ndarray, g: np.ndarray, floor: float, scale_parameter: bool) -> np.ndarray:
    """Factored second moments, clipped to rms 1, times the weight's own rms (torch) or not."""
    rows, columns = (ema(state, str(axis), np.mean(g * g, axis=axis, keepdims=True), 0.75) for axis in (1, 0))
    u = g / np.sqrt(rows @ columns / np.mean(rows))
    u = u / max(1.0, float(np.sqrt(np.mean(u * u))))
    return u * max(floor, float(np.sqrt(np.mean(w * w)))) if scale_parameter else u


def raw_step(name: str, w: np.ndarray, g: np.ndarray, state: dict, eps: float, wd: float, factors: tuple) -> np.ndarray:
    """U of the step -lr U. eps: for adafactor the floor on the weight's rms, which has the weight's unit."""
    if name in ("sgd", "sgd_nesterov"):
        state["b"] = 0.5 * state.get("b", 0.0) + g
        return g + 0.5 * state["b"] if name == "sgd_nesterov" else state["b"]
    if name == "nadam":
        second = ema(state, "v", g * g, 0.75) / (1 - 0.75 ** state["t"])
        return (0.5 * g + 0.5 * ema(state, "m", g, 0.5)) / (np.sqrt(second) + eps)
    if name == "adamax":
        state["n"] = np.maximum(0.75 * state.get("n", 0.0), np.abs(g) + eps)
        return ema(state, "m", g, 0.5) / state["n"]
    if name == "rmsprop":
        return g / (np.sqrt(ema(state, "v", g * g, 0.75)) + eps)
    if name == "adagrad":
        state["s"] = state.get("s", 0.0) + g * g
        return g / (np.sqrt(state["s"]) + eps)
    if name == "adam_atan2":
        second = ema(state, "v", g * g, 0.75) / (1 - 0.75 ** state["t"])
        return np.arctan2(ema(state, "m", g, 0.5) / (1 - 0.5 ** state["t"]), np.sqrt(second))
    if name == "lion":
        u = np.sign(0.75 * state.get("m", 0.0) + 0.25 * g)
        ema(state, "m", g, 0.5)
        return u
    if name == "lamb":
        u = adaptive(state, g, eps) + wd * w
        return u * np.sqrt(np.sum(w * w)) / np.sqrt(np.sum(u * u))
    if name in ("adafactor", "adafactor_unscaled"):
        return adafactor(state, w, g, eps, name == "adafactor")
    if name == "muon":
        return orthogonalised(g + 0.5 * ema(state, "m", g, 0.5), eps)
    if name == "shampoo":
        return shampoo(state, g, eps)
    if name == "soap":
        return soap(state, g, eps)
    return kfac(g, eps, *factors) if name == "kfac" else adaptive(state, g, eps)


def step(
    name: str,
    w: np.ndarray,
    g: np.ndarray,
    state: dict,
    lr: float,
    eps: float,
    wd: float,
    factors: tuple = (),
) -> np.ndarray:
    """The weight after one step; factors: the layer's inputs and the gradients of its outputs (K-FAC's)."""
    state["t"] = state.get("t", 0) + 1
    row = get_optimizer(name.removesuffix("_nesterov"))
    if row.decay == "coupled":
        g = g + wd * w
    u = raw_step(name, w, g, state, eps, wd, factors)
    if row.decay == "decoupled":
        w = w - lr * wd * w
    elif row.decay == "independent":
        w = w - wd * w
    return w - lr * u

"""A third solver of the linear equations, sharing nothing with the others: all layers and steps as one linear system,
iterated to a fixed point of kernels and responses, from the equations of docs/theory/dmft.md as they stand."""

import numpy as np

from isoscale.theory.dmft.problem import Problem


def stacked_linear(problem: Problem, L: int, iterations: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f (T+1, M), H (L+1, n, n), G (L+1, T, T) at full batch, squared loss, no momentum."""
    M, P, T = problem.M, problem.P, problem.steps
    n, b, eta = M * (T + 1), problem.b(L), problem.eta0 * problem.gamma0
    learn, sig = b * b * problem.block_rate(L) * eta, problem.sig_w
    time, Kx = np.arange(n) // M, problem.Kx.numpy()
    before = (np.arange(T)[None, :] < time[:, None]).astype(float)  # (n, T): gradient step s < t
    after = (time[None, :] < np.arange(T)[:, None]).astype(float)  # (T, n): stream step s < t
    H, G = np.zeros((L + 1, n, n)), np.zeros((L + 1, T, T))
    A, B, f = np.zeros((L, n, T)), np.zeros((L, T, n)), np.zeros((T + 1, M))
    size = (L + 1) * (n + T)

    def hs(l: int) -> slice:
        return slice(l * n, (l + 1) * n)

    def gs(l: int) -> slice:
        return slice((L + 1) * n + l * T, (L + 1) * n + (l + 1) * T)

    def col(K: np.ndarray, pd: np.ndarray) -> np.ndarray:
        return (K[:, : T * M] * pd).reshape(n, T, M).sum(-1)

    def rep(K: np.ndarray, pd: np.ndarray) -> np.ndarray:
        return np.pad(np.repeat(K, M, axis=1) * pd, ((0, 0), (0, M)))

    for _ in range(iterations):
        pd = np.zeros((T, M))
        pd[:, :P] = (problem.Y.numpy()[:, 0] - f[:T, :P]) / P
        pd = pd.reshape(-1)  # (t, mu), zero on probes
        tile = np.tile(Kx, (T + 1, T + 1))
        X = np.zeros((size, size))  # v = X v + sources
        X[hs(0), gs(0)] = eta * before * col(tile, pd)
        X[gs(L), hs(L)] = eta * after * rep(np.ones((T, T)), pd)
        for l in range(L):
            X[hs(l + 1), hs(l)] = np.eye(n)
            X[hs(l + 1), gs(l + 1)] = b * A[l] + learn * before * col(H[l], pd)
            X[gs(l), gs(l + 1)] = np.eye(T)
            X[gs(l), hs(l)] = b * B[l] + learn * after * rep(G[l + 1], pd)
        V = np.linalg.inv(np.eye(size) - X)
        noise = np.zeros((size, size))
        noise[hs(0), hs(0)], noise[gs(L), gs(L)] = tile, 1.0
        for l in range(L):
            noise[hs(l + 1), hs(l + 1)], noise[gs(l), gs(l)] = b * b * sig**2 * H[l], b * b * sig**2 * G[l + 1]
        K = V @ noise @ V.T
        for l in range(L):
            A[l] = b * sig**2 * V[hs(l), gs(l)]  # of h^l to the backward source b r^l, which enters g^l
            B[l] = b * sig**2 * V[gs(l + 1), hs(l + 1)]
        H = np.stack([K[hs(l), hs(l)] for l in range(L + 1)])
        G = np.stack([K[gs(l), gs(l)] for l in range(L + 1)])
        # w = w_0 + eta sum pd h^L; <w_0 h^L>: w_0 is the source of every row of g^L at once.
        start = V[hs(L), gs(L)].sum(-1)
        learned = eta * (before @ np.eye(T)).repeat(M, axis=1) * pd
        f = ((start + (learned * H[L][:, : T * M]).sum(-1)) / problem.gamma0).reshape(T + 1, M)
    return f, H, G

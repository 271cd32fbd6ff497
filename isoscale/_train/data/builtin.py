"""Data that needs no file and no network: handwritten digits, a synthetic teacher, and Python's own help as text."""

import hashlib
from pydoc_data import topics

import numpy as np
from sklearn.datasets import load_digits

from isoscale._train.data.dataset import Array, DataError, Dataset, from_arrays, hash_arrays

TEST_DIGITS = 360  # of 1797, a fifth
TEST_TEXT = 0.1  # the last tenth of the text


def digits() -> Dataset:
    """scikit-learn's 1797 handwritten digits of 8x8 pixels, ten classes: always the same 1437 to train, 360 to test.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    pixels, classes = load_digits(return_X_y=True)
    x, y = pixels.astype(np.uint8).reshape(-1, 1, 8, 8), classes.astype(np.int64)
    order = np.random.RandomState(0).permutation(len(x))  # the legacy generator: its stream is frozen for good
    train, test = order[TEST_DIGITS:], order[:TEST_DIGITS]
    arrays = x[train], y[train], x[test], y[test]
    return from_arrays("digits", hash_arrays(*arrays), "image", *arrays)


def teacher(
    *, features: int = 16, units: int = 4, train: int = 1024, test: int = 512, noise: float = 0.0, seed: int = 0
) -> Dataset:
    """Gaussian inputs, targets y = g(x) + noise * normal with a known g: the best mean square error is noise**2.

    g(x) = sum_k a_k relu(w_k . x), k up to `units`, scaled to unit variance over the train split. The answer is known:
    `teacher_function` gives g itself.
    """
    rng = np.random.default_rng([seed, 1])
    x = rng.standard_normal((train + test, features)).astype(np.float32)
    scale = teacher_function(x[:train], units=units, seed=seed).std()
    clean = teacher_function(x, units=units, seed=seed) / scale
    y = (clean + noise * rng.standard_normal(clean.shape)).astype(np.float32)
    arrays = x[:train], y[:train], x[train:], y[train:]
    return from_arrays("teacher", hash_arrays(*arrays), "vector", *arrays)


def teacher_function(x: Array, *, units: int = 4, seed: int = 0) -> Array:
    """The teacher's g before scaling: sum_k a_k relu(w_k . x), (examples, features) -> (examples, 1), in float64."""
    rng = np.random.default_rng([seed, 0])
    directions = rng.standard_normal((x.shape[1], units))
    directions /= np.linalg.norm(directions, axis=0)
    signs = np.where(np.arange(units) % 2, -1.0, 1.0)
    answer: Array = np.maximum(x.astype(np.float64) @ directions, 0.0) @ signs[:, None]
    return answer


def text(*, context: int = 32) -> Dataset:
    """Python's own help topics as characters: windows of `context` characters, the last tenth held out.

    About 465 000 characters, which differ from one version of Python to the next: the sha256 says which.
    """
    corpus = "".join(topics.topics[key] for key in sorted(topics.topics))
    alphabet = sorted(set(corpus))
    code = {character: i for i, character in enumerate(alphabet)}
    tokens = np.array([code[character] for character in corpus], dtype=np.uint16)
    cut = len(tokens) - int(TEST_TEXT * len(tokens))
    x_train, y_train = windows("text", tokens[:cut], context)
    x_test, y_test = windows("text", tokens[cut:], context)
    sha256 = hashlib.sha256(corpus.encode()).hexdigest()
    return from_arrays("text", sha256, "tokens", x_train, y_train, x_test, y_test, outputs=len(alphabet))


def windows(name: str, tokens: Array, context: int) -> tuple[Array, Array]:
    """Cut a stream into windows that do not overlap, and the same windows one token later: both (windows, context)."""
    count = (len(tokens) - 1) // context
    if count < 1:
        raise DataError(
            f"{name}: {len(tokens)} tokens are fewer than one window of context + 1 = {context + 1} - there would be "
            f"nothing to learn from - take a smaller context, or more text"
        )
    return tokens[: count * context].reshape(count, context), tokens[1 : count * context + 1].reshape(count, context)

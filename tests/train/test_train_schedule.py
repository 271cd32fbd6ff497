"""The learning rate's factor over training, and the order of the examples."""

import itertools

import pytest
import torch

from isoscale._train.schedule import batches, schedule


def test_shapes_without_warmup() -> None:
    assert schedule("constant", 4) == [1, 1, 1, 1]
    assert schedule("linear", 4) == [1, 0.75, 0.5, 0.25]
    assert schedule("cosine", 4) == pytest.approx([1, 0.8535533906, 0.5, 0.1464466094])


def test_warmup_rises_to_one_and_the_shape_takes_the_rest() -> None:
    assert schedule("linear", 10, 0.2) == pytest.approx([0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    assert schedule("constant", 5, 0.4) == [0.5, 1, 1, 1, 1]


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.999])
@pytest.mark.parametrize("steps", [1, 2, 3, 200])
def test_there_is_a_positive_factor_for_every_step(shape, warmup, steps) -> None:
    factors = schedule(shape, steps, warmup)
    assert len(factors) == steps
    assert all(0 < factor <= 1 for factor in factors)


def test_schedules_are_functions_of_the_fraction_of_training() -> None:
    short, long = schedule("cosine", 50, 0.2), schedule("cosine", 100, 0.2)
    assert long[20::2] == pytest.approx(short[10:])


def test_every_pass_sees_every_example_once() -> None:
    seen = torch.cat(list(itertools.islice(batches(10, 4, seed=3), 5)))
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


def test_the_order_is_the_seeds() -> None:
    def first(seed):
        return torch.cat(list(itertools.islice(batches(100, 10, seed), 30))).tolist()

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_full_batch_takes_no_indices() -> None:
    assert list(itertools.islice(batches(10, None, 0), 3)) == [None, None, None]

"""Reference networks: shapes, zero-initialised branches, beta and gamma0, heads, and that nothing scales by itself."""

import math

import pytest
import torch

from isoscale._train.models import MODELS
from isoscale._train.models.transformer import fitting_patch

INPUTS = {"vector": (12,), "image": (1, 8, 8), "tokens": (16,)}
EVERY = [(name, kind) for name, row in MODELS.items() for kind in row.kinds]


def build(name, kind, width=16, depth=2, **options):
    torch.manual_seed(0)
    return MODELS[name].build(width, depth, inputs=INPUTS[kind], outputs=5, **options)


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_output_has_a_row_for_every_example_and_every_parameter_gets_a_gradient(name, kind) -> None:
    model = build(name, kind)
    (x,) = model.example_inputs()
    output = model(x)
    assert output.shape == ((2, 16, 5) if kind == "tokens" else (2, 5))
    output.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_example_inputs_are_the_same_on_any_default_device_and_leave_the_generator_alone(name, kind) -> None:
    model = build(name, kind)
    state = torch.get_rng_state()
    (x,) = model.example_inputs()
    with torch.device("meta"):
        (again,) = model.example_inputs()
    assert torch.equal(x, again)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_zero_initialised_branches_make_the_start_free_of_beta_and_of_the_blocks(name, kind) -> None:
    def start(beta, **options):
        model = build(name, kind, beta=beta, **options)
        return model(*model.example_inputs())

    assert torch.equal(start(1.0, zero_init=True), start(7.0, zero_init=True))
    assert not torch.equal(start(1.0), start(7.0))


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_gamma0_divides_the_output(name, kind) -> None:
    one, quarter = build(name, kind), build(name, kind, gamma0=0.25)
    assert torch.equal(4 * one(*one.example_inputs()), quarter(*quarter.example_inputs()))


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_a_zero_readout_answers_zero(name, kind) -> None:
    model = build(name, kind, zero_readout=True)
    assert not model(*model.example_inputs()).any()
    assert build(name, kind)(*model.example_inputs()).any()


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_the_shape_of_the_parameters_grows_with_width_and_their_number_with_depth(name, kind) -> None:
    small, wide, deep = build(name, kind), build(name, kind, width=32), build(name, kind, depth=4)
    assert [n for n, _ in small.named_parameters()] == [n for n, _ in wide.named_parameters()]
    assert any(p.shape != q.shape for p, q in zip(small.parameters(), wide.parameters()))
    assert len(list(deep.blocks.parameters())) == 2 * len(list(small.blocks.parameters()))


def test_the_residual_mlp_is_the_equation() -> None:
    model = build("residual_mlp", "vector", activation="tanh", beta=0.5, gamma0=2.0)
    (x,) = model.example_inputs()
    w_in, *blocks, w_out = model.parameters()
    h = x @ w_in.T
    for w in blocks:
        h = h + 0.5 * torch.tanh(h) @ w.T
    torch.testing.assert_close(model(x), torch.tanh(h) @ w_out.T / 2.0)


def test_the_weights_of_the_theory_start_with_variance_one_over_fan_in() -> None:
    model = build("residual_mlp", "vector", width=256)
    for name, weight in model.named_parameters():
        error = weight.square().mean().item() * weight.shape[1] - 1
        assert abs(error) < 5 * math.sqrt(2 / weight.numel()), name


def test_a_character_sees_only_what_came_before_it() -> None:
    model = build("gpt", "tokens")
    (x,) = model.example_inputs()
    changed = x.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 5
    before, after = model(x), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.equal(before[:, 9:], after[:, 9:])


def test_heads_grow_in_number_and_a_width_they_do_not_divide_is_refused() -> None:
    assert {build("gpt", "tokens", width=w).blocks[0].attention.head_size for w in (16, 64)} == {8}
    with pytest.raises(ValueError, match="width 20 is not a multiple of head_size 8"):
        build("vit", "image", width=20)


@pytest.mark.parametrize(("side", "patch"), [(8, 2), (16, 2), (28, 4), (32, 4), (224, 28)])
def test_the_patch_fits_the_image(side, patch) -> None:
    assert fitting_patch(side, side) == patch


def test_a_patch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="patch 3 does not divide"):
        build("vit", "image", patch=3)
    with pytest.raises(ValueError, match="no square patch divides 31x7"):
        fitting_patch(31, 7)


@pytest.mark.parametrize("name", ["conv_resnet", "conv_resnet_bn", "vit", "residual_mlp"])
def test_larger_images_in_colour_go_through(name) -> None:
    torch.manual_seed(0)
    model = MODELS[name].build(8, 1, inputs=(3, 32, 32), outputs=10)
    assert model(*model.example_inputs()).shape == (2, 10)


@pytest.mark.parametrize("name", ["conv_resnet", "conv_resnet_bn"])
def test_a_readout_of_parts_of_the_map_sees_where_things_are(name) -> None:
    def of(pool):
        model = build(name, "image", pool=pool).eval()
        x = torch.zeros(2, 1, 8, 8)
        x[0, :, :2, :2], x[1, :, 4:6, 4:6] = 1.0, 1.0  # the same mark in two places
        with torch.no_grad():
            model.stem.weight.zero_()[..., 1, 1] = 1.0  # passed on as it is
            for block in model.blocks:
                block.conv2.weight.zero_()
            return model(x)

    whole, parts = of(1), of(4)
    assert torch.allclose(whole[0], whole[1])
    assert not torch.allclose(parts[0], parts[1])

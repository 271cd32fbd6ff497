"""A plan: its numbers, its words, its file, and what it refuses."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from toys import built, facts, rms, with_parameter

from isoscale._plan import Plan, PlanError
from isoscale._plan.compose import compose
from isoscale._plan.facts import Attention, Refusal
from isoscale._plan.hooks import place, watch
from isoscale._rules import get_rule

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 64, "depth": 8}
STRUCTURE = facts(BASE, TARGET)


def planned(rule="depth_mup", structure=STRUCTURE, optimizer="adamw", mode="fold"):
    table = get_rule(rule)
    placements = place(structure, table, optimizer, built(0, **TARGET)) if mode == "explicit" else ()
    return compose(structure, table, base=BASE, target=TARGET, optimizer=optimizer, mode=mode, placements=placements)


def test_a_plan_is_frozen_and_prints_one_aligned_row_per_parameter() -> None:
    plan = planned()
    with pytest.raises(FrozenInstanceError):
        plan.rule = "sp"  # type: ignore[misc]
    lines = str(plan).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("name"))
    rows = lines[start + 1 :]
    assert len(rows) == len(plan.table) == len(dict(built(0, **TARGET).named_parameters()))
    column = lines[start].index("role")
    assert {row[column : column + 6].strip() for row in rows} == {"input", "hidden", "output", "scalar"}
    assert "depth_mup" in lines[0]
    assert "h 2 -> 8" in lines[1]


def test_explain_says_what_it_is_and_why() -> None:
    words = planned().explain("blocks.3.contract.weight")
    for part in ("role hidden", "by hand", "stream 'h'", "homogeneous end", "l^-1/2", "measured in the base", "arXiv"):
        assert part in words
    assert "carries the readout" in planned().explain("head.weight")
    assert "applied by a forward hook" in planned(mode="explicit").explain("blocks.3.contract.weight")
    assert "builder's own" in planned("sp").explain("stem.weight")
    with pytest.raises(PlanError, match=r"did you mean 'blocks\.3\.contract\.weight'"):
        planned().explain("blocks.3.contract.wieght")
    with pytest.raises(PlanError, match="did you mean"):
        planned()["head.weigth"]


def test_json_there_and_back(tmp_path) -> None:
    for plan in (planned(), planned(mode="explicit"), planned("sp", optimizer="sgd")):
        path = tmp_path / "plan.json"
        plan.save(path)
        again = Plan.load(path)
        assert again == plan
        assert again.digest == plan.digest
        assert Plan.from_json(plan.to_json()) == plan
        assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]
    assert planned().digest == planned().digest != planned("completep").digest


def test_torn_edited_and_foreign_files_are_refused(tmp_path) -> None:
    text = planned().to_json()
    content = json.loads(text)
    content["plan"]["settings"][0]["lr"] *= 2
    edited = json.dumps(content)
    newer = json.dumps({**json.loads(text), "version": 99})
    cases = {text[: len(text) // 2]: "torn", edited: "sha256", newer: "version 99", "[1]": "not a plan", "": "torn"}
    for damaged, says in cases.items():
        (tmp_path / "plan.json").write_text(damaged)
        with pytest.raises(PlanError, match=says):
            Plan.load(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match="not text"):
        Plan.load(tmp_path / "plan.json")
    with pytest.raises(FileNotFoundError):
        Plan.load(tmp_path / "absent.json")


def test_diff_shows_every_difference_and_nothing_else() -> None:
    assert planned().diff(planned()) == ""
    lines = planned().diff(planned("completep")).splitlines()
    assert lines[0] == "rule: depth_mup -> completep"
    assert any(line.startswith("blocks.0.contract.weight: multiplier 0.5 -> 0.25") for line in lines)
    assert not [line for line in lines if line.startswith(("stem", "head", "norm"))]
    fewer = replace(planned(), settings=planned().settings[1:])
    assert planned().diff(fewer) == "- stem.weight 64x6"


def test_depth_of_the_own_stream_counts() -> None:
    plan = planned()
    assert plan["blocks.0.expand.weight"].depth == 4.0
    assert plan["stem.weight"].depth == plan["head.weight"].depth == 1.0


def test_a_multiplier_that_the_code_already_applies_is_divided_out() -> None:
    """The user's forward divides by sqrt(depth) already: existing = l^-1/2 and nothing is left to fold."""
    structure = STRUCTURE
    for kind in ("weight", "bias"):
        structure = with_parameter(structure, f"blocks.0.contract.{kind}", existing=0.5)
    plan = planned(structure=structure)
    done, todo = plan["blocks.0.contract.weight"], plan["blocks.1.contract.weight"]
    assert (done.multiplier, todo.multiplier) == (1.0, 0.5)
    assert (done.std, done.lr, done.eps, done.decay) == (2 * todo.std, 2 * todo.lr, todo.eps / 2, todo.decay / 2)
    # In the gauge without the code's factor the numbers are those of an explicit multiplier.
    explicit = planned(mode="explicit")["blocks.1.contract.weight"]
    assert (done.std, done.lr, done.eps, done.decay) == (explicit.std, explicit.lr, explicit.eps, explicit.decay)


def attention(size: int, existing: float, *fold: str, refusal: Refusal | None = None):
    return replace(STRUCTURE, attentions=(Attention("blocks.0", 8, size, existing, fold, refusal),))


def test_logits_of_a_growing_head_size_get_one_over_size() -> None:
    name = "blocks.0.expand.weight"  # stands for a query projection
    plain = planned()[name]
    grown = planned(structure=attention(32, 0.5, name))[name]
    assert grown.multiplier == pytest.approx(0.5)
    assert grown.std == pytest.approx(plain.std / 2)
    assert grown.lr == pytest.approx(plain.lr / 2)
    done = planned(structure=attention(32, 0.25, name))[name]  # the code divides by the size itself already
    assert (done.multiplier, done.std) == (1.0, plain.std)
    fixed = planned(structure=attention(8, 1.0, name))[name]
    assert fixed == plain
    assert planned("sp", structure=attention(32, 0.5, name))[name].multiplier == 1.0
    why = Refusal("attention", "blocks.0", "split", "query and key share one weight that is used elsewhere")
    with pytest.raises(PlanError, match=r"share one weight.*keep the head size fixed"):
        planned(structure=attention(32, 0.5, refusal=why))
    planned("sp", structure=attention(32, 0.5, refusal=why))


def refused(hook: str | None):
    stream = STRUCTURE.streams["h"]
    why = Refusal("branch 1", "blocks.1", "gelu", "ends at a nonlinearity")
    bad = replace(stream.branches[1], tails=(), refusal=why, hook=hook)
    branches = (stream.branches[0], bad, *stream.branches[2:])
    structure = replace(STRUCTURE, streams={"h": replace(stream, branches=branches)})
    for kind in ("weight", "bias"):
        structure = with_parameter(structure, f"blocks.1.contract.{kind}", tail=False)
    return structure


def test_a_branch_that_cannot_be_folded_is_refused_or_hooked() -> None:
    with pytest.raises(PlanError, match=r"ends at a nonlinearity \(at gelu in blocks\.1\).*mode=\"explicit\""):
        planned(structure=refused("blocks.1"))
    plan = planned(structure=refused("blocks.1"), mode="explicit")
    assert [hook.module for hook in plan.hooks if hook.factor == 0.5] == [f"blocks.{i}" for i in range(8)]
    with pytest.raises(PlanError, match=r"linear layer, or make it a submodule"):
        planned(structure=refused(None), mode="explicit")
    planned("mup", structure=refused("blocks.1"))  # width only: no branch needs a multiplier


def test_a_tied_readout_that_cannot_be_folded_is_refused_where_width_grows() -> None:
    why = Refusal("readout", "", "mm", "the embedding is tied and no norm is in front of it")
    structure = replace(STRUCTURE, refusals=(why,))
    with pytest.raises(PlanError, match=r"tied.*readout must shrink with width"):
        planned(structure=structure)
    planned("sp", structure=structure)


def test_explicit_multipliers_act_like_folded_ones_and_come_off_again() -> None:
    x = torch.linspace(-1, 1, 30, dtype=torch.float64).reshape(5, 6)
    outputs = []
    for mode in ("fold", "explicit"):
        plan, model = planned(mode=mode), built(0, **TARGET).double()
        names = list(model.state_dict())
        plan.init_(plan.init_(model))
        assert list(model.state_dict()) == names
        outputs.append(model(x))
    assert torch.allclose(outputs[0], outputs[1], rtol=1e-9, atol=1e-12)
    hooked = sorted(plan.remove_hooks(model))
    assert hooked == sorted(hook.module for hook in plan.hooks) == sorted([*(f"blocks.{i}" for i in range(8)), "head"])
    assert not torch.allclose(model(x), outputs[1], rtol=1e-2)  # negative control: the hooks did something
    assert torch.equal(plan.attach_hooks(model)(x), outputs[1])
    assert plan.remove_hooks(model)
    assert plan.remove_hooks(model) == []


def test_hooks_that_never_fire_are_found() -> None:
    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    hooks = [replace(planned(mode="explicit").hooks[0], module=path) for path in ("attention", "attention.out_proj")]
    layer = Layer()
    fired = watch(hooks, layer)
    layer(torch.randn(2, 3, 8))
    assert fired == {"attention"}


def test_a_rules_own_multiplier_on_hidden_weights_is_folded_too() -> None:
    """umup writes n^-1/2 in front of hidden weights of std 1: folded, it is depth_mup."""
    one, other = planned("umup"), planned("depth_mup")
    for setting in one.settings:
        same = other[setting.name]
        for what in ("std", "lr", "eps", "decay"):
            assert getattr(setting, what) == pytest.approx(getattr(same, what), rel=1e-12), (setting.name, what)


def test_a_different_plan_gives_a_different_model() -> None:
    """Negative control of everything above: a wrong rule shows in the init."""
    tails = [planned(rule).init_(built(0, **TARGET)).blocks[0].contract.weight for rule in ("mup", "depth_mup")]
    assert rms(tails[0]) == pytest.approx(2 * rms(tails[1]), rel=1e-5)

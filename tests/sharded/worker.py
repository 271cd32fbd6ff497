"""One process of a data-parallel run: trains the planned target wrapped in every way, writes losses and facts as JSON.

Run as `python worker.py RANK PROCESSES FOLDER`; process 0 writes FOLDER/PROCESSES.json. With one process, RANK 0 and no
process group, it is the reference that the others are compared with.
"""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.nn.parallel import DistributedDataParallel

from isoscale import Plan, plan
from isoscale._plan.sharding import whole
from isoscale._train.models import MODELS

BASE, TARGET = {"width": 16, "depth": 2}, {"width": 32, "depth": 4}
BATCH, STEPS, CLIP = 16, 6, 0.5
CPU = torch.device("cpu")


def build(width: int, depth: int) -> nn.Module:
    return MODELS["preln_mlp"].build(width, depth, inputs=(6,), outputs=3)


def block_type() -> type[nn.Module]:
    return type(build(**BASE).blocks[0])


def ddp(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model)


def fsdp1(model: nn.Module) -> nn.Module:
    policy = ModuleWrapPolicy({block_type()})
    return FullyShardedDataParallel(model, use_orig_params=True, device_id=CPU, auto_wrap_policy=policy)


def fsdp2(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def checkpointed(model: nn.Module) -> nn.Module:
    apply_activation_checkpointing(model, check_fn=lambda module: isinstance(module, block_type()))
    return model


def compiled(model: nn.Module) -> nn.Module:
    """Block by block, before sharding: torch does not trace through the hooks of fully_shard itself."""
    for block in model.blocks:
        block.compile(fullgraph=True, backend="aot_eager")
    return model


WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "ddp": ddp,
    "fsdp1": fsdp1,
    "fsdp2": fsdp2,
    "ddp, checkpointed": lambda model: ddp(checkpointed(model)),
    "fsdp1, checkpointed": lambda model: checkpointed(fsdp1(model)),
    "fsdp2, checkpointed": lambda model: fsdp2(checkpointed(model)),
    "fsdp2, compiled": lambda model: fsdp2(compiled(model)),
}


def batches(share: slice) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    whole = [
        (torch.randn(BATCH, 6, generator=generator), torch.randn(BATCH, 3, generator=generator)) for _ in range(STEPS)
    ]
    return [(x[share], y[share]) for x, y in whole]


def train(made: Plan, model: nn.Module, share: slice, clip: Callable[[nn.Module], object]) -> list[float]:
    optimizer = made.optimizer(model, lr=0.02, weight_decay=0.1, eps=1e-4)
    made.check_optimizer(optimizer)
    found = []
    for x, y in batches(share):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        clip(model)
        optimizer.step()
        mean = loss.detach().clone()
        if dist.is_initialized():
            dist.all_reduce(mean)
            mean /= dist.get_world_size()
        found.append(float(mean))
    return found


def fresh(made: Plan) -> nn.Module:
    torch.manual_seed(0)
    return made.init_(build(**TARGET))


def gathered(model: nn.Module) -> dict[str, Tensor]:
    return {name: whole(parameter.detach()) for name, parameter in model.named_parameters()}


def sentence(call: Callable[[], object]) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return "no error"


def facts_of_fsdp(made: Plan) -> dict[str, object]:
    """Initialisation after sharding, checkpoints, and what is refused."""
    found: dict[str, object] = {}
    reference = fresh(made).state_dict()
    # A model drawn with the same seed on every process, sharded, then brought to the plan.
    torch.manual_seed(0)
    late = made.init_(fsdp2(build(**TARGET)))
    state = gathered(late)
    found["init after fully_shard"] = max(float((state[n] - value).abs().max()) for n, value in reference.items())
    found["keys"] = sorted(get_model_state_dict(late)) == sorted(reference)
    # Built without memory, sharded, then filled from one process.
    with torch.device("meta"):
        empty = build(**TARGET)
    found["meta"] = sentence(lambda: made.init_(empty))
    empty = fsdp2(empty).to_empty(device="cpu")
    first = dict(reference) if dist.get_rank() == 0 else {}
    set_model_state_dict(empty, first, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
    filled = gathered(empty)
    found["filled"] = all(torch.equal(filled[name], value) for name, value in reference.items())
    # ... or drawn there by the model's own initialisers, and brought to the plan.
    with torch.device("meta"):
        drawn = build(**TARGET)
    drawn = fsdp2(drawn).to_empty(device="cpu")
    torch.manual_seed(0)
    for module in drawn.modules():
        if isinstance(module, nn.Linear | nn.LayerNorm):
            module.reset_parameters()
    made.init_(drawn)
    rms = {name: float(p.detach().square().mean().full_tensor().sqrt()) for name, p in drawn.named_parameters()}
    weights = [setting for setting in made.settings if setting.name.endswith("weight") and setting.init == "random"]
    found["rms"] = [rms[setting.name] / setting.rms for setting in weights]
    flat = FullyShardedDataParallel(build(**TARGET), use_orig_params=False, device_id=CPU)
    found["flat"] = sentence(lambda: made.param_groups(flat, lr=0.1))
    wrapped = fsdp1(build(**TARGET))
    found["init of fsdp1"] = sentence(lambda: made.init_(wrapped))
    torch.manual_seed(0)
    wrapped = fsdp1(build(**TARGET))
    with FullyShardedDataParallel.summon_full_params(wrapped):
        made.init_(wrapped)
        summoned = {name: p.detach().clone() for name, p in wrapped.named_parameters()}
    found["summoned"] = [float((summoned[n] - reference[n]).abs().max()) for n in reference]
    return found


def unwrapped_clip(model: nn.Module) -> object:
    return torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)


def main(rank: int, processes: int, folder: Path) -> None:
    torch.set_num_threads(1)
    share = slice(None)
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet{processes}", rank=rank, world_size=processes)
        share = slice(rank * BATCH // processes, (rank + 1) * BATCH // processes)
    found: dict[str, object] = {}
    for mode in ("fold", "explicit"):
        made = plan(build, BASE, TARGET, mode=mode)
        clip = lambda model, made=made: made.clip_grad_norm_(model, CLIP)  # noqa: E731
        if processes == 1:
            found[mode] = train(made, fresh(made), share, clip)
            found[f"{mode}, torch's clipping"] = train(made, fresh(made), share, unwrapped_clip)
            continue
        for name, wrap in WRAPS.items():
            if processes == 2 or name in ("ddp", "fsdp1", "fsdp2"):
                found[f"{mode}, {name}"] = train(made, wrap(fresh(made)), share, clip)
        if mode == "fold":
            found["facts"] = facts_of_fsdp(made)
    if rank == 0:
        (folder / f"{processes}.json").write_text(json.dumps(found))
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("error")
    # torch's own notices about what it deprecates in itself, and about a CPU being no accelerator.
    for said in (r".*FSDP.*", r".*torch\.distributed.*", r".*gloo.*", r".*CPU.*", r".*deprecated.*"):
        warnings.filterwarnings("ignore", said, module="torch")
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")  # said by torch.compile
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

"""timm models from small configurations: nothing is downloaded."""

import torch

from tests.zoo.entry import Entry
from tests.zoo.without_torchvision import import_timm

timm = import_timm()


def picture(size: int) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def vit(heads: int, depth: int, **options):
    fixed = {"img_size": 16, "patch_size": 8, "num_classes": 5}
    return timm.models.VisionTransformer(embed_dim=8 * heads, num_heads=heads, depth=depth, **fixed, **options)


def convnext(width: int, depth: int, **options):
    return timm.models.ConvNeXt(
        num_classes=5, depths=(1, depth, depth, 1), dims=(width, width, 2 * width, 2 * width), **options
    )


def mixer(width: int, depth: int):
    return timm.models.MlpMixer(num_classes=5, img_size=16, patch_size=8, num_blocks=depth, embed_dim=width)


def swin(heads: int, depth: int):
    return timm.models.SwinTransformer(
        img_size=32,
        patch_size=4,
        num_classes=5,
        embed_dim=8 * heads,
        depths=(depth, depth),
        num_heads=(heads, 2 * heads),
        window_size=4,
    )


def efficientnet(width: int, depth: int):
    blocks = timm.models._efficientnet_builder.decode_arch_def(
        [[f"ds_r{depth}_k3_s1_e1_c{width}_se0.25"], [f"ir_r{depth}_k3_s2_e4_c{2 * width}_se0.25"]]
    )
    return timm.models.EfficientNet(blocks, num_classes=5, stem_size=width, num_features=4 * width, fix_stem=True)


def nfnet(width: int, depth: int):
    config = timm.models.nfnet.NfCfg(
        depths=(depth, depth),
        channels=(2 * width, 4 * width),
        stem_chs=width,
        group_size=8,
        attn_layer="se",
        attn_kwargs={"rd_ratio": 0.5},
        num_features=8 * width,
    )
    return timm.models.NormFreeNet(config, num_classes=5)


def resnet_se(width: int, depth: int):
    return timm.models.ResNet(
        timm.models.resnet.Bottleneck,
        (1, depth, depth, 1),
        channels=(width, width, 2 * width, 2 * width),
        num_classes=5,
        block_args={"attn_layer": "se"},
    )


def resnet(width: int, depth: int):
    return timm.models.ResNet(timm.models.resnet.BasicBlock, (1, depth, depth, 1), channels=(width,) * 4, num_classes=5)


def cait(heads: int, depth: int):
    return timm.models.Cait(img_size=16, patch_size=8, num_classes=5, embed_dim=8 * heads, num_heads=heads, depth=depth)


HEADS = {"base": {"heads": 4, "depth": 2}, "target": {"heads": 8, "depth": 4}}
WIDTH = {"base": {"width": 16, "depth": 2}, "target": {"width": 32, "depth": 4}}
ENTRIES = (
    Entry("vit", vit, **HEADS, inputs=picture(16), depths=((4, 8),)),
    Entry(
        "vit_layerscale_droppath",
        lambda heads, depth: vit(heads, depth, init_values=1e-5, drop_path_rate=0.1),
        **HEADS,
        inputs=picture(16),
        depths=((4, 8),),
    ),
    Entry("convnext", convnext, **WIDTH, inputs=picture(32), depths=((6, 10),)),
    Entry("mixer", mixer, **WIDTH, inputs=picture(16), depths=((4, 8),)),
    Entry("swin", swin, **HEADS, inputs=picture(32), depths=((8, 16),)),
    Entry("efficientnet", efficientnet, **WIDTH, inputs=picture(32), depths=((3, 7),)),
    Entry("nfnet", nfnet, **WIDTH, inputs=picture(64), depths=((4, 8),), refused=8),
    Entry("resnet", resnet, **WIDTH, inputs=picture(32), depths=((6, 10),)),
    Entry(
        "resnet_se",
        resnet_se,
        base={"width": 32, "depth": 2},
        target={"width": 64, "depth": 4},
        inputs=picture(32),
        depths=((6, 10),),
        refused=10,
    ),
    Entry("resnet_projection_appears", resnet_se, **WIDTH, inputs=picture(32), error="which parameters there are"),
    Entry("cait", cait, **HEADS, inputs=picture(16), depths=((4, 8), (4, 4))),
)

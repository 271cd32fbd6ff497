"""The spec that `isoscale init` writes: valid as it stands, every line explained."""

TEMPLATE = """\
# A sweep for isoscale: every rule, optimizer, size, hyperparameter and seed with every other.
#   isoscale sweep spec.toml     runs it; the same command again goes on after an interruption, or adds what is new
#   isoscale verify spec.toml    says whether the optimum found at the base size holds at the larger ones

# How hyperparameters are carried from the base size to another. sp: plain PyTorch, nothing is carried.
# mup: over width. depth_mup: over width and depth. `isoscale rules list` names all.
rules = ["sp", "mup", "depth_mup"]

# A list, or how many: 3 means 0, 1 and 2. Every size and learning rate is run with the same seeds.
seeds = 3

[store]
path = "runs.sqlite"        # one file on a local disk; holds every run

[model]
name = "residual_mlp"       # residual_mlp, preln_mlp, conv_resnet, conv_resnet_bn, vit, gpt
# activation = "relu"       # relu, tanh or gelu, for the models that have one
# head_size = 16            # vit, gpt
# patch = 2                 # vit

[data]
name = "digits"             # digits, teacher, text, or a path to your own
# context = 32              # length of a window of text or tokens

# The small model you tune: here every rule is plain PyTorch.
[base]
width = 64
depth = 3

[sizes]
widths = [64, 128, 256]     # at the base depth
depths = [3, 6, 12, 24]     # at the base width
# pairs = [[128, 6]]        # further [width, depth]
# target = { width = 256, depth = 24 }   # the model you want in the end

# One table for each optimizer: sgd, adam, adamw, adamw_independent. A grid is a value, a list, or a range in powers
# of two: { log2 = [-10, -4], step = 1 } is 2^-10, 2^-9, ... 2^-4.
[optimizers.adamw]
lr = { log2 = [-11, -4], step = 1 }
weight_decay = 0.0
# beta1 = 0.9
# beta2 = 0.999
# eps = 1e-8

[optimizers.sgd]
lr = { log2 = [-8, 0], step = 1 }
momentum = 0.9
# nesterov = true

# What all optimizers share; an optimizer's own line goes before it.
[hyperparameters]
# beta = [0.5, 1.0]         # constant before every residual branch
# gamma0 = 1.0              # how far features move: the output is divided by it
# zero_init = true          # branches start at zero

[train]
steps = 200
batch_size = 64             # or "full"
schedule = "cosine"         # constant, linear, cosine
warmup = 0.05               # fraction of training in which the learning rate rises
"""

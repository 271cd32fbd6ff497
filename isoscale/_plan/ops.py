"""What each op does to a factor on its operands: the one table that the walks over a graph read.

An op's *alternatives* are the sets of operands any one of which must carry a positive factor c so that the result
carries it: `add` needs both operands, `mul` any one of them, `layer_norm` its gain and bias. No alternative: the op is
not homogeneous and a factor can not be moved through it.
"""

from collections.abc import Iterator

from isoscale._plan.graph import MERGE, Graph, Node, Ref, references


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Each element of the result is an element of the operand (or zero): the stream goes on through these.
VIEWS = words(
    """view _unsafe_view reshape _reshape_alias t transpose permute expand unsqueeze squeeze select slice narrow split
    split_with_sizes unbind chunk clone contiguous alias _to_copy to lift_fresh lift detach index index_select gather
    flip roll unfold as_strided diagonal repeat pixel_shuffle pixel_unshuffle channel_shuffle movedim swapaxes view_as
    native_channel_shuffle reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d tril triu permute_copy view_copy slice_copy select_copy unfold_copy expand_copy t_copy
    transpose_copy split_copy unbind_copy squeeze_copy unsqueeze_copy native_dropout _fused_dropout dropout
    feature_dropout take take_along_dim masked_select repeat_interleave im2col upsample_nearest1d upsample_nearest2d
    upsample_nearest3d _upsample_nearest_exact2d _upsample_nearest_exact1d constant_pad_nd _conj conj
    _autocast_to_reduced_precision _autocast_to_full_precision"""
)
LINEAR = VIEWS | words(
    """sum mean cumsum neg avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d upsample_linear1d upsample_bilinear2d upsample_trilinear3d
    upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d grid_sampler_3d col2im
    _fft_r2c _fft_c2r _fft_c2c view_as_real view_as_complex real imag trace block_diag diag_embed nansum
    rot90 diff"""
)
HOMOGENEOUS = words(
    """relu relu_ leaky_relu abs max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices
    adaptive_max_pool2d adaptive_max_pool1d amax amin max min sort topk median norm linalg_vector_norm
    _prelu_kernel prelu rrelu rrelu_with_noise fractional_max_pool2d"""
)
JOINT = {
    "add": ("self", "other"),
    "sub": ("self", "other"),
    "rsub": ("self", "other"),
    "cat": ("tensors",),
    "stack": ("tensors",),
    "concat": ("tensors",),
    MERGE: ("tensors",),
    "where": ("self", "other"),
    "index_add": ("self", "source"),
    "scatter_add": ("self", "src"),
    "scatter_reduce": ("self", "src"),
    "index_put": ("self", "values"),
    "_unsafe_index_put": ("self", "values"),
    "index_copy": ("self", "source"),
    "scatter": ("self", "src", "value"),
    "masked_scatter": ("self", "source"),
    "masked_fill": ("self", "value"),
    "index_fill": ("self", "value"),
    "slice_scatter": ("self", "src"),
    "select_scatter": ("self", "src"),
    "as_strided_scatter": ("self", "src"),
    "diagonal_scatter": ("self", "src"),
    "copy": ("src",),
    "complex": ("real", "imag"),
    "maximum": ("self", "other"),
    "minimum": ("self", "other"),
    "_to_copy": ("self",),
}
# Any one of the factors, together with the terms that are added to their product.
FACTORS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mul": (("self", "other"), ()),
    "mm": (("self", "mat2"), ()),
    "bmm": (("self", "mat2"), ()),
    "matmul": (("self", "other"), ()),
    "dot": (("self", "tensor"), ()),
    "mv": (("self", "vec"), ()),
    "outer": (("self", "vec2"), ()),
    "addmm": (("mat1", "mat2"), ("self",)),
    "addmv": (("mat", "vec"), ("self",)),
    "addbmm": (("batch1", "batch2"), ("self",)),
    "baddbmm": (("batch1", "batch2"), ("self",)),
    "addcmul": (("tensor1", "tensor2"), ("self",)),
    "linear": (("input", "weight"), ("bias",)),
    "mkldnn_linear": (("input", "weight"), ("bias",)),
    "convolution": (("input", "weight"), ("bias",)),
    "_convolution": (("input", "weight"), ("bias",)),
    "mkldnn_convolution": (("self", "weight"), ("bias",)),
    "_grouped_mm": (("self", "mat2"), ("bias",)),
    "div": (("self",), ()),
    "lerp": (("self",), ("end",)),
    "addcdiv": (("tensor1",), ("self",)),
    "native_layer_norm": (("weight",), ("bias",)),
    "native_batch_norm": (("weight",), ("bias",)),
    "cudnn_batch_norm": (("weight",), ("bias",)),
    "_native_batch_norm_legit": (("weight",), ("bias",)),
    "_native_batch_norm_legit_no_training": (("weight",), ("bias",)),
    "_batch_norm_with_update": (("weight",), ("bias",)),
    "_batch_norm_no_update": (("weight",), ("bias",)),
    "batch_norm": (("weight",), ("bias",)),
    "native_group_norm": (("weight",), ("bias",)),
    "_fused_rms_norm": (("weight",), ()),
    "rms_norm": (("weight",), ()),
    "embedding": (("weight",), ()),
    "_embedding_bag": (("weight",), ()),
    "_embedding_bag_forward_only": (("weight",), ()),
    "_weight_norm_interface": (("g",), ()),
    "_weight_norm": (("g",), ()),
    "_trilinear": (("i1", "i2", "i3"), ()),
    "scaled_dot_product_attention": (("value",), ()),
}
NORMS = frozenset(name for name in FACTORS if "norm" in name and "weight_norm" not in name)
MATRIX_OPERANDS = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "matmul": ("self", "other"),
    "addmm": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "baddbmm": ("batch1", "batch2"),
    "addbmm": ("batch1", "batch2"),
    "_grouped_mm": ("self", "mat2"),
}
CONVOLUTIONS = frozenset({"convolution", "_convolution", "mkldnn_convolution"})
LINEARS = frozenset({"linear", "mkldnn_linear"})
FIRST_OUTPUT_ONLY = NORMS | words(
    """max_pool2d_with_indices max_pool3d_with_indices sort topk max min median adaptive_max_pool2d native_dropout
    _weight_norm_interface"""
)


def fused_attention(op: str) -> bool:
    return op.startswith("_scaled_dot_product") or op in {"scaled_dot_product_attention", "_flash_attention_forward"}


def alternatives(graph: Graph, node: Node) -> Iterator[tuple[str, ...]]:
    """Argument names that must carry the factor, each alternative in turn; weights before activations."""
    op = node.op
    if op in FIRST_OUTPUT_ONLY and node.output != 0:
        return
    if op in LINEAR or op in HOMOGENEOUS:
        if constant_free(node) and (op not in {"max", "min"} or "other" not in node.arguments):
            yield ("self",) if "self" in node.arguments else ("input",)
        elif op in {"max", "min"}:
            yield ("self", "other")
    elif op in JOINT:
        yield tuple(name for name in JOINT[op] if name in node.arguments)
    elif fused_attention(op):
        if node.output == 0:
            yield ("value",)
    elif op == "clamp_min" or op == "clamp":
        if not node.arguments.get("max") and node.arguments.get("min") == 0:
            yield ("self",)
    elif op in FACTORS:
        factors, terms = FACTORS[op]
        present = [name for name in factors if isinstance(node.arguments.get(name), Ref)]
        present.sort(key=lambda name: graph[node.arguments[name].node].data)
        added = tuple(name for name in terms if node.arguments.get(name) is not None)
        for name in present:
            yield (name, *added)


def constant_free(node: Node) -> bool:
    """No constant other than zero is put in (padding)."""
    if node.op == "constant_pad_nd":
        return not node.arguments.get("value")
    return True


def operands(node: Node, names: tuple[str, ...]) -> list[int] | None:
    """The tensors among the named arguments; None if one of them is a number other than zero."""
    found: list[int] = []
    for name in names:
        value = node.arguments[name]
        nodes = list(references(value))
        if not nodes and isinstance(value, (int, float, complex)) and value != 0:
            return None
        found.extend(nodes)
    return found


def scale(graph: Graph, node: Node, name: str) -> float:
    """The known number that this op multiplies the named operand by."""
    factor = 1.0
    if node.op in {"add", "sub", "rsub"}:
        alpha = node.arguments.get("alpha", 1)
        if (name == "other") != (node.op == "rsub") and isinstance(alpha, (int, float)):
            factor = float(alpha)
    elif node.op in {"mul", "div"}:
        rest = node.arguments.get("other" if name == "self" else "self")
        value = graph[rest.node].value if isinstance(rest, Ref) else rest
        if isinstance(value, (int, float)) and value != 0:
            factor = float(value) if node.op == "mul" else 1.0 / float(value)
    elif node.op in {"baddbmm", "addmm", "addbmm"}:
        factor = float(node.arguments.get("beta", 1) if name == "self" else node.arguments.get("alpha", 1))
    return abs(factor)


def carries(graph: Graph, node: Node) -> tuple[str, ...]:
    """Arguments whose numbers go on unchanged (up to a constant factor) in the result: the identity path."""
    if node.op in VIEWS:
        return ("self",) if "self" in node.arguments else ("input",)
    if node.op in {"cat", "stack", MERGE}:
        return ("tensors",)
    if node.op in {"copy"}:
        return ("src",)
    if node.op in {"where", "index_put", "masked_fill", "slice_scatter", "select_scatter", "scatter", "index_copy"}:
        return tuple(name for name in JOINT[node.op] if isinstance(node.arguments.get(name), (Ref, list)))
    if node.op in {"mul", "div"}:
        if plain_number(graph, node.arguments.get("other")):
            return ("self",)
        if node.op == "mul" and plain_number(graph, node.arguments.get("self")):
            return ("other",)
    if node.op in {"add", "sub"}:
        names = [name for name in ("self", "other") if is_data(graph, node.arguments.get(name))]
        return tuple(names) if len(names) == 1 else ()
    return ()


def linear_path(graph: Graph, node: Node) -> tuple[str, ...]:
    """Arguments that reach the result through weights, norms and pooling only: a projection shortcut."""
    found = carries(graph, node)
    if found:
        return found
    if node.op in LINEAR or node.op.startswith(("max_pool", "adaptive_max_pool")):
        return ("self",) if "self" in node.arguments else ("input",)
    if node.op in NORMS and node.output == 0:
        return ("input",)
    if node.op in FACTORS and node.op not in {"mul", "div"}:
        factors, _ = FACTORS[node.op]
        names = [name for name in factors if is_data(graph, node.arguments.get(name))]
        return tuple(names) if len(names) == 1 else ()
    return ()


def plain_number(graph: Graph, value: object) -> bool:
    """A constant (number, mask, buffer): nothing learned, nothing that depends on the data."""
    if isinstance(value, Ref):
        node = graph[value.node]
        return not node.data and not graph.parametric[value.node]
    return isinstance(value, (int, float))


def is_data(graph: Graph, value: object) -> bool:
    return isinstance(value, Ref) and graph[value.node].data


def spread(graph: Graph, index: int) -> bool:
    """A parameter (or sum of them) copied along a new axis."""
    while True:
        node = graph[index]
        if node.op in {"expand", "repeat"} and node.inputs:
            return node.numel > graph[node.inputs[0][1]].numel
        if node.op not in VIEWS or not node.inputs:
            return False
        index = node.inputs[0][1]

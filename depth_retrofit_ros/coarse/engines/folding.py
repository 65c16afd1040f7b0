"""A network as one graph for inputs of fixed sizes, in which nothing is computed anew that depends on weights alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from depth_retrofit_ros.coarse.engines.base import Tensors
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.io.checkpoints import first_line

SMALL = 1 << 22  # numbers of a result that is kept whatever it is made of


def one_graph(network: nn.Module, inputs: Tensors, name: str) -> fx.GraphModule:
    """What ``network`` does for inputs of these shapes, by ``torch.export``: no branch, no loop, no shape that depends on values.

    name: the model's, for the error. Raises ModelError where the network is not such a graph.
    """
    try:
        with torch.inference_mode(False), torch.no_grad():
            graph: Any = torch.export.export(network, tuple(tensor.clone() for tensor in inputs)).module()
            return folded(graph)
    except Exception as error:  # dynamo and export raise classes of their own, which differ among the versions of torch
        raise ModelError(f"{name} is no single graph for torch.export ({first_line(error)}): use coarse engine eager") from error


def folded(graph: fx.GraphModule) -> fx.GraphModule:
    """The graph itself, with each operation on weights alone replaced by its result: resized position embeddings, padded kernels.

    A large result of little, such as one that is expanded, stays computed.
    """
    constants: dict[fx.Node, Tensor] = {}
    for node in list(graph.graph.nodes):
        if node.op == "get_attr":
            value = _attribute(graph, str(node.target))
            if isinstance(value, Tensor):
                constants[node] = value.detach()
        elif _is_pure(node) and node.all_input_nodes and all(source in constants for source in node.all_input_nodes):
            arguments, keywords = fx.node.map_arg((node.args, node.kwargs), lambda source: constants[source])
            value = node.target(*arguments, **keywords)
            largest = max(SMALL, 2 * sum(constants[source].numel() for source in node.all_input_nodes))
            if isinstance(value, Tensor) and value.numel() <= largest:
                constants[node] = value
    for node, value in constants.items():
        if node.op == "get_attr" or all(user in constants for user in node.users):
            continue
        name = f"folded_{node.name}"
        graph.register_buffer(name, value.contiguous().clone())
        with graph.graph.inserting_before(node):
            node.replace_all_uses_with(graph.graph.get_attr(name))
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph


def _attribute(graph: nn.Module, target: str) -> object:
    *path, last = target.split(".")
    for part in path:
        graph = getattr(graph, part)
    return getattr(graph, last)


def _is_pure(node: fx.Node) -> bool:
    """Whether it is an operation that changes none of its arguments and asks for no random number."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    schema = node.target._schema
    return not schema.is_mutable and torch.Tag.nondeterministic_seeded not in node.target.tags

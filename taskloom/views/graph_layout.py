"""Where the nodes of a graph are drawn: columns by distance from the results' inputs, few crossings within them.

Everything is linear in nodes + edges (but for sorting) and nothing recurses: 10,000 nodes take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Sequence

_SWEEPS = 4  # back and forth; further ones hardly change the picture


def columns(inputs: Sequence[Sequence[int]]) -> list[list[int]]:
    """The nodes of each column, in the order in which they are drawn from top to bottom.

    Parameters
    ----------
    inputs : per node the nodes it takes results from.

    Raises
    ------
    ValueError
        There is a cycle.

    Examples
    --------
    >>> columns([[], [0], [0], [1, 2]])
    [[0], [1, 2], [3]]
    """
    users: list[list[int]] = [[] for _ in inputs]
    for node, needed in enumerate(inputs):
        for other in needed:
            users[other].append(node)
    depth = _depths(inputs, users)
    layers: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
    for node, layer in enumerate(depth):
        layers[layer].append(node)
    return _untangled([layer for layer in layers if layer], inputs, users)


def _depths(inputs: Sequence[Sequence[int]], users: Sequence[Sequence[int]]) -> list[int]:
    """The longest way to each node; nodes without inputs stand next to the first node that uses them."""
    depth = [0] * len(inputs)
    missing = [len(needed) for needed in inputs]
    ready = [node for node, count in enumerate(missing) if count == 0]
    for node in ready:  # grows while it is read
        for user in users[node]:
            depth[user] = max(depth[user], depth[node] + 1)
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)
    if len(ready) < len(inputs):
        raise ValueError("a graph with a cycle cannot be drawn")
    for node, needed in enumerate(inputs):
        if not needed and users[node]:
            depth[node] = min([depth[user] for user in users[node]]) - 1
    return depth


def _untangled(
    layers: list[list[int]], inputs: Sequence[Sequence[int]], users: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Move each node to the mean height of its neighbours, column by column, forth and back."""
    height = [0.0] * len(inputs)
    for layer in layers:
        _place(layer, height)
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        neighbours = inputs if forth else users
        for layer in layers if forth else reversed(layers):
            mean = {
                node: sum([height[other] for other in neighbours[node]]) / len(neighbours[node])
                if neighbours[node]
                else height[node]
                for node in layer
            }
            layer.sort(key=mean.__getitem__)
            _place(layer, height)
    return layers


def _place(layer: list[int], height: list[float]) -> None:
    """Heights in a column, around its middle."""
    middle = (len(layer) - 1) / 2
    for row, node in enumerate(layer):
        height[node] = row - middle

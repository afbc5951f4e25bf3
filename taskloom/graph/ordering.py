"""In which order tasks should run, so that few results are alive at a time.

Three rules, on nodes that are integers:

1. Each task is labelled with the number of results that must be alive at once to compute it from scratch
   (the register need of Sethi and Ullman, "The Generation of Optimal Code for Arithmetic Expressions", 1970).
2. Tasks run depth first, the neediest input before the others.
3. A task that is the last to use one of its inputs runs as soon as all its inputs are there.

`links` gives per node what it takes: one link or a tuple of them. A link is a node, or, negative, a constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add
from typing import Any

Link = int | tuple[int, ...]


def dependents_of(nodes: Iterable[int], links: Sequence[Any]) -> list[Any]:
    """Per node those that take its result: `None`, one node, or a list with an entry per use."""
    dependents: list[Any] = [None] * len(links)
    for node in nodes:
        link = links[node]
        for child in (link,) if link.__class__ is int else link:
            if child >= 0:
                known = dependents[child]
                if known is None:
                    dependents[child] = node
                elif known.__class__ is list:
                    known.append(node)
                else:
                    dependents[child] = [known, node]
    return dependents


def run_order(order: list[int], links: Sequence[Any], constants: int, wanted: list[int]) -> list[int]:
    """The best order known, given one in which each node comes behind those it needs, depth first."""
    dependents = dependents_of(order, links)
    inputs, balanced = _inputs_by_need(order, links, constants)
    if balanced and list not in map(type, dependents):
        return order  # trees whose branches are all alike: depth first is all there is to it
    return _depth_first(inputs, dependents, wanted)


def _inputs_by_need(order: list[int], links: Sequence[Any], constants: int) -> tuple[list[Sequence[int]], bool]:
    """The nodes that each node takes, the neediest last, and whether all inputs of any one node need the same."""
    labels = [1] * len(links) + [0] * constants
    label_of = labels.__getitem__
    inputs: list[Sequence[int]] = [()] * len(links)
    balanced = True
    for node in order:
        link = links[node]
        if link.__class__ is int:
            if link >= 0:
                inputs[node] = (link,)
                labels[node] = labels[link] if labels[link] > 2 else 2
            continue
        if not link:
            continue
        needs = list(map(label_of, link))
        need = max(needs)
        if need != min(needs):
            link = sorted([child for child in link if child >= 0], key=label_of)
            needs = sorted(map(label_of, link), reverse=True)
            balanced = balanced and needs[0] == needs[-1]
            need = max(map(add, needs, range(len(needs))))
        elif need:
            need += len(needs) - 1
        else:
            continue
        inputs[node] = link
        labels[node] = need if need > len(link) else len(link) + 1
    return inputs, balanced


def _depth_first(inputs: list[Sequence[int]], dependents: list[Any], wanted: list[int]) -> list[int]:
    missing = list(map(len, inputs))
    uses = [1 if known.__class__ is int else len(known) if known else 0 for known in dependents]
    for node in wanted:
        uses[node] += 2  # so that it never comes down to one
    hungry = bytearray(len(inputs))  # nodes that are the last to use an input, though not ready yet
    done = bytearray(len(inputs))
    order: list[int] = []
    todo = wanted[::-1]
    pop, push, emit = todo.pop, todo.append, order.append
    while todo:
        node = pop()
        if done[node]:
            continue
        taken = inputs[node]
        if missing[node]:
            push(node)
            for child in taken:
                if not done[child]:
                    push(child)
            continue
        done[node] = 1
        emit(node)
        last_users = []
        for child in taken:
            uses[child] -= 1
            if uses[child] == 1:
                for user in dependents[child]:
                    if not done[user]:
                        if missing[user]:
                            hungry[user] = 1
                        else:
                            last_users.append(user)
                        break
        known = dependents[node]
        if known.__class__ is list:
            for user in known:
                missing[user] -= 1
                if hungry[user] and not missing[user]:
                    last_users.append(user)
        elif known is not None:
            missing[known] -= 1
            if missing[known]:
                hungry[known] = 1
            else:
                last_users.append(known)
        if last_users:
            last_users.sort(reverse=True)
            todo += last_users
    return order

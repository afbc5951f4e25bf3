"""In which order tasks should run, so that few results are alive at a time.

Four rules, on nodes that are integers:

1. Each task is labelled with the number of results that must be alive at once to compute it from scratch
   (the register need of Sethi and Ullman, "The Generation of Optimal Code for Arithmetic Expressions", 1970).
2. Tasks run depth first, the neediest input before the others.
3. A task that is the last to use one of its inputs runs as soon as all its inputs are there.
4. A task that is not, whose inputs are kept for others anyway, runs just before its result is wanted.

`links` gives per node what it takes: one link or a tuple of them. A link is a node, or, negative, a constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def run_order(order: Sequence[int], links: Sequence[Any], constants: int, wanted: list[int]) -> list[int]:
    """The best order known of the nodes that `wanted` need, given one in which each node comes behind its inputs."""
    inputs, dependents, labels = _edges_and_labels(order, links, constants)
    ends = {node for node in order if not dependents[node]}
    if not ends.issubset(wanted):  # nodes that nobody asked for would count as users
        inputs, dependents, labels = _edges_and_labels(_needed(order, inputs, wanted), links, constants)
    found = _depth_first(inputs, dependents, labels, wanted)
    return found if max(map(len, dependents), default=0) < 2 else _when_wanted(found, inputs, dependents)


def _needed(order: Sequence[int], inputs: Sequence[Sequence[int]], wanted: list[int]) -> list[int]:
    needed = bytearray(len(inputs))
    for node in wanted:
        needed[node] = 1
    for node in reversed(order):
        if needed[node]:
            for child in inputs[node]:
                needed[child] = 1
    return [node for node in order if needed[node]]


def _edges_and_labels(
    order: Sequence[int], links: Sequence[Any], constants: int
) -> tuple[list[Sequence[int]], list[list[int]], list[int]]:
    """Per node the nodes that it takes, those that take it, and its label."""
    inputs: list[Sequence[int]] = [()] * len(links)
    dependents: list[list[int]] = [[] for _ in links]
    labels = [1] * len(links) + [0] * constants
    label_of = labels.__getitem__
    for node in order:
        link = links[node]
        if link.__class__ is int:
            if link >= 0:
                inputs[node] = (link,)
                dependents[link].append(node)
                labels[node] = labels[link] if labels[link] > 2 else 2
            continue
        needs = sorted(map(label_of, link))
        if needs and not needs[0]:  # constants need nothing
            needs = [need for need in needs if need]
            link = [child for child in link if child >= 0]
        left = len(needs)
        if left:
            label = left + 1  # all inputs and the result
            for need in needs:  # the neediest, which is the last of them, comes first: then nothing else is held
                left -= 1
                if need + left > label:
                    label = need + left
            labels[node] = label
            inputs[node] = link
            for child in link:
                dependents[child].append(node)
    return inputs, dependents, labels


def _depth_first(
    inputs: list[Sequence[int]], dependents: list[list[int]], labels: list[int], wanted: list[int]
) -> list[int]:
    missing = list(map(len, inputs))
    uses = list(map(len, dependents))  # how often a result is still needed
    for node in wanted:
        uses[node] += 2  # so that it never comes down to one
    hungry = bytearray(len(inputs))  # nodes that are the last to use one of their inputs
    for node, users in enumerate(dependents):
        if uses[node] == 1:
            hungry[users[0]] = 1
    done = bytearray(len(inputs))
    order: list[int] = []
    todo = wanted[::-1]
    pop, push, emit = todo.pop, todo.append, order.append
    label_of = labels.__getitem__
    while todo:
        node = pop()
        if done[node]:
            continue
        taken = inputs[node]
        if missing[node]:
            push(node)
            before = len(todo)
            for child in taken:
                if not done[child]:
                    push(child)
            if len(todo) > before + 1:
                todo[before:] = sorted(todo[before:], key=label_of)
            continue
        done[node] = 1
        emit(node)
        last_users = []
        for child in taken:
            uses[child] = left = uses[child] - 1
            if left == 1:
                for user in dependents[child]:
                    if not done[user]:
                        hungry[user] = 1
                        if not missing[user]:
                            last_users.append(user)
                        break
        for user in dependents[node]:
            missing[user] = left = missing[user] - 1
            if not left and hungry[user]:
                last_users.append(user)
        if last_users:
            last_users.sort(reverse=True)
            todo += last_users
    return order


def _when_wanted(order: list[int], inputs: list[Sequence[int]], dependents: list[list[int]]) -> list[int]:
    """Move tasks that free nothing to just before the first that takes their result.

    All inputs of such a task have a later use, so nothing lives longer for it, and its own result lives shorter.
    """
    places = [0] * len(inputs)  # in the order, of the task itself or of the one that it was moved to
    last_uses = [-1] * len(inputs)
    for place in range(len(order) - 1, -1, -1):
        node = order[place]
        taken, users = inputs[node], dependents[node]
        if users and taken:
            first = min([places[user] for user in users])
            if min([last_uses[child] for child in taken]) > first:
                place = first
        places[node] = place
        for child in taken:
            if last_uses[child] < place:
                last_uses[child] = place
    return sorted(order, key=places.__getitem__)

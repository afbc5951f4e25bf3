"""Keys of calls: equal calls of pure functions share one, and are computed once."""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from taskloom.engines.cluster.client.functions import Function
from taskloom.tokenize import tokenize

#: What `marshal` writes in one way only, and tells apart: 1, 1.0 and True are three arguments.
_SIMPLE = frozenset({int, float, str, bytes, bool, type(None)})
_NO_REFERENCES = 2  # the version of marshal's format that has none


def call_token(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """32 hexadecimal digits: the same for equal calls, in every process.

    Arguments that are plain take a microsecond; others are looked into, see `taskloom.tokenize`.
    """
    token = function.token
    if token is None:
        token = bytes.fromhex(tokenize(function.function))
        if function.is_lasting:
            function.token = token
    if not kwargs and _SIMPLE.issuperset(map(type, args)):
        return blake2b(token + marshal.dumps(tuple(args), _NO_REFERENCES), digest_size=16).hexdigest()
    return tokenize(token, list(args), dict(kwargs))

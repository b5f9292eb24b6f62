"""The public handle on a state of a search."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Never, Self

import numpy as np
from numpy.typing import NDArray

from .checking import check_integer, shown
from .completion import Completion, FinishReason
from .errors import InputError, ReleasedNodeError
from .kv.node import Distribution, KVNode
from .kv.tree import KVTree
from .text.brief import brief
from .text.token_codec import TokenCodec


class Node:
    """A handle on the tokens from the root down to this node. Their K and V stay cached as long as there is room.

    The tokens live as long as the handle. If the KV pages are evicted, they are computed again when the node is next
    expanded. Release the node when done (`release()`, `with`, or by dropping the last reference).
    """

    def __init__(self, tree: KVTree, kv: KVNode, completion: Completion, codec: TokenCodec) -> None:
        """Make a handle on `kv`, whose last tokens are those of `completion`."""
        tree.hold(kv)
        self._tree = tree
        self._kv = kv
        self._completion = completion
        self._codec = codec
        self._length = kv.end
        self._finalizer = weakref.finalize(self, tree.release_later, kv)
        self._finalizer.atexit = False

    @property
    def kv(self) -> KVNode:
        """The node's place in the KV tree.

        Raises:
            ReleasedNodeError: The node was released.
        """
        self._check_held()
        return self._kv

    @property
    def token_ids(self) -> NDArray[np.int64]:
        """`[tokens]` int64, the tokens that this node adds to its parent."""
        return self._completion.token_ids

    @property
    def text(self) -> str:
        """The text that this node adds to its parent."""
        return self._completion.text

    @property
    def logprobs(self) -> NDArray[np.float32]:
        """`[tokens]` fp32, log-probabilities of the tokens (see `Sampling.logprobs`).

        Empty for given tokens; `Engine.score` computes theirs.
        """
        return self._completion.logprobs

    @property
    def top_ids(self) -> NDArray[np.int64]:
        """`[tokens, k]` int64, the most probable tokens at each position, best first."""
        return self._completion.top_ids

    @property
    def top_logprobs(self) -> NDArray[np.float32]:
        """`[tokens, k]` fp32, log-probabilities of `top_ids` (see `Sampling.logprobs`)."""
        return self._completion.top_logprobs

    @property
    def confidences(self) -> NDArray[np.float32]:
        """`[tokens]` fp32, Marco-o1's token confidence."""
        return self._completion.confidences

    @property
    def confidence(self) -> float:
        """Mean of `confidences`; NaN for given tokens."""
        return float(self.confidences.mean()) if len(self.confidences) else float("nan")

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the branch ended; None for given tokens and for a prefix of a branch."""
        return self._completion.finish_reason

    @property
    def stop_reason(self) -> str | int | None:
        """Which stop string or stop token ended the branch; see `Completion`."""
        return self._completion.stop_reason

    @property
    def length(self) -> int:
        """Tokens from the root to the end of this node."""
        self._check_held()
        return self._length

    @property
    def path_ids(self) -> list[int]:
        """All tokens from the root to the end of this node."""
        with self._tree.turn:
            return self.kv.path_ids()

    def is_of(self, tree: KVTree) -> bool:
        """Whether this is a node of `tree`."""
        return self._tree is tree

    def append(self, tokens: str | Sequence[int]) -> Node:
        """The node after appending `tokens`; their K and V are computed when it is first expanded.

        Args:
            tokens: Token ids, or text (special tokens in it are recognised).

        Raises:
            InputError: `tokens` is empty, has an id outside the vocabulary, or is text for a model without a tokenizer.
        """
        ids = self._codec.encode(tokens)
        text = tokens if isinstance(tokens, str) else self._codec.decode(ids)
        with self._tree.turn:
            return Node(self._tree, self._tree.insert(self.kv, ids), Completion.given(ids, text), self._codec)

    def prefix(self, tokens: int) -> Node:
        """The node after the first `tokens` tokens of this one; shares their KV pages.

        Raises:
            InputError: `tokens` is not between 1 and the node's own length.
        """
        own = len(self.token_ids)
        tokens = check_integer("tokens", tokens, "an integer")
        if not 1 <= tokens <= own:
            raise InputError(f"prefix of {shown(tokens)} tokens: the node has {own} tokens; ask for 1 to {own}")
        text = self._codec.decode(self.token_ids[:tokens].tolist())
        head = self._completion.head(tokens, text) if tokens < own else self._completion
        with self._tree.turn:
            kv = self._tree.ancestor_at(self.kv, self.length - own + tokens)
            if kv.distribution is None and self._completion.is_raw and tokens < len(self._completion.lse):
                top_ids, top_logits = self._completion.top_ids[tokens], self._completion.top_logits[tokens]
                lse = float(self._completion.lse[tokens])
                kv.keep_distribution(Distribution(top_ids.copy(), top_logits.copy(), lse))
            return Node(self._tree, kv, head, self._codec)

    def ancestor(self, length: int) -> Node:
        """The node after the first `length` tokens from the root, as a node of given tokens; shares their KV pages.

        Raises:
            InputError: `length` is not between 1 and the node's `length`.
        """
        length = check_integer("length", length, "an integer")
        if not 1 <= length <= self.length:
            raise InputError(f"length={shown(length)}: the node has {self.length} tokens; ask for 1 to {self.length}")
        with self._tree.turn:
            kv = self._tree.ancestor_at(self.kv, length)
            ids = kv.path_ids()
            return Node(self._tree, kv, Completion.given(ids, self._codec.decode(ids)), self._codec)

    def release(self) -> None:
        """Release the node; its pages stay cached until they are needed. A second call does nothing.

        Safe in any thread, whatever the engine is doing.
        """
        if self._finalizer.detach():
            self._tree.release_later(self._kv)

    def __reduce__(self) -> Never:
        """Refuse to be copied or pickled: a copy would release the node a second time."""
        raise TypeError(
            "a Node cannot be copied or pickled, because its K and V belong to one engine: keep its path_ids, and pass "
            "them to engine.prefill"
        )

    def _check_held(self) -> None:
        if not self._finalizer.alive:
            raise ReleasedNodeError("this node was released: release it later, or prefill its path_ids again")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        tokens = len(self.token_ids)
        content = f"text={brief(self.text)}" if self.text else f"token_ids={brief(self.token_ids.tolist())}"
        size = f"{tokens} of {self._length} tokens" if self._finalizer.alive else f"{tokens} tokens, released"
        return f"Node({content}, {size}, finish_reason={self.finish_reason!r})"

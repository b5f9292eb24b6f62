"""Rollouts for TRL's GRPOTrainer, drawn as trees: a `rollout_func` whose completions share prompts and beginnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checking import check_integer
from ..engine import Engine
from ..errors import InputError
from ..expansion import Expansion
from ..node import Node
from ..sampling.sampling import Sampling

if TYPE_CHECKING:
    from trl import GRPOTrainer


class TreeCompletion(NamedTuple):
    """One completion of a prompt.

    Attributes:
        token_ids: `[tokens]` int64.
        logprobs: `[tokens]` fp32, log-probabilities of the tokens in the distribution that they were drawn from.
        parent: Index of the completion of the same prompt whose beginning it shares; None for a root.
        fork: How many tokens it shares.
    """

    token_ids: NDArray[np.int64]
    logprobs: NDArray[np.float32]
    parent: int | None
    fork: int


class TreeRollouts:
    """A `rollout_func` for `GRPOTrainer`.

    Of the completions of a prompt, the first `roots` are drawn from the prompt. The others fork from them right before
    their least confident tokens, where different tokens were likely, and cost only what follows the fork (TreeRL, arXiv
    2506.11902, forks at the tokens of highest entropy).

    Reward functions receive two more lists: `tree_parents`, the index of the completion in the batch that each one
    forked from (-1 for a root), and `tree_forks`, how many tokens it shares with that one.

    Attributes:
        engine: The engine with the trainer's present weights; None before the first call.
    """

    engine: Engine | None

    def __init__(self, roots: int | None = None, *, sync: bool = True, **options: Any) -> None:  # noqa: ANN401
        """Draw with engines that are loaded with `options`.

        Args:
            roots: How many completions of each prompt are drawn from its beginning; by default half of them.
            sync: Whether to load the trainer's weights again whenever they have changed, through a temporary folder.
                False draws from the weights that the training starts with.
            options: Options of `Engine.load`.

        Raises:
            InputError: `roots` is not an integer >= 1.
        """
        self._roots = None if roots is None else check_integer("roots", roots, "an integer >= 1", least=1)
        self._sync = sync
        self._options = options
        self._step: int | None = None
        self._calls = 0
        self.engine = None

    def __call__(self, prompts: Sequence[Any], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        """Draw one completion for each of `prompts`; equal ones share a tree.

        Args:
            prompts: Texts or conversations.
            trainer: The trainer, whose arguments say how to sample.

        Returns:
            Lists with one entry per prompt: `prompt_ids`, `completion_ids`, `logprobs`, `tree_parents`, `tree_forks`.

        Raises:
            InputError: The trainer's model is a PEFT model, whose weights cannot be loaded, or an argument is invalid.
            MarcotError: The engine cannot draw a completion.
        """
        engine = self._loaded(trainer)
        encoded = [_prompt_ids(prompt, trainer) for prompt in prompts]
        places: dict[tuple[int, ...], list[int]] = {}
        for place, ids in enumerate(encoded):
            places.setdefault(tuple(ids), []).append(place)
        sampling = self._sampling(trainer)
        trees = draw_trees(engine, {ids: len(members) for ids, members in places.items()}, self._roots, sampling)
        completions: list[TreeCompletion | None] = [None] * len(prompts)
        parents = [-1] * len(prompts)
        for members, tree in zip(places.values(), trees, strict=True):
            for place, completion in zip(members, tree, strict=True):
                completions[place] = completion
                parents[place] = -1 if completion.parent is None else members[completion.parent]
        drawn = [completion for completion in completions if completion is not None]
        return {
            "prompt_ids": encoded,
            "completion_ids": [completion.token_ids.tolist() for completion in drawn],
            "logprobs": [completion.logprobs.tolist() for completion in drawn],
            "tree_parents": parents,
            "tree_forks": [completion.fork for completion in drawn],
        }

    def _loaded(self, trainer: GRPOTrainer) -> Engine:
        """The engine with the weights of the trainer's present step."""
        step = trainer.state.global_step
        if self.engine is not None and (step == self._step or not self._sync):
            return self.engine
        model = trainer.accelerator.unwrap_model(trainer.model)
        if hasattr(model, "merge_adapter"):
            raise InputError("the trainer's model is a PEFT model: marcot's rollouts need a model without adapters")
        self.engine = None  # first, so that two sets of weights are never in memory
        with TemporaryDirectory(prefix="marcot-trl-") as folder:
            model.save_pretrained(folder)
            self.engine = Engine.load(Path(folder), **self._options)
        self._step = step
        return self.engine

    def _sampling(self, trainer: GRPOTrainer) -> Sampling:
        """The sampling parameters in the trainer's arguments, with a new seed for each call."""
        args = trainer.args
        self._calls += 1
        sampling = Sampling(
            temperature=args.temperature,
            top_k=max(args.top_k or 0, 0),
            top_p=args.top_p,
            min_p=args.min_p or 0.0,
            repetition_penalty=args.repetition_penalty,
            max_tokens=args.max_completion_length,
            seed=args.seed + self._calls,
        )
        return sampling if sampling.pure and sampling.temperature == 1 else replace(sampling, logprobs="processed")


def draw_trees(
    engine: Engine, prompts: Mapping[tuple[int, ...], int], roots: int | None, sampling: Sampling
) -> list[list[TreeCompletion]]:
    """Draw completions of prompts as trees, in two batches; see `TreeRollouts`.

    Args:
        engine: The engine.
        prompts: The number of completions of each prompt, by its token ids.
        roots: How many of them are roots; by default half of them.
        sampling: How to draw a completion.

    Returns:
        For each prompt, its completions: roots first.
    """
    nodes = [engine.prefill(ids) for ids in prompts]
    counts = [min(count, (count + 1) // 2 if roots is None else roots) for count in prompts.values()]
    grown = engine.expand([Expansion(node, count, sampling) for node, count in zip(nodes, counts, strict=True)])
    forks = [
        _forks(node, chains, total - len(chains), sampling)
        for node, chains, total in zip(nodes, grown, prompts.values(), strict=True)
    ]
    branches = iter(engine.expand([fork.expansion for each in forks for fork in each]))
    return [
        [
            *(TreeCompletion(chain.token_ids, chain.logprobs, None, 0) for chain in chains),
            *(_forked(fork, chains[fork.chain], next(branches)[0]) for fork in each),
        ]
        for chains, each in zip(grown, forks, strict=True)
    ]


class _Fork(NamedTuple):
    """A fork: a completion leaves chain number `chain` after its first `tokens` tokens."""

    chain: int
    tokens: int
    expansion: Expansion


def _forks(prompt: Node, chains: Sequence[Node], count: int, sampling: Sampling) -> list[_Fork]:
    """`count` forks, taken from the chains in turn, each before its least confident token that is left."""
    ranked = [_ranked(chain) for chain in chains]
    samples = Counter[tuple[int, ...]]({(): len(chains)})  # by the tokens before the fork
    forks = []
    for number in range(count):
        place, turn = number % len(chains), number // len(chains)
        chain, tokens = chains[place], ranked[place][turn % len(ranked[place])]
        before = tuple(chain.token_ids[:tokens].tolist())
        node = chain.prefix(tokens) if tokens else prompt
        rest = replace(sampling, max_tokens=sampling.max_tokens - tokens)
        forks.append(_Fork(place, tokens, Expansion(node, 1, rest, samples[before])))
        samples[before] += 1
    return forks


def _ranked(chain: Node) -> list[int]:
    """The places to fork from a chain, best first. The one before its first token counts only if there is no other."""
    places = np.argsort(chain.confidences, kind="stable").tolist()
    return [place for place in places if place] or [0]


def _forked(fork: _Fork, chain: Node, branch: Node) -> TreeCompletion:
    """The completion that leaves `chain` at `fork` and goes on with `branch`."""
    return TreeCompletion(
        np.concatenate([chain.token_ids[: fork.tokens], branch.token_ids]),
        np.concatenate([chain.logprobs[: fork.tokens], branch.logprobs]),
        fork.chain,
        fork.tokens,
    )


def _prompt_ids(prompt: str | Sequence[Mapping[str, Any]], trainer: GRPOTrainer) -> list[int]:
    """The token ids of a text, or of a conversation in the trainer's chat format."""
    tokenizer = trainer.processing_class
    if isinstance(prompt, str):
        encoded = tokenizer(prompt)
    else:
        encoded = tokenizer.apply_chat_template(
            prompt,
            chat_template=trainer.chat_template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            **trainer.chat_template_kwargs,
        )
    ids: list[int] = encoded["input_ids"]
    return ids

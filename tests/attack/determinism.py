"""Compare branches drawn alone with the same branches in a batch: they must have the same bits, however little memory
there is.

A trial makes a few requests with random sampling, many of them at the border of a truncation, where the last bit of a
sum decides. Each is drawn alone on its own engine, and then in a batch with the other requests and with neighbours of
any width, on an engine with few pages, steps of any size, any number of threads, and a cold or a warm cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random
from typing import NamedTuple

import marcot.engine  # noqa: F401 - first: it decides how OpenMP waits, before torch loads it
import numpy as np
import torch
from attack.campaign import Campaign
from marcot.engine import Engine, Expansion, Node, Sampling
from marcot.engine.errors import PoolTooSmallError
from marcot.engine.sampling.branch_key import branch_key
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.kernels import Compute, select
from marcot.kernels.reference.pick import gumbel
from marcot.model import PAGE_SIZE, Decoder, Tokenizer, WeightFormat, load_checkpoint
from support.checkpoints import tiny
from transformers.utils import logging

VOCABULARY = 331
FIELDS = ("token_ids", "logprobs", "top_ids", "top_logprobs", "confidences", "confidence", "text", "finish_reason")
ALONE_TOKENS = 4096
_SAMPLES = 256
"""Samples to choose from; one of them draws the token at the border."""

STOPS = ("a", "e", "th", " 1", "\n", "an")


class Setting(NamedTuple):
    """A model and how it computes."""

    kind: str
    weights: WeightFormat
    compute: Compute


SETTINGS = (
    Setting("qwen2", "stored", "exact"),
    Setting("llama3.2", "int8", "fast"),
    Setting("llama3.2", "int4", "exact"),
    Setting("llama3.2", "int4", "fast"),
    Setting("smollm2", "bf16", "exact"),
)


class Request(NamedTuple):
    """Samples to draw below some tokens.

    Attributes:
        pieces: Token ids of a prompt, and of the texts appended to it.
        n: Number of samples.
        sampling: How they are drawn.
        first: Index of the first sample.
    """

    pieces: list[list[int]]
    n: int
    sampling: Sampling
    first: int

    def node(self, engine: Engine) -> Node:
        """The node that the samples are drawn below."""
        node = engine.prefill(self.pieces[0])
        for piece in self.pieces[1:]:
            node = node.append(piece)
        return node

    @property
    def pages(self) -> int:
        """The most pages that one sample can need, besides the shared ones."""
        return sum(-(-len(piece) // PAGE_SIZE) + 1 for piece in self.pieces) + self.sampling.max_tokens // PAGE_SIZE + 2


class Comparison(NamedTuple):
    """The results of one trial.

    Attributes:
        compared: Number of branches compared.
        preemptions: How often a branch, compared or not, was preempted.
        recomputed: Number of tokens computed again.
        differences: Descriptions of what differed.
    """

    compared: int
    preemptions: int
    recomputed: int
    differences: list[str]


@cache
def loaded(setting: Setting) -> tuple[Decoder, Tokenizer | None]:
    """The model of a setting, loaded once."""
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        path = tiny.write_tiny(Path(folder), setting.kind, tokenizer=True, vocab_size=VOCABULARY)
        with load_checkpoint(path) as checkpoint:
            cpu = torch.device("cpu")
            return (
                Decoder(checkpoint, select(cpu), torch.float32, cpu, setting.compute, setting.weights),
                checkpoint.tokenizer(),
            )


def engine_of(setting: Setting, tokens: int, limits: SchedulerLimits | None = None) -> Engine:
    """A new engine."""
    return Engine(*loaded(setting), tokens, limits)


def some_sampling(random: Random) -> Sampling:
    """Random sampling parameters."""
    return Sampling(
        temperature=random.choice([0.0, 0.3, 0.8, 1.0, 1.7]),
        top_k=random.choice([0, 0, 1, 5, 9, 20, 20, 33, 64, 100, 1000]),
        top_p=random.choice([1.0, 1.0, 0.95, random.uniform(0.01, 1)]),
        min_p=random.choice([0.0, 0.0, 0.05, random.random()]),
        repetition_penalty=random.choice([1.0, 1.0, 1.0, 1.3, 0.8]),
        frequency_penalty=random.choice([0.0, 0.0, 0.0, 0.7, -0.4]),
        presence_penalty=random.choice([0.0, 0.0, 0.0, 1.3]),
        logit_bias={random.randrange(VOCABULARY): random.uniform(-9, 9) for _ in range(random.choice([0, 0, 0, 4]))},
        allowed_token_ids=tuple(random.sample(range(VOCABULARY), random.choice([0, 0, 0, 90]))),
        bad_words=tuple(random.sample(STOPS, random.choice([0, 0, 0, 2]))),
        min_tokens=random.choice([0, 0, 0, 3, 15]),
        logprobs=random.choice(["raw", "raw", "raw", "processed"]),
        max_tokens=random.choice([1, 2, 3, 8, 20, 40]),
        stop=tuple(random.sample(STOPS, random.choice([0, 0, 1, 2]))),
        include_stop=random.random() < 0.3,
        stop_token_ids=tuple(random.sample(range(VOCABULARY), random.choice([0, 0, 3]))),
        ignore_eos=random.random() < 0.5,
        seed=random.randint(-(2**63), 2**63 - 1),
        top_logprobs=random.choice([1, 5, 5, 20, 64, random.randint(1, 64), 100]),
    )


def some_tokens(random: Random, most: int) -> list[int]:
    return [random.randrange(VOCABULARY) for _ in range(random.randint(1, most))]


def some_request(random: Random, prompts: Sequence[list[int]]) -> Request:
    """A random request that begins with a part of one of `prompts` and then continues with tokens of its own."""
    prompt = random.choice(prompts)
    pieces = [prompt[: random.randint(1, len(prompt))]]
    pieces += [some_tokens(random, random.choice([1, 1, 18])) for _ in range(random.choice([0, 0, 1, 4]))]
    return Request(pieces, random.randint(1, 3), some_sampling(random), random.choice([0, 0, 5, 2**30]))


def at_a_border(random: Random, setting: Setting, request: Request) -> Request:
    """Change `request` so that its top-p limit lies within a few units in the last place of the first token to be
    drawn.
    """
    engine = engine_of(setting, ALONE_TOKENS)
    node = request.node(engine)
    kept, temperature = random.choice([9, 20, 20, 33, 50]), request.sampling.temperature or 1.0
    (wide,) = engine.expand(node, 1, Sampling(temperature=0.0, max_tokens=1, top_logprobs=64))
    ids, scaled = wide.top_ids[:1, :kept], wide.top_logprobs[0, :kept] / np.float32(temperature)
    weights = np.exp(scaled.astype(np.float64) - scaled[0])
    border = random.randrange(1, kept)
    mass = np.float32(weights[:border].sum() / weights.sum())
    sampling = replace(
        request.sampling, temperature=temperature, top_k=kept, min_p=0.0, repetition_penalty=1.0,
        top_p=float(np.clip(mass + random.randint(-2, 2) * np.spacing(mass), 1e-6, 1)),
        top_logprobs=random.choice([1, 5, 20, 40]),
    )  # fmt: skip
    keys = np.array([branch_key(node.kv.path_hash(), sampling.seed, sample) for sample in range(_SAMPLES)])
    noise = gumbel(keys, np.full(_SAMPLES, node.length), np.tile(ids[:, : border + 1], (_SAMPLES, 1)))
    drawing = (scaled[: border + 1] + noise).argmax(axis=1) == border
    return request._replace(sampling=sampling, n=1, first=int(drawing.argmax()))


def attack(random: Random) -> Comparison:
    """Run one trial."""
    setting = random.choice(SETTINGS)
    prompts = [some_tokens(random, 50) for _ in range(random.randint(1, 3))]
    targets = [some_request(random, prompts) for _ in range(random.randint(1, 4))]
    targets = [at_a_border(random, setting, each) if random.random() < 0.5 else each for each in targets]
    neighbours = [some_request(random, prompts) for _ in range(random.randint(1, 6))]
    wide = replace(some_sampling(random), top_logprobs=random.randint(1, 64))
    neighbours.append(some_request(random, prompts)._replace(sampling=wide))

    torch.set_num_threads(random.choice([1, 2, 3]))
    expected = [_alone(setting, request) for request in targets]

    torch.set_num_threads(random.choice([1, 2, 3]))
    everyone = [*targets, *neighbours]
    pages = max(request.pages for request in everyone) + random.choice([0, 2, 10, 200])
    limits = SchedulerLimits(
        step_tokens=random.choice([1, 3, 17, 64, 512]),
        prefill_tokens=random.choice([1, 5, 128]),
        requests=random.choice([1, 2, 5, 16, 256]),
    )
    engine = engine_of(setting, pages * PAGE_SIZE, limits)
    order = random.sample(range(len(everyone)), len(everyone))
    try:
        if random.random() < 0.5:
            _warm(random, engine, neighbours)
        asked = [Expansion(everyone[i].node(engine), *everyone[i][1:]) for i in order]
        families = dict(zip(order, engine.expand(asked), strict=True))
    except PoolTooSmallError:  # splits have given the nodes of a path more pages than expected
        return Comparison(0, 0, 0, [])
    engine.tree.check_integrity()
    differences = [
        f"{setting}, {request}: sample {sample}: {difference}"
        for number, request in enumerate(targets)
        for sample, (node, alone) in enumerate(zip(families[number], expected[number], strict=True))
        for difference in _differences(node, alone, engine, random)
    ]
    return Comparison(sum(map(len, expected)), engine.usage.preemptions, engine.usage.recomputed_tokens, differences)


def _alone(setting: Setting, request: Request) -> list[Node]:
    """Draw every sample on its own engine, below a prompt that is its whole path."""
    nodes = []
    for sample in range(request.n):
        engine = engine_of(setting, ALONE_TOKENS)
        prompt = engine.prefill(list(chain(*request.pieces)))
        nodes += engine.expand(prompt, 1, request.sampling, first=request.first + sample)
    return nodes


def _warm(random: Random, engine: Engine, neighbours: Sequence[Request]) -> None:
    """Fill the cache with branches, some of them held by a handle and some released."""
    for request in random.sample(neighbours, min(2, len(neighbours))):
        for child in engine.expand(request.node(engine), request.n, request.sampling):
            if random.random() < 0.7:
                child.release()


def _differences(node: Node, alone: Node, engine: Engine, random: Random) -> Iterator[str]:
    for field in FIELDS:
        one, other = getattr(node, field), getattr(alone, field)
        both_nan = isinstance(one, float) and np.isnan(one) and np.isnan(other)  # no tokens, no confidence
        if not (np.array_equal(one, other) or both_nan):
            yield f"{field} is {str(one)[:80]} in company, {str(other)[:80]} alone"
    if node.path_ids != alone.path_ids:
        yield "another path"
    is_raw = node._completion.is_raw
    if (
        len(node.token_ids)
        and is_raw
        and random.random() < 0.3
        and node.length <= engine.tree.pool.capacity * PAGE_SIZE
    ):
        (score,) = engine.score([node.path_ids], top_k=1)
        if not np.array_equal(score.logprobs[-len(node.token_ids) :], node.logprobs):
            yield "scored otherwise than drawn"


if __name__ == "__main__":
    campaign = Campaign("searches", Campaign.parser(__doc__, count=400).parse_args())
    for trial in campaign:
        company = attack(trial.random)
        for difference in company.differences:
            campaign.finding(difference)
        for noun, number in zip(("branches", "preemptions", "tokens recomputed"), company[:3], strict=True):
            campaign.count(noun, number)
    campaign.end()

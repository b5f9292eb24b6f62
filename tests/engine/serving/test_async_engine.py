"""One engine for many tasks and threads: each gets what the engine alone would give, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marcot import AsyncEngine, BlockingEngine, Engine, Expansion, Question, Sampling
from marcot.engine import MCTS, EngineBusyError, EngineClosedError, QueueFullError, RequestCancelledError
from marcot.engine.completion import Completion
from marcot.engine.errors import ContextOverflowError, EngineStepError, InputError
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.engine.search import Trace
from support.searches.held_nodes import check_nothing_is_left

PROMPTS = ["How many clips?", "How many clips in May?", "Natalia sold", "How", "<Thought> Wait!"]
SAMPLING = Sampling(temperature=1.5, top_k=0, top_p=1.0, max_tokens=17, ignore_eos=True)
SEARCH = MCTS(rollouts=3, parallel=1, max_rollout_tokens=12, action="mini-step-3", vote_margin=0)


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> str:
    return str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1))


@pytest.fixture
def engine(folder: str) -> Iterator[Engine]:
    engine = Engine.load(folder, kv_tokens=2048)
    yield engine
    check_nothing_is_left(engine)


def served(work: Callable[[AsyncEngine], Coroutine[Any, Any, Any]], engine: Engine, **options: Any) -> Any:
    """Run `work` with an `AsyncEngine` around `engine`; return its result."""

    async def main() -> Any:
        async with AsyncEngine(engine, **options) as many:
            return await asyncio.wait_for(work(many), 60)

    return asyncio.run(main())


def alone(engine: Engine, prompt: str, sampling: Sampling, n: int) -> list[list[Any]]:
    """What the engine itself draws: token ids, log-probabilities, text and finish reason."""
    with engine.prefill(prompt) as node:
        return [drawn(child._completion) for child in engine.expand(node, n, sampling)]


def drawn(completion: Completion) -> list[Any]:
    columns = (completion.token_ids, completion.logprobs, completion.top_ids, completion.top_logprobs)
    return [*(column.tolist() for column in columns), completion.text, completion.finish_reason]


async def whole(pieces: AsyncIterator[Any], n: int) -> list[list[Any]]:
    """The pieces of each choice, joined."""
    parts: list[list[Completion]] = [[] for _ in range(n)]
    async for piece in pieces:
        assert all(part.finish_reason is None for part in parts[piece.choice]), "the last one was before"
        parts[piece.choice].append(piece.drawn)
    return [
        [
            *(
                [each for part in choice for each in getattr(part, name).tolist()]
                for name in ("token_ids", "logprobs", "top_ids", "top_logprobs")
            ),
            "".join(part.text for part in choice),
            choice[-1].finish_reason,
        ]
        for choice in parts
    ]


def test_many_tasks_with_cancels_get_what_each_would_get_alone(engine: Engine) -> None:
    """And nothing is left in the pool, which holds only a few of them at a time, so that some are preempted."""
    samplings = {
        "hot": SAMPLING,
        "greedy": replace(SAMPLING, temperature=0, max_tokens=40),
        "stop": replace(SAMPLING, stop=("a", "e"), max_tokens=40),
        "penalised": replace(SAMPLING, repetition_penalty=1.3),
    }
    expected = {(p, name): alone(engine, p, s, 3) for p in PROMPTS for name, s in samplings.items()}
    chance = random.Random(3)
    calm = Engine.load(engine.settings["model"], kv_tokens=256)

    async def ask(many: AsyncEngine, number: int) -> str:
        prompt, name = PROMPTS[number % 5], list(samplings)[number % 4]
        n = 1 + number % 3
        generation = await many.generate(prompt, samplings[name], n=n, priority=number % 2, request_id=f"r{number}")
        match number % 7:
            case 0:
                return str(many.cancel(f"r{number}"))
            case 1:
                del generation
                return "dropped"
            case 2:
                reader = asyncio.ensure_future(whole(generation, n))
                for _ in range(chance.randrange(5)):
                    await asyncio.sleep(0)
                reader.cancel()
                return "cancelled"
            case 3:
                found = [drawn(completion) for completion in await generation.completions()]
            case _:
                found = await whole(generation, n)
        assert found == expected[prompt, name][:n]
        return "whole"

    async def work(many: AsyncEngine) -> tuple[list[str], Any]:
        told = await asyncio.gather(*(ask(many, number) for number in range(70)))
        await many.drain()
        return told, many.stats()

    told, stats = served(work, calm)
    assert {each: told.count(each) for each in told} == {"whole": 40, "dropped": 10, "cancelled": 10, "True": 10}
    assert (stats.requests, stats.running, stats.waiting, stats.kv_usage) == (0, 0, 0, 0)
    assert stats.preemptions > 0
    gc.collect()
    check_nothing_is_left(calm)


def test_many_threads_get_what_each_would_get_alone(engine: Engine) -> None:
    expected = {prompt: alone(engine, prompt, SAMPLING, 2) for prompt in PROMPTS}
    result = engine.search("How?", SEARCH)[0]
    wrong: list[object] = []

    def ask(number: int) -> None:
        prompt = PROMPTS[number % 5]
        generation = many.generate(prompt, SAMPLING, n=2)
        pieces = [[], []]
        for piece in generation:
            pieces[piece.choice] += piece.drawn.token_ids.tolist()
        if pieces != [choice[0] for choice in expected[prompt]]:
            wrong.append(pieces)
        with many.prefill(prompt) as node:
            families = many.expand([Expansion(node, 2, SAMPLING)])
            families += [many.expand(node, 2, SAMPLING), many.expand(Expansion(node, 2, SAMPLING))]
            wrong.extend(each for each in families if [drawn(kid._completion) for kid in each] != expected[prompt])
        found = many.search("How?", SEARCH).result()
        if replace(found, stats=None) != replace(result, stats=None):
            wrong.append(found)

    with BlockingEngine(engine) as many:
        threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)


def test_a_branch_that_is_over_keeps_its_tokens_when_its_node_is_split(engine: Engine) -> None:
    """Nodes are split when prompts of a conversation share a beginning, here while another branch of the batch runs."""
    [short] = alone(engine, PROMPTS[0], replace(SAMPLING, max_tokens=5), 1)
    [long] = alone(engine, PROMPTS[2], replace(SAMPLING, max_tokens=60), 1)

    async def work(many: AsyncEngine) -> Any:
        first, second = await many.prefill(PROMPTS[0]), await many.prefill(PROMPTS[2])
        expansions = [Expansion(first, 1, replace(SAMPLING, max_tokens=5))]
        expansions += [Expansion(second, 1, replace(SAMPLING, max_tokens=60))]
        families = asyncio.ensure_future(many.expand(expansions))
        while (await many.call(lambda: many.engine.usage.generated_tokens)) < before + 30:
            pass
        (await many.prefill([*first.token_ids.tolist(), *short[0][:3], 9, 9])).release()
        return [drawn(child._completion) for [child] in await families]

    before = engine.usage.generated_tokens
    assert served(work, engine) == [short, long]


def test_a_slow_reader_gets_few_pieces(engine: Engine) -> None:
    expected = alone(engine, PROMPTS[0], SAMPLING, 3)

    async def work(many: AsyncEngine) -> tuple[list[Any], int]:
        generation = await many.generate(PROMPTS[0], SAMPLING, n=3, keep=True)
        first = await anext(generation)
        await many.drain()
        pieces = [first] + [piece async for piece in generation]
        nodes = [piece.node for piece in pieces if piece.node is not None]
        assert [node.text for node in sorted(nodes, key=lambda node: [c[4] for c in expected].index(node.text))] == [
            choice[4] for choice in expected
        ]

        async def again() -> AsyncIterator[Any]:
            for piece in pieces:
                yield piece

        return await whole(again(), 3), len(pieces)

    found, count = served(work, engine)
    assert found == expected
    assert count <= 2 * 3


def test_the_lines_are_bounded_and_close(engine: Engine) -> None:
    async def work(many: AsyncEngine) -> None:
        endless = replace(SAMPLING, max_tokens=2000)
        one = await many.generate("How", endless, request_id="one")
        with pytest.raises(InputError, match="another open request has it"):
            await many.generate("How", endless, request_id="one")
        two = await many.generate("How", endless)
        with pytest.raises(QueueFullError, match="2 requests are open already"):
            await many.prefill("How")
        assert many.stats().requests == 2
        assert many.cancel("one")
        [cut] = await one.completions()
        assert (cut.finish_reason, cut.token_ids.tolist()) == ("cancelled", long[: len(cut.token_ids)])
        assert not many.cancel("one")
        (await many.prefill("How")).release()
        assert many.is_open
        drained = asyncio.ensure_future(many.drain())
        while many.is_open:
            await asyncio.sleep(0)
        with pytest.raises(EngineClosedError, match="draining or closed"):
            await many.prefill("How")
        two.cancel()
        await drained
        await many.close()
        with pytest.raises(EngineClosedError):
            await many.prefill("How")

    [[long, *_]] = alone(engine, "How", replace(SAMPLING, max_tokens=2000), 1)
    served(work, engine, max_requests=2)


def test_closing_ends_what_is_open(engine: Engine) -> None:
    async def work(many: AsyncEngine) -> None:
        generation = await many.generate("How", replace(SAMPLING, max_tokens=2000))
        searching = await many.search("How?", replace(SEARCH, rollouts=1000))
        await anext(searching)
        await many.close()
        [cut] = await generation.completions()
        assert cut.finish_reason == "cancelled"
        with pytest.raises(RequestCancelledError, match="the engine was closed"):
            await searching.result()
        engine.prefill("How").release()  # the caller may use it again

    served(work, engine)


def test_the_engine_belongs_to_one_thread(engine: Engine) -> None:
    async def work(many: AsyncEngine) -> None:
        node = await many.prefill("How many")
        for use in (lambda: engine.prefill("How"), lambda: node.append(" clips"), lambda: AsyncEngine(engine)):
            with pytest.raises(EngineBusyError, match="use an AsyncEngine or a BlockingEngine"):
                use()
        assert (await many.call(lambda: node.append(" clips"))).text == " clips"
        with pytest.raises(EngineBusyError, match="asked from its own thread"):
            await many.call(lambda: many._thread.submit(engine.routines.prefill("How"), print))

    served(work, engine)


def test_a_failure_does_not_affect_other_requests(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = alone(engine, "How", replace(SAMPLING, max_tokens=200), 1)

    def broken(chain: Trace) -> float:
        raise ValueError("no value")

    async def work(many: AsyncEngine) -> None:
        good = await many.generate("How", replace(SAMPLING, max_tokens=200))
        for wrong in ({"prompt": [5] * 5000}, {"prompt": [10**6]}, {"prompt": ""}, {"n": 0}, {"priority": "high"}):
            with pytest.raises((ContextOverflowError, InputError)):
                await many.generate(**{"prompt": "How", **wrong})
        with pytest.raises(InputError):
            await many.score(["How"], top_k=0)
        searching = await many.search("How?", replace(SEARCH, value=broken))
        with pytest.raises(InputError, match="no value"):
            await searching.result()
        with pytest.raises(ZeroDivisionError):
            await many.call(lambda: 1 / 0)
        assert [drawn(each) for each in await good.completions()] == expected

        step, failing = engine._scheduler.step, [True]
        monkeypatch.setattr(
            engine._scheduler, "step", lambda *called: step(*called) if not failing else broken_step(failing)
        )
        ended = await many.generate("How", SAMPLING)
        with pytest.raises(EngineStepError, match="a step of the engine failed: RuntimeError: out of luck"):
            await ended.completions()
        after = await many.generate("How", replace(SAMPLING, max_tokens=200))
        assert [drawn(each) for each in await after.completions()] == expected

    def broken_step(failing: list[bool]) -> None:
        failing.clear()
        raise RuntimeError("out of luck")

    served(work, engine)


def test_the_highest_priority_goes_first(engine: Engine) -> None:
    engine._scheduler._limits = SchedulerLimits(requests=1)
    order: list[int] = []

    async def ask(many: AsyncEngine, number: int, priority: int) -> None:
        generation = await many.generate("How", SAMPLING, priority=priority)
        await generation.completions()
        order.append(number)

    async def work(many: AsyncEngine) -> None:
        first = await many.generate("How", replace(SAMPLING, max_tokens=300))
        asked = [asyncio.ensure_future(ask(many, each, priority)) for each, priority in enumerate([0, -1, 5, 0, 5])]
        await first.completions()
        await asyncio.gather(*asked)

    served(work, engine)
    assert order == [2, 4, 0, 3, 1]


def test_a_search_tells_how_far_it_is(engine: Engine) -> None:
    question = Question("How many?", "3")
    [expected] = engine.search(question, SEARCH)

    async def work(many: AsyncEngine) -> Any:
        searching = await many.search(question, SEARCH)
        progress = [each async for each in searching]
        return progress, await searching.result()

    progress, result = served(work, engine)
    assert replace(result, stats=None) == replace(expected, stats=None)
    assert progress
    assert [each.rollouts for each in progress] == sorted(each.rollouts for each in progress)


def test_scores_share_what_they_follow(engine: Engine) -> None:
    context = [5, 9, 31, 7, 12, 99, 4]
    answers = [[8], [8, 9, 10], list(range(40, 75))]
    expected = engine.score([context + answer for answer in answers], top_k=7)

    async def work(many: AsyncEngine) -> Any:
        with await many.prefill(context) as node:
            before = engine.usage.prefill_tokens
            scores = await many.score(answers, 7, after=node)
            return scores, engine.usage.prefill_tokens - before

    scores, computed = served(work, engine)
    assert computed == sum(map(len, answers))
    for score, whole_score, answer in zip(scores, expected, answers, strict=True):
        assert score.token_ids.tolist() == answer
        for name in ("logprobs", "top_ids", "top_logprobs"):
            np.testing.assert_array_equal(getattr(score, name), getattr(whole_score, name)[-len(answer) :])


def test_a_score_that_is_kept_is_a_prefill(engine: Engine) -> None:
    prompt = [5, 9, 31, 7, 12, 99, 4, *range(40, 75)]
    fresh = Engine.load(engine.settings["model"], kv_tokens=2048)
    [expected] = fresh.score([prompt])
    [family] = fresh.expand([Expansion(fresh.prefill(prompt), 2, SAMPLING)])

    async def work(many: AsyncEngine) -> None:
        for _ in range(2):
            [score] = await many.score([prompt], keep=True)
            np.testing.assert_array_equal(score.logprobs, expected.logprobs)
        await many.score([prompt[:20]], keep=True)
        before = engine.usage.prefill_tokens, engine.usage.recomputed_tokens
        generation = await many.generate(prompt, SAMPLING, n=2)
        found = [drawn(completion) for completion in await generation.completions()]
        assert found == [drawn(child._completion) for child in family]
        assert generation.cached_tokens == len(prompt)
        assert (engine.usage.prefill_tokens, engine.usage.recomputed_tokens) == before

    served(work, engine)
    assert sum(node.tokens[:1] == prompt[:1] for node in engine.tree.nodes()) == 1


def test_a_loop_that_is_gone_harms_nobody(engine: Engine) -> None:
    many = AsyncEngine(engine)

    async def leave() -> object:
        generation = await many.generate("How", replace(SAMPLING, max_tokens=500))
        await anext(generation)
        return generation

    kept = asyncio.run(leave())

    async def other() -> list[Completion]:
        return await (await many.generate("How", SAMPLING)).completions()

    [completion] = asyncio.run(other())
    assert completion.finish_reason == "length"
    del kept
    gc.collect()
    asyncio.run(many.close())


def test_a_model_name_is_no_engine() -> None:
    for kind in (AsyncEngine, BlockingEngine):
        with pytest.raises(InputError, match=r"engine='model': must be an Engine, such as Engine.load\(...\) returns"):
            kind("model")  # type: ignore[arg-type]

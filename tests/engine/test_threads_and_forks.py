"""An engine serves one thread of one process at a time; any other caller gets an error at once and does no harm."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import MCTS, Engine, Expansion, Node, Outcome, Sampling, SearchResult
from marcot.engine.errors import EngineBusyError, ForkedEngineError
from marcot.engine.search import Trace
from marcot.engine.turn import Turn
from support.searches.held_nodes import check_nothing_is_left

QUICK = MCTS(rollouts=3, max_rollout_tokens=12, action="mini-step-3", vote_margin=0)
FEW = Sampling(max_tokens=4, ignore_eos=True, seed=5)


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> str:
    return str(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1))


@pytest.fixture
def engine(folder: str) -> Iterator[Engine]:
    engine = Engine.load(folder, kv_tokens=8192)
    yield engine
    check_nothing_is_left(engine)


class Elsewhere(threading.Thread):
    """A thread that runs `work`; `outcome` is what it returned or raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._work()
        except BaseException as error:
            self.outcome = error

    def result(self) -> Any:
        self.join(60)
        assert not self.is_alive(), "it hangs"
        return self.outcome


class AtWork:
    """A search in another thread, which stays inside the engine until it is allowed to go on."""

    def __init__(self, engine: Engine) -> None:
        self._inside, self._go_on = threading.Event(), threading.Event()
        self._thread = Elsewhere(lambda: engine.search(["How many?", "What?"], replace(QUICK, value=self._value)))
        assert self._inside.wait(60)

    def _value(self, chain: Trace) -> float:
        self._inside.set()
        assert self._go_on.wait(60)
        return 0.5

    def results(self) -> list[SearchResult]:
        self._go_on.set()
        found: list[SearchResult] = self._thread.result()
        return found


CALLS: dict[str, Callable[[Engine, Node, Any], object]] = {
    "prefill": lambda engine, node, stream: engine.prefill("How"),
    "expand": lambda engine, node, stream: engine.expand(node, 1, FEW),
    "expand-many": lambda engine, node, stream: engine.expand([Expansion(node, 1, FEW)]),
    "score": lambda engine, node, stream: engine.score(["How many?"]),
    "search": lambda engine, node, stream: engine.search("How?", QUICK),
    "stream": lambda engine, node, stream: next(engine.stream(["How?"], QUICK)),
    "text": lambda engine, node, stream: next(engine.stream_text(node, FEW)),
    "next-of-a-stream": lambda engine, node, stream: next(stream),
    "append": lambda engine, node, stream: node.append("many"),
    "prefix": lambda engine, node, stream: node.prefix(1),
    "ancestor": lambda engine, node, stream: node.ancestor(1),
    "path_ids": lambda engine, node, stream: node.path_ids,
}


@pytest.mark.parametrize("call", CALLS)
def test_a_second_thread_gets_an_error(engine: Engine, call: str) -> None:
    expected = engine.search(["How many?", "What?"], replace(QUICK, value=lambda chain: 0.5))
    with engine.prefill("How many clips?") as node:
        stream = engine.stream(["How?", "When?"], QUICK)
        next(stream)
        busy = AtWork(engine)
        with pytest.raises(
            EngineBusyError, match="another thread is using this engine, which serves one thread at a time"
        ):
            CALLS[call](engine, node, stream)
        assert [replace(each, stats=None) for each in busy.results()] == [
            replace(each, stats=None) for each in expected
        ]
        kept = CALLS[call](engine, node, stream)  # the engine is free
        del kept
        stream.close()


def test_nodes_are_released_while_another_thread_works(engine: Engine) -> None:
    nodes = [engine.prefill([5, 6, 7, number]) for number in range(3, 43)]
    children = [child for family in engine.expand([Expansion(node, 2, FEW) for node in nodes]) for child in family]
    kvs = [child.kv for child in children]
    stream = engine.stream(["How?"] * 3, QUICK)
    next(stream)
    busy = AtWork(engine)
    lengths = [node.length for node in nodes]
    for node in nodes[::2]:
        node.release()
    del node, nodes, children
    gc.collect()
    stream.close()
    dropped = engine.stream(["How?"] * 3, QUICK)
    del dropped
    assert lengths == [4] * 40
    assert {kv.handles for kv in kvs} == {1}, "not while somebody is at work"
    busy.results()
    assert {kv.handles for kv in kvs} == {0}


def test_a_node_is_released_at_once_if_no_thread_works(engine: Engine) -> None:
    node, other = engine.prefill("How"), engine.prefill("What")
    kvs = [node.kv, other.kv]
    node.release()
    assert isinstance(Elsewhere(other.release).result(), type(None))
    assert [kv.handles for kv in kvs] == [0, 0]


def test_work_that_is_deferred_while_a_turn_ends_is_not_forgotten() -> None:
    """Another thread may add work after the last look at the queue, and before the turn is free."""
    done: list[str] = []

    class Interleaved(Turn):
        late = True

        def run_deferred(self) -> None:
            super().run_deferred()
            if self.late:
                self.late = False
                Elsewhere(lambda: self.defer(lambda: done.append("late"))).result()

    turn = Interleaved()
    with turn:
        pass
    assert done == ["late"]
    turn.late = True
    turn.defer(lambda: done.append("first"))
    assert done == ["late", "first", "late"]


def test_threads_take_turns(engine: Engine) -> None:
    """One after the other, while a suspended stream waits."""
    expected = [replace(result, stats=None) for result in engine.search(["How?", "When?"], QUICK)]
    stream = engine.stream(["How?", "When?"], QUICK, concurrency=1)
    events = [next(stream)]
    [result] = Elsewhere(lambda: engine.search("How?", QUICK)).result()
    assert replace(result, stats=None) == expected[0]
    events += Elsewhere(lambda: list(stream)).result()
    results = [event.result for event in events if isinstance(event, Outcome)]
    assert [replace(result, stats=None) for result in results if result] == expected


def test_many_threads_at_once_leave_a_sound_tree(engine: Engine) -> None:
    """A thread that is told to wait tries again. Nobody gets the result of another."""
    texts = [f"How many clips in {number} days?" for number in range(6)]
    expected = {text: engine.search(text, QUICK)[0].answer for text in texts}

    def search(text: str) -> bool:
        for _ in range(5):
            while True:
                try:
                    [result] = engine.search(text, QUICK)
                    break
                except EngineBusyError:
                    time.sleep(0.001)
            if result.answer != expected[text]:
                return False
        return True

    assert [thread.result() for thread in [Elsewhere(lambda text=text: search(text)) for text in texts]] == [True] * 6


def in_a_fork(work: Callable[[], object]) -> int:
    """The exit status of a fork that does `work` and exits normally; it is killed after a minute."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise AssertionError("the fork hangs")


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "at-work"])
def test_a_fork_gets_an_error(engine: Engine, busy: bool) -> None:
    with engine.prefill("How many clips?") as node:
        stream = engine.stream(["How?", "When?"], QUICK)
        events = [next(stream)]
        other = AtWork(engine) if busy else None

        def work() -> None:
            for call in CALLS.values():
                with pytest.raises(ForkedEngineError, match="does not work in its fork"):
                    call(engine, node, stream)
            assert node.length == len(node.token_ids)
            stream.close()
            node.release()

        assert in_a_fork(work) == 0
        if other is not None:
            other.results()
        events += stream
        assert all(event.error is None for event in events if isinstance(event, Outcome))


_SCRIPT = """
import os, sys
from marcot.engine import Engine
from marcot.engine.errors import ForkedEngineError
folder, before, after = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
engine = Engine.load(folder, threads=before, kv_tokens=1024)
node = engine.prefill([5, 6, 7])
[child] = engine.expand(node)
fork = os.fork()
if fork:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]))
try:
    own = Engine.load(folder, threads=after, kv_tokens=1024)
    [again] = own.expand(own.prefill([5, 6, 7]))
    assert again.token_ids.tolist() == child.token_ids.tolist()
    print("the same")
except ForkedEngineError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (1, 1, "the same"),
        (1, 2, "the same"),
        (2, 1, "the same"),
        (2, 2, "is a fork of one that has loaded an engine on several threads, so 2 threads would wait forever"),
    ],
)
def test_a_fork_loads_its_own(folder: str, before: int, after: int, said: str) -> None:
    """Both processes end normally: nothing waits at exit."""
    command = [sys.executable, "-c", _SCRIPT, folder, str(before), str(after)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda call: call.__name__)
def test_engines_and_nodes_are_not_copied(engine: Engine, copied: Callable[[object], object]) -> None:
    with engine.prefill([5, 6, 7]) as node:
        with pytest.raises(TypeError, match=r"load one in each process"):
            copied(engine)
        with pytest.raises(TypeError, match=r"keep its path_ids"):
            copied(node)
        assert engine.expand(node, 1, FEW)[0].token_ids.tolist()

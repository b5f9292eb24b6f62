"""Which answer wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .search import Ending, State


def chosen(rule: str, endings: Sequence[Ending], root: State) -> Ending:
    """The chain whose answer wins by the rule of this name."""
    able = [ending for ending in endings if ending.finish_reason in ("eos", "stop") and ending.answer] or list(endings)
    if rule == "best-rollout":
        return best(able)
    if rule == "majority":
        return vote(able, lambda ending: 1.0)
    if rule == "confidence-vote":
        return vote(able, lambda ending: ending.value)
    state = root
    while any(child.visits for child in state.children):
        state = favourite([child for child in state.children if child.visits], rule == "most-visits")
    return best([ending for ending in endings if ending.state is state])


def favourite(states: Sequence[State], by_visits: bool) -> State:
    found = states[0]
    for state in states[1:]:
        mine, its = state.total / state.visits, found.total / found.visits
        more, surer = state.visits > found.visits, mine > its
        if (more or (state.visits == found.visits and surer)) if by_visits else (surer or (mine == its and more)):
            found = state
    return found


def vote(endings: Sequence[Ending], weight: Callable[[Ending], float]) -> Ending:
    winners: list[Ending] = []
    for answer in dict.fromkeys(ending.answer for ending in endings):
        camp = [ending for ending in endings if ending.answer == answer]
        mine, its = sum(map(weight, camp)), sum(map(weight, winners))
        if not winners or mine > its or (mine == its and best(camp).value > best(winners).value):
            winners = camp
    return best(winners)


def best(endings: Sequence[Ending]) -> Ending:
    found = endings[0]
    for ending in endings[1:]:
        if ending.value > found.value:
            found = ending
    return found

"""`/v1/branches`: branches that clients hold, so that a search that runs elsewhere keeps its KV cache here."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request

from ...expansion import Expansion
from ...node import Node
from ..answers import ERRORS
from ..errors import RequestError
from ..forms.branches import branch_score, extended
from ..forms.drawing import check_logprobs, sampling_of
from ..forms.token_texts import TokenTexts
from ..leases import Lease
from ..prompts import chat_ids, prompt_ids, text_ids
from ..schemas.branch import (
    AppendRequest,
    BranchAnswer,
    BranchesAnswer,
    BranchScoreRequest,
    BranchScoresAnswer,
    BranchTokens,
    CreateRequest,
    ExtendAnswer,
    ExtendRequest,
    ForkRequest,
    ReleaseAnswer,
    ReleaseRequest,
)
from ..schemas.chat import PromptChat
from ..service import Service, ServiceOf
from ..strict_route import StrictRoute
from ..waiting import together, while_connected

router = APIRouter(prefix="/v1/branches", route_class=StrictRoute, tags=["Branches"], responses=ERRORS)


@router.post("")
async def create(request: CreateRequest, http: Request, service: ServiceOf) -> BranchesAnswer:
    """Create a branch for each prompt and compute its KV cache."""
    service.model_name(request.model)
    service.check_requests(len(request.prompts), "prompts")

    async def computed() -> list[Node]:
        prompts = [await _ids(service, prompt, request.add_special_tokens) for prompt in request.prompts]
        priority, salt = -request.priority, request.cache_salt
        return await together(service.engine.prefill(ids, priority=priority, cache_salt=salt) for ids in prompts)

    with service.leases.room(len(request.prompts)):
        nodes = await while_connected(http, computed(), service.settings.request_timeout)
        return _answer(service, [service.leases.add(node, None) for node in nodes])


@router.post("/release")
async def release(request: ReleaseRequest, service: ServiceOf) -> ReleaseAnswer:
    """Release branches."""
    return ReleaseAnswer(released=service.leases.release(request.branches))


@router.post("/extend")
async def extend(request: ExtendRequest, http: Request, service: ServiceOf) -> ExtendAnswer:
    """Draw samples that continue branches, all in one batch; each sample is a new branch."""
    wanted = sum(each.n for each in request.extensions)
    if wanted > service.settings.max_choices:
        raise RequestError(
            f"extensions: {wanted} samples are more than {service.settings.max_choices}: send fewer at a time",
            param="extensions",
        )
    with service.leases.room(wanted), service.leases.using(each.branch for each in request.extensions) as leases:
        expansions = []
        for each, lease in zip(request.extensions, leases, strict=True):
            _check_sampling(each.sampling.n, each.sampling.stream)
            most = service.most_tokens(each.sampling.max_tokens, is_default=each.sampling.leaves_out("max_tokens"))
            sampling = sampling_of(each.sampling, most, each.sampling.logprobs, service.settings)
            expansions.append(Expansion(lease.node, each.n, sampling, each.first))
        work = service.engine.expand(expansions, priority=-request.priority)
        drawn = await while_connected(http, work, service.settings.request_timeout)
        data = []
        for asked, lease, nodes in zip(request.extensions, leases, drawn, strict=True):
            texts = TokenTexts(service.engine.engine.tokenizer, bool(asked.sampling.return_tokens_as_token_ids))
            data.append(
                [
                    extended(
                        _told(service, service.leases.add(node, lease.id)),
                        node,
                        asked.sampling,
                        texts,
                    )
                    for node in nodes
                ]
            )
        return ExtendAnswer(data=data)


@router.post("/fork")
async def fork(request: ForkRequest, http: Request, service: ServiceOf) -> BranchesAnswer:
    """Create branches that are prefixes of others and share their KV cache."""
    count = len(request.forks)
    with service.leases.room(count), service.leases.using(each.branch for each in request.forks) as leases:
        for each, lease in zip(request.forks, leases, strict=True):
            if each.length > lease.node.length:
                raise RequestError(f"forks: branch {each.branch} has only {lease.node.length} tokens", param="forks")
        pairs = list(zip(leases, request.forks, strict=True))
        work = service.engine.call(lambda: [lease.node.ancestor(each.length) for lease, each in pairs])
        nodes = await while_connected(http, work, service.settings.request_timeout)
        return _answer(service, _held(service, nodes, leases))


@router.post("/append")
async def append(request: AppendRequest, http: Request, service: ServiceOf) -> BranchesAnswer:
    """Create branches that continue others with given tokens, which are computed with the next extension."""
    count = len(request.appendings)
    with service.leases.room(count), service.leases.using(each.branch for each in request.appendings) as leases:
        given = [await _given(service, each.tokens) for each in request.appendings]
        pairs = list(zip(leases, given, strict=True))
        work = service.engine.call(lambda: [lease.node.append(tokens) for lease, tokens in pairs])
        nodes = await while_connected(http, work, service.settings.request_timeout)
        return _answer(service, _held(service, nodes, leases))


@router.post("/score")
async def score(request: BranchScoreRequest, http: Request, service: ServiceOf) -> BranchScoresAnswer:
    """Score given tokens after branches; branches are not computed again."""
    check_logprobs(request.top_logprobs, service.settings, "top_logprobs")
    service.check_requests(len(request.continuations), "continuations")
    texts = TokenTexts(service.engine.engine.tokenizer, request.return_tokens_as_token_ids)
    with service.leases.using(each.branch for each in request.continuations) as leases:
        given = [await _given(service, each.tokens) for each in request.continuations]
        work = (
            service.engine.score([tokens], max(request.top_logprobs, 1), after=lease.node, priority=-request.priority)
            for lease, tokens in zip(leases, given, strict=True)
        )
        scores = await while_connected(http, together(work), service.settings.request_timeout)
        return BranchScoresAnswer(
            data=[
                branch_score(lease.id, each, request.top_logprobs, texts)
                for lease, [each] in zip(leases, scores, strict=True)
            ]
        )


@router.get("/{branch}")
async def show(branch: str, service: ServiceOf) -> BranchTokens:
    """Return a branch with all its tokens."""
    lease = service.leases.get(branch)
    path = await service.engine.call(lambda: lease.node.path_ids)
    return BranchTokens(**_told(service, lease).model_dump(), token_ids=path)


@router.delete("/{branch}")
async def delete(branch: str, service: ServiceOf) -> ReleaseAnswer:
    """Release a branch."""
    service.leases.get(branch)
    return ReleaseAnswer(released=service.leases.release([branch]))


async def _ids(service: Service, prompt: str | list[int] | PromptChat, add_special_tokens: bool) -> list[int]:
    if isinstance(prompt, PromptChat):
        return await chat_ids(service, prompt)
    return await prompt_ids(service, prompt, add_special_tokens)


async def _given(service: Service, tokens: str | list[int]) -> list[int]:
    """Token ids of a continuation, given as text or token ids."""
    return await text_ids(service, tokens, add_special_tokens=False) if isinstance(tokens, str) else tokens


def _check_sampling(n: int | None, stream: bool | None) -> None:
    """Refuse `n` and `stream` inside `sampling`: `n` belongs to the extension, and extensions are not streamed."""
    if n is not None or stream:
        raise RequestError("sampling: set n outside sampling; extensions are not streamed", param="extensions")


def _held(service: Service, nodes: Sequence[Node], parents: Sequence[Lease]) -> list[Lease]:
    return [service.leases.add(node, parent.id) for node, parent in zip(nodes, parents, strict=True)]


def _told(service: Service, lease: Lease) -> BranchAnswer:
    return BranchAnswer(
        id=lease.id, parent=lease.parent, length=lease.node.length, expires_in=service.leases.left(lease)
    )


def _answer(service: Service, leases: Sequence[Lease]) -> BranchesAnswer:
    return BranchesAnswer(data=[_told(service, lease) for lease in leases])

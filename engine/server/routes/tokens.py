"""Converts texts to tokens and back: `/tokenize`, `/detokenize` and `/tokenizer_info`."""

from __future__ import annotations

from fastapi import APIRouter

from ..answers import ERRORS
from ..errors import RequestError
from ..prompts import chat_ids, text_ids
from ..schemas.tokens import (
    DetokenizeAnswer,
    DetokenizeRequest,
    TokenizeAnswer,
    TokenizeChat,
    TokenizeRequest,
    TokenizerInfo,
)
from ..service import ServiceOf
from ..strict_route import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["Tokens"], responses=ERRORS)


@router.post("/tokenize")
async def tokenize(request: TokenizeRequest, service: ServiceOf) -> TokenizeAnswer:
    """Return the token ids of a text, or of a conversation in the model's chat format."""
    service.model_name(request.model)
    if isinstance(request, TokenizeChat):
        ids = await chat_ids(service, request)
    else:
        ids = await text_ids(service, request.prompt, request.add_special_tokens)
    spelled = [service.tokenizer.token(id) or "" for id in ids] if request.return_token_strs else None
    return TokenizeAnswer(count=len(ids), max_model_len=service.context, tokens=ids, token_strs=spelled)


@router.post("/detokenize")
async def detokenize(request: DetokenizeRequest, service: ServiceOf) -> DetokenizeAnswer:
    """Return the text of token ids."""
    service.model_name(request.model)
    vocabulary = service.engine.engine.config.vocab_size
    if any(token >= vocabulary for token in request.tokens):
        raise RequestError(f"tokens: must be from 0 to {vocabulary - 1}, the model's vocabulary", param="tokens")
    return DetokenizeAnswer(prompt=service.tokenizer.decode(request.tokens, keep_special=True))


@router.get("/tokenizer_info")
async def tokenizer_info(service: ServiceOf) -> TokenizerInfo:
    """Describe the model's tokenizer."""
    tokenizer = service.tokenizer
    bos = tokenizer.bos_token_id
    return TokenizerInfo(
        tokenizer_class="marcot.model.Tokenizer",
        vocab_size=tokenizer.vocab_size,
        max_model_len=service.context,
        bos_token=None if bos is None else tokenizer.token(bos),
        adds_bos=tokenizer.adds_bos,
        eos_token_ids=sorted(service.engine.engine.config.eos_token_ids),
        special_tokens=tokenizer.special_tokens,
        has_chat_template=tokenizer.chat_template is not None,
    )

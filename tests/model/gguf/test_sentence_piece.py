"""The SentencePiece tokenizer of GGUF files against a few plain lines of its algorithm."""

import random
from collections import Counter
from itertools import pairwise, product

import pytest
from marcot.model import TokenizerError
from marcot.model.gguf import sentence_piece
from marcot.model.gguf.tokenizer import tokenizer_from_gguf

SPACE = "\u2581"
SPECIAL = ["<unk>", "<s>", "</s>", "[INST]"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
CORPUS = (
    "Natalia sold 48 clips in April, and then she sold half as many clips in May. "
    "So she sold 48 / 2 = 24 clips in May, and altogether 48 + 24 = 72 clips. aaaaaa ababab abababab "
    "小明有三个苹果，又买了五个。一共有八个苹果。"
)


def words() -> list[str]:
    """Frequent pieces of the corpus and all of its characters, best first."""
    text = SPACE + CORPUS.replace(" ", SPACE)
    pieces = Counter(text[i : i + length] for length in range(2, 7) for i in range(len(text) - length + 1))
    return [piece for piece, count in pieces.most_common(400) if count > 1] + sorted(set(text))


METADATA = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": [*SPECIAL, *BYTES, *words()],
    "tokenizer.ggml.scores": [0.0] * (4 + 256) + [-float(rank) for rank in range(len(words()))],
    "tokenizer.ggml.token_type": [2, 3, 3, 4, *[6] * 256, *[1] * len(words())],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
}


def textbook(text: str) -> list[int]:
    """Join the pair of neighbours that makes the best word, the first of equals, until no pair does. The rest become
    bytes.
    """
    tokens = METADATA["tokenizer.ggml.tokens"]
    ids = {token: id for id, token in enumerate(tokens)}
    pieces = list(SPACE + text.replace(" ", SPACE))
    while True:
        joined = [(ids.get(a + b), at) for at, (a, b) in enumerate(pairwise(pieces))]
        best = min(((id, at) for id, at in joined if id is not None), default=None)
        if best is None:
            break
        pieces[best[1] : best[1] + 2] = [tokens[best[0]]]
    return [id for piece in pieces for id in ([ids[piece]] if piece in ids else [4 + b for b in piece.encode()])]


def test_texts_are_encoded_as_the_algorithm_says() -> None:
    tokenizer = tokenizer_from_gguf(METADATA, "file")
    draw = random.Random(3)
    texts = [CORPUS, "naïve 😀 <0x41>", "  two  spaces ", "\n\ttab"]
    texts += ["".join(draw.choices("ab sclip M.4", k=40)) for _ in range(60)]
    for text in texts:
        assert tokenizer.encode(text) == textbook(text), text
        assert tokenizer.decode(tokenizer.encode(text)) == " " + text


def test_special_tokens_are_matched_whole_and_begin_a_text_anew() -> None:
    tokenizer = tokenizer_from_gguf(METADATA, "file")
    assert (tokenizer.bos_token_id, tokenizer.adds_bos) == (1, True)
    assert tokenizer.encode("[INST]clips</s>sold", bos=True) == [1, 3, *textbook("clips"), 2, *textbook("sold")]
    assert tokenizer.decode([2, *textbook("clips")]) == " clips"


@pytest.mark.parametrize("leading", [True, False])
def test_the_space_in_front_of_a_text_is_as_the_file_says(leading: bool) -> None:
    tokenizer = tokenizer_from_gguf(METADATA | {"tokenizer.ggml.add_space_prefix": leading}, "file")
    assert tokenizer.decode(tokenizer.encode("clips")) == (" clips" if leading else "clips")


def test_a_vocabulary_that_needs_far_too_many_merges_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["".join(letters) for length in (1, 2, 3) for letters in product("ab", repeat=length)]
    merges = sum(len(word) - 1 for word in words)
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.scores": [0.0] * len(words),
        "tokenizer.ggml.token_type": [1] * len(words),
    }
    monkeypatch.setattr(sentence_piece, "_MOST_MERGES", merges)
    assert tokenizer_from_gguf(metadata, "file").vocab_size == len(words)
    monkeypatch.setattr(sentence_piece, "_MOST_MERGES", merges - 1)
    with pytest.raises(TokenizerError, match=rf"^file: tokenizer\.ggml\.tokens need more than {merges - 1} merges"):
        tokenizer_from_gguf(metadata, "file")

"""`tokenizer.json` files whose parts are valid by themselves, but make no sense or a trap in combination."""

from __future__ import annotations

from random import Random
from typing import Any

from . import json_mutation
from .json_mutation import ODD_TEXTS, Object, Raw

_PATTERNS = (
    "", "a", "(", "[", "(a+)+$", "(a|a)*b", "(a|aa)+$", r"(?:\s*)*x", r"(.*)*(.*)*(.*)*y", r"\p{L}+", r"\p{Nope}", ".",
    r"(?=a)", r"(?<=a*)b", r"(?<n>a\g<n>?b)", r"(\1)", "(?i:s)", r"\b", "$", "^", "a{1,100000}",
    "(((a{1,100}){1,100}){1,100})", "\\", "(?", "\0", "🌳+", r"(?<n>\g<n>)", "[^\\s\\S]",
    r"((((((((((a*)*)*)*)*)*)*)*)*)*)*b",
)  # fmt: skip
_BEHAVIOURS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous", "Nothing")
_NUMBERS = (0, 1, 2, -1, 10**6, 2**31, 2**63, 2**64 - 1, 1.5)


def mutate(value: Object, random: Random) -> tuple[Any, str]:
    """Change one part of `value`, in place; return it and a description."""
    part = random.choice(
        ("model", "model", "vocab", "vocab", "merges", "splits", "normalizer", "decoder", "added", "other")
    )
    if part == "vocab":
        return value, _vocab(value.get("model"), random)
    if part == "merges":
        return value, _merges(value.get("model"), random)
    if part == "model":
        return value, _model(value, random)
    if part == "added":
        return value, _added(value, random)
    name = {"splits": "pre_tokenizer", "normalizer": "normalizer", "decoder": "decoder"}.get(part)
    if name is None:
        name = random.choice(("post_processor", "truncation", "padding", "version"))
    new = {"pre_tokenizer": _splits, "normalizer": _normalizer, "decoder": _decoder}.get(name, _other)(random)
    value.put(name, new)
    return value, f"{name}: {json_mutation.written(new)[:150]!r}"


def object_of(**fields: Any) -> Object:
    """An object with these fields. A trailing underscore of a name is dropped."""
    return Object([[name.rstrip("_"), value] for name, value in fields.items()])


def _pattern(random: Random) -> Object:
    return object_of(**{random.choice(("Regex", "Regex", "String", "Nope")): random.choice(_PATTERNS)})


def _flag(random: Random) -> Any:
    return random.choice((True, False, True, False, None, 1, "true"))


def _word(random: Random) -> Any:
    return random.choice((*ODD_TEXTS, "▁", "Ġ", "##", 7))


def _splits(random: Random, depth: int = 0) -> Any:
    kind = random.choice(
        ("Split", "Split", "Split", "ByteLevel", "Sequence", "Metaspace", "Punctuation", "Digits", "Whitespace",
         "WhitespaceSplit", "BertPreTokenizer", "CharDelimiterSplit", "UnicodeScripts", "FixedLength", "Nope")
    )  # fmt: skip
    fields = {
        "Split": {"pattern": _pattern(random), "behavior": random.choice(_BEHAVIOURS), "invert": _flag(random)},
        "ByteLevel": {"add_prefix_space": _flag(random), "trim_offsets": _flag(random), "use_regex": _flag(random)},
        "Metaspace": {"replacement": _word(random), "prepend_scheme": random.choice(("always", "first", "never", "x"))},
        "Punctuation": {"behavior": random.choice(_BEHAVIOURS)},
        "Digits": {"individual_digits": _flag(random)},
        "CharDelimiterSplit": {"delimiter": _word(random)},
        "FixedLength": {"length": random.choice(_NUMBERS)},
    }.get(kind, {})
    if kind == "Sequence":
        fields = {
            "pretokenizers": [_splits(random, depth + 1) for _ in range(random.randrange(3))] if depth < 3 else []
        }
        if random.random() < 0.1:
            return _nested("Sequence", "pretokenizers", random.choice((20, 300, 50_000)))
    return object_of(type=kind, **fields)


def _normalizer(random: Random, depth: int = 0) -> Any:
    kind = random.choice(
        ("Replace", "Replace", "Prepend", "Strip", "StripAccents", "Lowercase", "Nmt", "NFKD", "NFC", "Precompiled",
         "BertNormalizer", "Sequence", "ByteLevel", "Nope")
    )  # fmt: skip
    fields = {
        "Replace": {"pattern": _pattern(random), "content": _word(random)},
        "Prepend": {"prepend": _word(random)},
        "Strip": {"strip_left": _flag(random), "strip_right": _flag(random)},
        "Precompiled": {"precompiled_charsmap": random.choice(("", "AAAA", "ALQCAACEAAAAAACAAQAAgMz8AgC4", 7))},
        "BertNormalizer": {
            "clean_text": True, "handle_chinese_chars": True, "strip_accents": _flag(random), "lowercase": True,
        },
    }.get(kind, {})  # fmt: skip
    if kind == "Sequence":
        fields = {
            "normalizers": [_normalizer(random, depth + 1) for _ in range(random.randrange(3))] if depth < 3 else []
        }
        if random.random() < 0.1:
            return _nested("Sequence", "normalizers", random.choice((20, 300, 50_000)))
    return object_of(type=kind, **fields)


def _decoder(random: Random, depth: int = 0) -> Any:
    kind = random.choice(
        ("ByteLevel", "Replace", "Strip", "Strip", "Fuse", "ByteFallback", "Metaspace", "WordPiece", "BPEDecoder",
         "CTC", "Sequence", "Nope")
    )  # fmt: skip
    fields = {
        "Replace": {"pattern": _pattern(random), "content": _word(random)},
        "Strip": {"content": _word(random), "start": random.choice(_NUMBERS), "stop": random.choice(_NUMBERS)},
        "Metaspace": {"replacement": _word(random), "prepend_scheme": "always", "split": _flag(random)},
        "WordPiece": {"prefix": _word(random), "cleanup": _flag(random)},
        "BPEDecoder": {"suffix": _word(random)},
        "CTC": {"pad_token": _word(random), "word_delimiter_token": _word(random), "cleanup": _flag(random)},
    }.get(kind, {})
    if kind == "Sequence":
        fields = {"decoders": [_decoder(random, depth + 1) for _ in range(random.randrange(3))] if depth < 3 else []}
    return object_of(type=kind, **fields)


def _nested(kind: str, name: str, depth: int) -> Raw:
    return Raw(f'{{"type":"{kind}","{name}":[' * depth + "]}" * depth)


def _other(random: Random) -> Any:
    return random.choice(
        (
            object_of(type="ByteLevel", add_prefix_space=True, trim_offsets=True),
            object_of(
                type="TemplateProcessing",
                single=[object_of(SpecialToken=object_of(id=_word(random), type_id=random.choice(_NUMBERS)))],
                pair=[object_of(Sequence=object_of(id=random.choice(("A", "B", "C")), type_id=0))],
                special_tokens=Object([["x", object_of(id="x", ids=[random.choice(_NUMBERS)], tokens=["x", "y"][:1])]]),
            ),
            object_of(type="RobertaProcessing", sep=["a", random.choice(_NUMBERS)], cls=["b", 1]),
            object_of(direction="Right", max_length=random.choice(_NUMBERS), strategy="LongestFirst", stride=4),
            object_of(
                strategy=object_of(Fixed=random.choice(_NUMBERS)), direction="Left", pad_id=7, pad_type_id=0,
                pad_to_multiple_of=random.choice(_NUMBERS), pad_token="x",
            ),
            json_mutation.odd_value(random),
        )
    )  # fmt: skip


def _vocab(model: Object, random: Random) -> str:
    words = model.get("vocab")
    if not isinstance(words, Object) or not words:
        return "nothing"
    word = random.choice(words)
    action = random.choice(("id", "id", "id", "same", "delete", "rename", "huge", "shift", "list", "more"))
    if action == "id":
        word[1] = random.choice((*_NUMBERS, len(words), 331, 400, 2**32, 2**32 - 1))
    elif action == "same":
        word[1] = random.choice(words)[1]
    elif action == "delete":
        words.remove(word)
    elif action == "rename":
        word[0] = random.choice(ODD_TEXTS)
    elif action == "huge":
        for number, each in enumerate(words):
            each[1] = 2**31 + number
    elif action == "shift":
        shift = random.choice((1, 100, 3000))
        for each in words:
            each[1] = each[1] + shift if isinstance(each[1], int) else 0
    elif action == "list":
        model.put("vocab", [[text, -1.5] for text, _ in words])
    else:
        words += [[f"more{number}", 320 + number] for number in range(random.choice((1, 100, 20_000)))]
    return f"vocab: {action} of {word[0]!r:.40} -> {word[1]!r:.30}"


def _merges(model: Object, random: Random) -> str:
    merges = model.get("merges")
    if not isinstance(merges, list) or not merges:
        return "nothing"
    at = random.randrange(len(merges))
    new = random.choice(
        (
            ["x", "nowhere"], ["", ""], ["a"], ["a", "b", "c"], "a b", "ab", "", 7, None, random.choice(merges),
            ["a", "a"], ["a" * 1000, "b"], [1, 2], ["Ġ", "Ġ"],
        )
    )  # fmt: skip
    merges[at] = new
    if random.random() < 0.1:
        merges *= 1000
    return f"merges: {new!r:.40} at {at}"


def _model(value: Object, random: Random) -> str:
    model = value.get("model")
    if not isinstance(model, Object):
        return "nothing"
    name, new = random.choice(
        (
            ("type", random.choice(("WordPiece", "WordLevel", "Unigram", "BPE", "Nope", None))),
            ("dropout", random.choice((0.0, 0.5, 1.0, 1.5, -1, 2, "x"))),
            ("unk_token", random.choice(("<unk>", "a", "", "nowhere", 7))),
            ("continuing_subword_prefix", _word(random)),
            ("end_of_word_suffix", _word(random)),
            ("fuse_unk", True),
            ("byte_fallback", True),
            ("ignore_merges", _flag(random)),
            ("cache_capacity", random.choice(_NUMBERS)),
            ("unk_id", random.choice(_NUMBERS)),
            ("max_input_chars_per_word", random.choice(_NUMBERS)),
        )
    )
    model.put(name, new)
    if name in ("type", "unk_id"):
        model.put("type", random.choice(("Unigram", "WordPiece", "WordLevel")) if name == "unk_id" else new)
        if model.get("type") == "Unigram" and random.random() < 0.8:
            words = model.get("vocab")
            if isinstance(words, Object):
                model.put("vocab", [[text, random.choice((-1.0, -2.5, 0, 1e308))] for text, _ in words])
            model.put("unk_id", random.choice(_NUMBERS))
        if model.get("type") in ("WordPiece", "WordLevel") and random.random() < 0.8:
            model.put("unk_token", random.choice(("a", "nowhere")))
            model.put("max_input_chars_per_word", random.choice((100, *_NUMBERS)))
    return f"model.{name}: {new!r:.40}"


def _added(value: Object, random: Random) -> str:
    added = value.get("added_tokens")
    if not isinstance(added, list):
        return "nothing"
    token = object_of(
        id=random.choice((*_NUMBERS, 320, 331, 5, 2**32 - 1)),
        content=random.choice((*ODD_TEXTS, "clips", " ", "a")),
        single_word=_flag(random), lstrip=_flag(random), rstrip=_flag(random), normalized=_flag(random),
        special=_flag(random),
    )  # fmt: skip
    many = random.choice((1, 1, 1, 3000))
    for number in range(many):
        again = Object(map(list, token))
        if many > 1:
            again.put("content", f"many{number}")
            again.put("id", 400 + number)
        added.append(again)
    return f"added: {many} x {json_mutation.written(token)[:120]!r}"

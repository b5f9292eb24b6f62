"""Decoding, whole and in pieces."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.model import ChatTemplateError, CheckpointError, Tokenizer, TokenizerError, open_checkpoint
from support.checkpoints.tiny import SPECIAL_TOKENS, train_tokenizer
from tokenizers import Tokenizer as Backend
from tokenizers import decoders
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

TOKENIZER = Tokenizer(train_tokenizer(330), bos_token_id=0)
END = TOKENIZER.token_id("<|im_end|>")
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("aé日😀 \n\u200d0", max_size=40)
IDS = st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=40)


def streamed(ids: list[int], *, keep_special: bool = False) -> str:
    stream = TOKENIZER.stream(keep_special=keep_special)
    return "".join([stream.push(id) for id in ids] + [stream.finish()])


@given(TEXTS)
def test_decoding_gives_back_the_normalised_text(text):
    normal = TOKENIZER._backend.normalizer.normalize_str(text)
    assert TOKENIZER.decode(TOKENIZER.encode(text), keep_special=True) == normal


@given(TEXTS)
def test_streamed_text_equals_the_whole(text):
    ids = TOKENIZER.encode(text)
    assert streamed(ids) == TOKENIZER.decode(ids)


@given(IDS, st.booleans())
def test_streamed_text_of_any_tokens_equals_the_whole(ids, keep_special):
    """Also broken UTF-8, and special tokens in the middle of a character."""
    assert streamed(ids, keep_special=keep_special) == TOKENIZER.decode(ids, keep_special=keep_special)


@pytest.mark.parametrize(
    "decoder",
    [
        decoders.Metaspace(),
        decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
    ],
    ids=["metaspace", "strip"],
)
def test_the_space_in_front_is_kept_where_a_decoder_of_sentencepiece_drops_it(decoder):
    """The texts of branches, steps and tokens add up to the text of the whole."""
    words = {"\u2581": 0, "\u2581so": 1, "\u2581it": 2, "s": 3}
    backend = Backend(BPE(words, []))
    backend.decoder = decoder
    assert backend.decode([1, 2]) == "so it"
    tokenizer = Tokenizer(backend)
    assert tokenizer.decode([1, 2, 3, 0]) == " so its "
    assert "".join(tokenizer.decode([id]) for id in (1, 2, 3, 0)) == " so its "
    stream = tokenizer.stream()
    assert [stream.push(id) for id in (1, 2, 3)] == [" so", " it", "s"]


def test_stream_holds_back_the_bytes_of_an_unfinished_character():
    ids = TOKENIZER.encode("a😀b")
    stream = TOKENIZER.stream()
    pieces = [stream.push(id) for id in ids]
    assert pieces == ["a", "", "", "", "😀", "b"]


def test_stream_flushes_what_never_became_a_character():
    stream = TOKENIZER.stream()
    first_byte, *_ = TOKENIZER.encode("😀")
    assert (stream.push(first_byte), stream.finish(), stream.finish()) == ("", "\N{REPLACEMENT CHARACTER}", "")


def test_special_tokens_in_a_text():
    ids = TOKENIZER.encode("<|im_start|>hi<|im_end|>")
    assert (ids[0], ids[-1]) == (1, END)
    assert TOKENIZER.decode(ids) == "hi"
    assert TOKENIZER.decode(ids, keep_special=True) == "<|im_start|>hi<|im_end|>"


def test_bos_only_when_told():
    assert TOKENIZER.encode("hi", bos=True) == [0, *TOKENIZER.encode("hi")]
    assert Tokenizer(train_tokenizer(330)).encode("hi", bos=True) == TOKENIZER.encode("hi")
    assert TOKENIZER.encode("", bos=True) == [0]


def test_a_text_that_begins_with_bos_gets_no_second_one():
    """As in a rendered chat of Llama 3."""
    assert TOKENIZER.encode("<|endoftext|>hi", bos=True) == [0, *TOKENIZER.encode("hi")]


@pytest.mark.parametrize("adds", [True, False])
def test_post_processor_of_the_folder_tells_whether_bos_is_added(adds, tmp_path, tiny_checkpoint):
    path = copy_with_tokenizer(tiny_checkpoint, tmp_path)
    backend = train_tokenizer(330)
    if adds:
        backend.post_processor = TemplateProcessing("<|endoftext|> $0", special_tokens=[("<|endoftext|>", 0)])
    backend.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text('{"bos_token": "<|endoftext|>"}')
    tokenizer = open_checkpoint(path).tokenizer()
    assert (tokenizer.bos_token_id, tokenizer.adds_bos) == (0, adds)
    assert tokenizer.encode("hi") == TOKENIZER.encode("hi"), "never unasked"


def test_token_lookup():
    assert [TOKENIZER.token_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2]
    assert TOKENIZER.token(2) == "<|im_end|>"
    assert (TOKENIZER.token_id("nothing"), TOKENIZER.token(10**6)) == (None, None)


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(TokenizerError, match=r"unpaired surrogate \(character 2\)"):
        TOKENIZER.encode("a\ud83d")


def test_chat_without_template():
    with pytest.raises(ChatTemplateError, match="has no chat template"):
        TOKENIZER.chat([{"role": "user", "content": "hi"}])


def test_folder(tiny_checkpoint):
    path = tiny_checkpoint("qwen2", tokenizer=True)
    ours, theirs = open_checkpoint(path).tokenizer(), PreTrainedTokenizerFast.from_pretrained(path)
    assert ours is not None
    text = "She sold 48 clips, 日本 😀\n\n  x"
    assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
    messages = [{"role": "user", "content": "hi"}]
    rendered = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert ours.chat(messages) == rendered


TEMPLATE = "{{ bos_token }}|{{ messages[0].content }}"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param('{"bos_token": "<B>", "chat_template": "%s"}', "<B>|hi", id="string"),
        pytest.param('{"bos_token": {"content": "<B>"}, "chat_template": "%s"}', "<B>|hi", id="bos as object"),
        pytest.param('{"chat_template": [{"name": "tool_use", "template": ""}, {"name": "default", "template": "%s"}]}',
                     "|hi", id="named"),
    ],
)  # fmt: skip
def test_template_of_tokenizer_config(config, expected, tmp_path, tiny_checkpoint):
    path = copy_with_tokenizer(tiny_checkpoint, tmp_path)
    (path / "chat_template.jinja").unlink()
    (path / "tokenizer_config.json").write_text(config % TEMPLATE)
    assert open_checkpoint(path).tokenizer().chat([{"role": "user", "content": "hi"}]) == expected


def test_template_file_wins_over_tokenizer_config(tmp_path, tiny_checkpoint):
    path = copy_with_tokenizer(tiny_checkpoint, tmp_path)
    (path / "chat_template.jinja").write_text("from the file")
    (path / "tokenizer_config.json").write_text('{"chat_template": "from the config"}')
    assert open_checkpoint(path).tokenizer().chat([]) == "from the file"


def test_template_of_an_unknown_kind(tmp_path, tiny_checkpoint):
    path = copy_with_tokenizer(tiny_checkpoint, tmp_path)
    (path / "chat_template.jinja").unlink()
    (path / "tokenizer_config.json").write_text('{"chat_template": 7}')
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: chat_template must be a string"):
        open_checkpoint(path).tokenizer()


def copy_with_tokenizer(tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint("qwen2", tokenizer=True), tmp_path / "copy")

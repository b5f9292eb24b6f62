"""Chat templates, compared with transformers."""

from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import pytest
from marcot.model import ChatTemplate, ChatTemplateError, open_checkpoint
from marcot.model.gguf.header import read_header
from marcot.model.template.budget import STEPS
from support.checkpoints.tiny import train_tokenizer
from transformers import PreTrainedTokenizerFast

USER = {"role": "user", "content": "How many clips?"}
SYSTEM = {"role": "system", "content": "Think step by step."}
ASSISTANT = {"role": "assistant", "content": "72"}
CHATS = {
    "user": [USER],
    "system, user": [SYSTEM, USER],
    "three turns": [USER, ASSISTANT, USER],
    "system, three turns": [SYSTEM, USER, ASSISTANT, USER],
    "awkward text": [{"role": "user", "content": "<b>&'\" 日本 😀\n\n {{ 7 * 7 }} "}],
}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "a <b> & 'c'", "parameters": {"x": "é"}}}]


def theirs(source: str, **special: str) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=train_tokenizer(300), **special)
    tokenizer.chat_template = source
    return tokenizer


@pytest.mark.real
@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"])
@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS.keys())
@pytest.mark.parametrize("prompt", [True, False], ids=["prompt", "no prompt"])
def test_real_template_renders_as_in_transformers(name, chat, prompt, real_model):
    path = real_model(name)
    source = real_template(path)
    expected = theirs(source).apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt)
    assert ChatTemplate(source, {}).render(chat, add_generation_prompt=prompt) == expected


@pytest.mark.real
def test_checkpoint_renders_its_own_template(real_model):
    tokenizer = open_checkpoint(real_model("smollm2-135m")).tokenizer()
    assert tokenizer is not None
    expected = theirs(real_template(real_model("smollm2-135m")))
    assert tokenizer.chat([SYSTEM, USER]) == expected.apply_chat_template(
        [SYSTEM, USER], tokenize=False, add_generation_prompt=True
    )


@pytest.mark.real
def test_tools_reach_the_template(real_model):
    source = real_template(real_model("qwen2.5-coder-0.5b"))
    expected = theirs(source).apply_chat_template([USER], tools=TOOLS, tokenize=False, add_generation_prompt=True)
    assert ChatTemplate(source, {}).render([USER], tools=TOOLS) == expected


def real_template(path) -> str:
    import numpy as np

    template = read_header(path, np.memmap(path, np.uint8, mode="r")).metadata["tokenizer.chat_template"]
    assert isinstance(template, str)
    return template


SOURCES = {
    "special tokens": "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
    "block lines are trimmed": "{% for m in messages %}\n  {% if true %}\n {{ m.role }}\n  {% endif %}\n{% endfor %}\n",
    "loop controls": "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
    "loop variables": "{% for m in messages %}{{ loop.index0 }}/{{ loop.length }}{{ loop.last }}{% endfor %}",
    "loop filter": "{% for m in messages if m.role == 'user' %}{{ loop.first }}{{ m.content }}{% endfor %}",
    "loop else": "{% for m in [] %}x{% else %}none{% endfor %}",
    "loop over pairs": "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}",
    "recursive loop": "{% for x in [[], [[]]] recursive %}({{ loop(x) }}){% endfor %}",
    "backwards": "{% for m in messages[::-1] %}{{ messages | length - loop.index }}{{ m.role }}{% endfor %}",
    "thought cut off": "{% set c = messages[1].content ~ '</think>\n\n7' %}{{ c.split('</think>')[-1].lstrip('\n') }}",
    "neighbours": "{% for m in messages %}{{ loop.previtem.role if loop.previtem else '^' }}{% endfor %}",
    "tojson": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "macro": "{% macro say(m) %}[{{ m.content }}]{% endmacro %}{% for m in messages %}{{ say(m) }}{% endfor %}",
    "generation tag": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "undefined": "{{ nothing }}{% if tools %}tools{% endif %}{% if tools is none %}null{% endif %}",
    "repetition": "{{ '-' * 5 }}{{ [0] * 3 }}{{ 6 * 7 }}",
    "string methods": "{{ messages[0].content.strip().split(' ')[-1].upper() }}",
    "date": "{{ strftime_now('%Y-%m-%d') }}",
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_template_language_is_that_of_transformers(source):
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    expected = theirs(source, **special).apply_chat_template(CHATS["three turns"], tokenize=False)
    assert ChatTemplate(source, special).render(CHATS["three turns"], add_generation_prompt=False) == expected


FAILING = {
    "raises": ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
    "fails": ("{{ messages[9].content.x }}", "list object has no element 9"),
    "divides by zero": ("{{ 1 / 0 }}", "division"),
    "adds a number to a text": ("{{ 'a' + 1 }}", "no str + int"),
    "changes the messages": ("{{ messages.append(1) }}", "unsafe"),
}


@pytest.mark.parametrize(("source", "message"), FAILING.values(), ids=FAILING.keys())
def test_failing_template(source, message):
    template = ChatTemplate(source, {})
    with pytest.raises(ChatTemplateError) as caught:
        template.render([USER])
    assert message in str(caught.value)


BROKEN = {
    "no body": "{% for %}",
    "unclosed": "{{ unclosed",
    "unknown tag": "{% unknown %}",
    "nested too deep": "{{ " + "(" * 9999,
    "too long": "x" * 2**21,
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN.keys())
def test_broken_template(source):
    with pytest.raises(ChatTemplateError, match=r"^chat template: "):
        ChatTemplate(source, {})


def test_the_budget_is_for_one_rendering():
    template = ChatTemplate(f"{{% set a = 'a' * {STEPS} %}}ok", {})  # half a step per character
    assert [template.render([USER]) for _ in range(9)] == ["ok"] * 9


LARGE = {
    "many messages": [USER, ASSISTANT] * 5000,
    "long message": [{"role": "user", "content": "How many clips? " * 10**6}],
    "many tools": [USER] * 3,
}


@pytest.mark.parametrize("chat", LARGE.values(), ids=LARGE.keys())
def test_a_large_chat_may_cost_more(chat):
    source = """{% for tool in tools %}{{ tool | tojson(indent=4) }}{% endfor %}
    {%- for m in messages %}{{ m.role ~ ': ' + m.content.split('</think>')[-1].strip() | trim }}{% endfor %}"""
    tools = TOOLS * 2000 if chat == LARGE["many tools"] else []
    expected = theirs(source).apply_chat_template(chat, tools=tools, tokenize=False)
    assert ChatTemplate(source, {}).render(chat, tools=tools, add_generation_prompt=False) == expected


class Name(str):
    def __str__(self):
        raise AssertionError("code of the messages runs in the sandbox")


def test_messages_are_plain_data():
    message = MappingProxyType({"role": Name("user"), "content": [("a", 1), [None, True, 2.5]]})
    assert ChatTemplate("{{ messages }}", {}).render([message]) == (
        "[{'role': 'user', 'content': [('a', 1), [None, True, 2.5]]}]"
    )


CYCLE: list[object] = []
CYCLE.append(CYCLE)
NOT_DATA = {
    "set": ({1}, "hold a value of type set"),
    "object": (object(), "hold a value of type object"),
    "cycle": (CYCLE, "more than 100 deep"),
    "tuple as a key": ({(1, 2): 3}, "a key of type tuple"),
    "huge integer": (1 << 9999, "1024 bits"),
}


@pytest.mark.parametrize(("content", "message"), NOT_DATA.values(), ids=NOT_DATA.keys())
def test_messages_that_are_not_data(content, message):
    with pytest.raises(ChatTemplateError, match=message):
        ChatTemplate("{{ messages }}", {}).render([{"role": "user", "content": content}])


def test_threads_may_share_a_template():
    template = ChatTemplate("{% for a in range(messages[0].content) %}{{ a % 7 }}{% endfor %}", {})
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda n: template.render([{"role": "user", "content": n}]), [3000] * 40))
    assert set(texts) == {"".join(str(a % 7) for a in range(3000))}

"""The classes that scripts import from vLLM: what they accept, and what they return."""

from __future__ import annotations

import copy
import logging
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from marcot.engine import Engine, InputError, Sampling
from marcot.engine.adapters.vllm import LLM, RequestOutput, SamplingParams, TextPrompt, TokensPrompt, register
from marcot.engine.adapters.vllm.__main__ import main
from marcot.engine.adapters.vllm.outputs import completion_output
from marcot.engine.completion import Completion
from marcot.engine.errors import ContextOverflowError, PoolTooSmallError, SamplingError
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

TEXT = "Natalia sold 48 clips in April."
GREEDY = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)


@pytest.fixture(scope="module")
def path(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True)


@pytest.fixture(scope="module")
def llm(path: Path) -> Iterator[LLM]:
    llm = LLM(str(path), kv_tokens=8192, tensor_parallel_size=2, gpu_memory_utilization=0.5, max_model_len=256)
    yield llm
    llm.engine.tree.check_integrity()


def one(outputs: list[RequestOutput]) -> RequestOutput:
    [output] = outputs
    return output


def test_greedy_samples_are_those_of_transformers(llm: LLM, path: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), PreTrainedTokenizerFast.from_pretrained(path)
    prompts = [TEXT, "So she sold", "<|im_start|>user\nHello<|im_end|>\n"]
    for prompt, output in zip(prompts, llm.generate(prompts, GREEDY, use_tqdm=False), strict=True):
        given = tokenizer(prompt, return_tensors="pt").input_ids
        drawn = model.generate(given, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
        assert output.prompt == prompt
        assert output.prompt_token_ids == given[0].tolist()
        assert output.outputs[0].token_ids == drawn[0, given.shape[1] :].tolist()
        assert output.outputs[0].text == tokenizer.decode(output.outputs[0].token_ids, skip_special_tokens=True)
        assert (output.finished, output.outputs[0].finish_reason, output.outputs[0].stop_reason) == (
            True, "length", None,
        )  # fmt: skip


@pytest.mark.parametrize("includes", [False, True])
def test_a_stop_string_around_a_special_token_cuts_nothing(llm: LLM, includes: bool) -> None:
    """The engine finds it in the text without special tokens; in the text with them it does not occur."""
    tokenizer = llm.engine.tokenizer
    assert tokenizer is not None
    ids = tokenizer.encode("sold 48<|im_start|> clips")
    drawn = replace(Completion.given(ids, "sold 48 clips"), finish_reason="stop", stop_reason="48 cl")
    params = SamplingParams(skip_special_tokens=False, include_stop_str_in_output=includes)
    assert completion_output(0, drawn, params, tokenizer).text == "sold 48<|im_start|> clips"


def test_a_prompt_has_many_forms(llm: LLM) -> None:
    ids = llm.engine.tokenizer.encode(TEXT)
    forms = [
        TEXT, [TEXT], ids, [ids], TextPrompt(prompt=TEXT), [TokensPrompt(prompt_token_ids=ids)],
        {"prompt_token_ids": ids, "prompt": TEXT, "multi_modal_data": None},
    ]  # fmt: skip
    outputs = [one(llm.generate(form, GREEDY)) for form in forms]
    outputs += [one(llm.generate(prompt_token_ids=[ids], sampling_params=GREEDY)), one(llm.generate(TEXT, [GREEDY]))]
    assert len({tuple(output.outputs[0].token_ids) for output in outputs}) == 1
    assert all(output.prompt_token_ids == ids for output in outputs)
    assert [output.prompt for output in outputs[2:5]] == [None, None, TEXT]


def test_equal_prompts_are_different_samples(path: Path) -> None:
    def drawn(seed: int, sampling_seed: int | None) -> list[list[list[int]]]:
        llm = LLM(str(path), kv_tokens=8192, seed=seed)
        params = SamplingParams(n=2, temperature=1.0, max_tokens=10, seed=sampling_seed, ignore_eos=True)
        calls = [llm.generate([TEXT, "Other", TEXT], params) for _ in range(2)]
        return [[sample.token_ids for output in outputs for sample in output.outputs] for outputs in calls]

    for sampling_seed in (None, 5):
        for samples in drawn(0, sampling_seed):
            assert len({tuple(sample) for sample in samples}) == len(samples) == 6
    first, second = drawn(0, None)
    assert first != second
    assert drawn(0, None) == [first, second]
    assert drawn(1, None) != [first, second]
    assert drawn(0, 5) == drawn(1, 5)


def test_equal_prompts_are_computed_once(path: Path) -> None:
    llm = LLM(str(path), kv_tokens=8192)
    outputs = llm.generate([TEXT] * 4, SamplingParams(temperature=1.0, max_tokens=3))
    tokens = len(outputs[0].prompt_token_ids)
    assert llm.engine.usage.prefill_tokens == tokens
    assert [output.num_cached_tokens for output in outputs] == [0, tokens, tokens, tokens]
    longer = one(llm.generate(TEXT + outputs[1].outputs[0].text + " And then", GREEDY))
    assert longer.num_cached_tokens >= tokens


def test_stops_end_texts_as_in_vllm(llm: LLM) -> None:
    whole = one(llm.generate(TEXT, GREEDY)).outputs[0]
    texts = [llm.engine.tokenizer.decode(whole.token_ids[:end]) for end in range(len(whole.token_ids) + 1)]
    end = next(at for at in range(4, len(texts)) if len(texts[at]) >= len(texts[at - 1]) + 2)
    stop = texts[end][len(texts[end - 1]) :][:-1]  # the beginning of a token
    assert stop not in texts[end - 1]

    def ended(**changes: object) -> tuple[str, str | None, str | int | None]:
        params = SamplingParams(**(vars(GREEDY) | changes))
        sample = one(llm.generate(TEXT, params)).outputs[0]
        assert sample.token_ids == whole.token_ids[:end]
        return sample.text, sample.finish_reason, sample.stop_reason

    assert ended(stop=["zz", stop]) == (texts[end - 1], "stop", stop)
    assert ended(stop=stop, include_stop_str_in_output=True) == (texts[end - 1] + stop, "stop", stop)
    token = whole.token_ids[end - 1]
    assert ended(stop_token_ids=[token]) == (texts[end - 1], "stop", token)
    assert ended(stop_token_ids=[token], include_stop_str_in_output=True) == (texts[end], "stop", token)
    assert ended(max_tokens=end) == (texts[end], "length", None)
    assert ended(max_tokens=end, detokenize=False) == ("", "length", None)


def test_special_tokens_are_written_on_request(llm: LLM) -> None:
    tokenizer = llm.engine.tokenizer
    special, other = tokenizer.token_id("<|im_start|>"), tokenizer.token_id("a")
    eos = llm.engine.config.eos_token_ids[0]
    params = SamplingParams(temperature=0, max_tokens=3, allowed_token_ids=[special], skip_special_tokens=False)
    assert one(llm.generate(TEXT, params)).outputs[0].text == "<|im_start|>" * 3
    params.skip_special_tokens = True
    assert one(llm.generate(TEXT, params)).outputs[0].text == ""
    ending = SamplingParams(temperature=0, logit_bias={other: 90, eos: 100}, min_tokens=2, skip_special_tokens=False)
    sample = one(llm.generate(TEXT, ending)).outputs[0]
    assert (sample.token_ids, sample.text) == ([other, other, eos], "aa")
    assert (sample.finish_reason, sample.stop_reason) == ("stop", None)
    ending.include_stop_str_in_output = True
    assert one(llm.generate(TEXT, ending)).outputs[0].text == "aa" + tokenizer.token(eos)


def test_log_probabilities_are_those_of_transformers(llm: LLM, path: Path) -> None:
    params = SamplingParams(temperature=0.7, max_tokens=5, logprobs=3, prompt_logprobs=2, ignore_eos=True)
    output = one(llm.generate(TEXT, params))
    sample, given = output.outputs[0], output.prompt_token_ids
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(path)(torch.tensor([given + sample.token_ids])).logits[0]
    expected = logits.log_softmax(-1).numpy()
    assert output.prompt_logprobs[0] is None
    rows = [*output.prompt_logprobs[1:], *sample.logprobs]
    for at, (token, row) in enumerate(zip((given + sample.token_ids)[1:], rows, strict=True)):
        best = np.argsort(-expected[at])[: 2 if at < len(given) - 1 else 3].tolist()
        assert set(row) == {token, *best}
        assert [row[each].rank for each in best] == list(range(1, len(best) + 1))
        for each, entry in row.items():
            assert entry.logprob == pytest.approx(expected[at, each], abs=1e-4)
            assert entry.decoded_token == llm.engine.tokenizer.decode([each], keep_special=True)
    own = [row[token].logprob for token, row in zip(sample.token_ids, sample.logprobs, strict=True)]
    assert sample.cumulative_logprob == pytest.approx(sum(own), abs=1e-5)
    everything = one(llm.generate(TEXT, SamplingParams(max_tokens=1, logprobs=-1))).outputs[0]
    assert len(everything.logprobs[0]) == llm.engine.config.vocab_size
    without = one(llm.generate(TEXT, GREEDY))
    assert (without.prompt_logprobs, without.outputs[0].logprobs, without.outputs[0].cumulative_logprob) == (None,) * 3


def test_conversations_go_through_the_template(llm: LLM) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    rendered = llm.engine.tokenizer.chat(messages)
    output = one(llm.chat(messages, GREEDY))
    assert output.prompt == rendered
    assert output.outputs[0].text == one(llm.generate(rendered, GREEDY)).outputs[0].text
    begun = [*messages, {"role": "assistant", "content": "Well, "}]
    both = llm.chat([begun, messages], GREEDY, add_generation_prompt=False, continue_final_message=False)
    assert [each.prompt.endswith("<|im_end|>\n") for each in both] == [True, True]
    assert one(llm.chat(begun, GREEDY, add_generation_prompt=False, continue_final_message=True)).prompt == (
        rendered + "Well, "
    )


def test_the_tokenizer_is_the_engines(llm: LLM, path: Path) -> None:
    tokenizer, theirs = llm.get_tokenizer(), PreTrainedTokenizerFast.from_pretrained(path)
    assert llm.get_tokenizer() is tokenizer
    for text in (TEXT, "<|im_start|>user\n你好 <|im_end|>", "  x\n\n"):
        assert tokenizer(text).input_ids == theirs(text).input_ids == llm.engine.tokenizer.encode(text)
    before = llm.engine.tokenizer.fingerprint()
    tokenizer.add_tokens(["<new>"])
    tokenizer.chat_template = "{{ messages[0].content }}!"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "A"}], tokenize=False) == "A!"
    assert llm.engine.tokenizer.fingerprint() == before
    assert len(llm.engine.tokenizer.encode("<new>")) > 1


def test_prompts_end_where_the_context_does(llm: LLM) -> None:
    long = "word " * 300
    with pytest.raises(ContextOverflowError, match="leaves no room in 256 tokens"):
        llm.generate(long, GREEDY)
    params = SamplingParams(temperature=0, max_tokens=None, truncate_prompt_tokens=250, ignore_eos=True)
    output = one(llm.generate(long, params))
    assert output.prompt_token_ids == llm.engine.tokenizer.encode(long)[-250:]
    assert (len(output.outputs[0].token_ids), output.outputs[0].finish_reason) == (6, "length")
    params.max_tokens = 100
    assert len(one(llm.generate(long, params)).outputs[0].token_ids) == 6


def test_parameters_and_outputs_can_be_changed_copied_and_pickled(llm: LLM) -> None:
    params = copy.deepcopy(SamplingParams(temperature=0.8, max_tokens=6, logprobs=1))
    params.temperature = 0.0
    assert params.clone() == params is not params.clone()
    outputs = llm.generate([TEXT, "So"], params)
    assert pickle.loads(pickle.dumps(outputs)) == outputs
    outputs[0].outputs = outputs[0].outputs[:0]
    outputs[1].outputs[0].stop_reason = ""
    params.top_p = 7.0
    with pytest.raises(SamplingError, match="top_p"):
        llm.generate(TEXT, params)


def test_parameters_mean_what_they_mean_in_vllm() -> None:
    params = SamplingParams(
        temperature=1e-6, top_k=-1, top_p=0.9, min_p=0.1, repetition_penalty=1.1, frequency_penalty=0.2,
        presence_penalty=0.3, stop="x", stop_token_ids=[3], bad_words=["no"], min_tokens=1, max_tokens=7, seed=4,
        logit_bias={1: 2.0}, ignore_eos=True, include_stop_str_in_output=True, best_of=1, allowed_token_ids=[5],
    )  # fmt: skip
    assert params.sampling(100, 331) == Sampling(
        temperature=0.0, top_k=0, top_p=0.9, min_p=0.1, repetition_penalty=1.1, frequency_penalty=0.2,
        presence_penalty=0.3, stop=("x",), stop_token_ids=(3,), bad_words=("no",), min_tokens=1, max_tokens=7, seed=4,
        logit_bias={1: 2.0}, ignore_eos=True, include_stop=True, allowed_token_ids=(5,),
    )  # fmt: skip
    plain = SamplingParams()
    assert plain.sampling(100, 331) == Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=16, seed=None)
    assert SamplingParams(max_tokens=None).sampling(100, 331).max_tokens == 100


def test_unsupported_options_are_refused(llm: LLM, path: Path) -> None:
    for changes, message in (
        ({"best_of": 4}, "best_of=4: marcot returns every sample"),
        ({"n": 0}, "n=0"),
        ({"logprobs": -2}, "logprobs=-2"),
        ({"logits_processors": [print]}, "logits_processors: marcot has none"),
        ({"structured_outputs": {"regex": "a"}}, "structured_outputs: marcot has none"),
        ({"temperature": -1.0}, "temperature=-1"),
        ({"temperature": "hot"}, "temperature='hot'"),
        ({"top_k": -3}, "top_k=-3"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens=0"),
    ):
        with pytest.raises(SamplingError, match=message):
            SamplingParams(**changes)
    for options, message in (
        ({"task": "reward"}, r"LLM\(task=...\): marcot has no such option"),
        ({"quantization": "awq"}, "quantization"),
        ({"tokenizer": "another"}, "tokenizer=another: must be the model's own"),
    ):
        with pytest.raises(InputError, match=message):
            LLM(str(path), **options)
    for prompts, message in (
        (None, "generate needs prompts"),
        ([{"prompt": "a", "multi_modal_data": {"image": 1}}], "multi_modal_data: marcot reads text and token ids only"),
        ([3.5], "must be text, token ids"),
        ([""], "the prompt is empty"),
    ):
        with pytest.raises(InputError, match=message):
            llm.generate(prompts, GREEDY)
    with pytest.raises(InputError, match="2 sampling_params for 1 prompts"):
        llm.generate("a", [GREEDY, GREEDY])
    with pytest.raises(InputError, match="no LoRA"):
        llm.generate("a", lora_request="adapter")


def test_any_number_of_prompts_is_answered_in_order(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [f"{TEXT} {number % 5}" for number in range(9)]
    expected = [one(llm.generate(prompt, GREEDY)).outputs[0].token_ids for prompt in prompts]
    monkeypatch.setattr("marcot.engine.adapters.vllm.llm._OPEN_PROMPTS", 2)
    outputs = llm.generate(prompts, GREEDY)
    assert [output.outputs[0].token_ids for output in outputs] == expected
    assert [output.prompt for output in outputs] == prompts
    assert llm.generate([], GREEDY) == []


def test_a_prompt_that_fails_ends_the_call_and_nothing_else(path: Path) -> None:
    llm = LLM(str(path), kv_tokens=64)
    with pytest.raises(PoolTooSmallError):
        llm.generate([TEXT, TEXT + " word" * 40, "So"], GREEDY)
    assert one(llm.generate(TEXT, GREEDY)).finished
    llm.engine.tree.check_integrity()


def test_threads_share_an_llm(llm: LLM) -> None:
    prompts = [f"{TEXT} {number}" for number in range(6)]
    expected = [output.outputs[0].token_ids for output in llm.generate(prompts, GREEDY)]
    found: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        found[number] = one(llm.generate(prompts[number], GREEDY)).outputs[0].token_ids

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(6)] == expected


def test_an_engine_is_given_back(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine.load(str(path), kv_tokens=2048)
    engine.prefill("Something else that this engine has done before " * 9).release()
    llm = LLM(engine)
    with caplog.at_level(logging.INFO, "marcot.engine.adapters.vllm"):
        llm.generate([TEXT] * 10, SamplingParams(max_tokens=2))
        del llm
    assert "90 % shared or cached" in caplog.text
    engine.prefill("Now it is free").release()


@pytest.fixture
def unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore everything that running a script changes in this process."""
    for name in ("vllm", "vllm.inputs", "vllm.outputs", "vllm.sampling_params"):
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    monkeypatch.setattr(sys, "argv", sys.argv.copy())
    monkeypatch.setattr(sys, "path", sys.path.copy())
    logger = logging.getLogger("marcot.engine.adapters.vllm")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logger.level)


@pytest.mark.usefixtures("unregistered")
def test_scripts_run_unchanged(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "helper.py").write_text("from vllm.sampling_params import SamplingParams\n")
    (tmp_path / "script.py").write_text(
        "import sys\n"
        "from vllm import LLM\n"
        "from vllm.outputs import CompletionOutput, RequestOutput\n"
        "from helper import SamplingParams\n"
        "assert __name__ == '__main__'\n"
        "llm = LLM(model=sys.argv[1], swap_space=16, dtype='half' if len(sys.argv) > 2 else 'float')\n"
        "outputs = llm.generate(['One two'] * 3, SamplingParams(n=2, max_tokens=4), use_tqdm=False)\n"
        "print(len(outputs), len(outputs[0].outputs), isinstance(outputs[0], RequestOutput))\n"
    )
    main([str(tmp_path / "script.py"), str(path)])
    assert capsys.readouterr().out == "3 2 True\n"


@pytest.mark.usefixtures("unregistered")
def test_what_cannot_run_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="no such script"):
        main([str(tmp_path / "nothing.py")])
    with pytest.raises(InputError, match="SCRIPT"):
        main([])
    main(["--help"])
    assert "SCRIPT [ARGUMENTS]" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "vllm", logging)
    with pytest.raises(InputError, match="before the first import of vllm"):
        register()

"""Teach a small model with its own searches, on the CPU: `python bench/fine_tune.py --help`.

pip install 'marcot[train]' brings what it needs. docs/fine-tuning.md has the whole way and what came of it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import marcot.engine  # noqa: F401  (before torch: it has OpenMP's threads wait, not spin)
import torch
import typer
from datasets import Dataset, load_dataset
from marcot.engine.cli.question import Question, read_questions
from marcot.engine.dataset.split import question_id, split_of
from marcot.engine.evaluation import wilson
from marcot.engine.search.answers import answers_agree, extract_answer
from marcot.model import locate
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, set_seed
from trl import SFTConfig, SFTTrainer

_BATCH = 8
_GENERATED = 96
"""Tokens of an answer at most, as many as the searches had."""


def fine_tune(
    data: Annotated[Path, typer.Argument(help="A folder that marcot dataset made, with sft/ in it.")],
    questions: Annotated[Path, typer.Argument(help="The questions that were searched, with their answers.")],
    model: Annotated[str, typer.Option(help="The model that was searched with.")] = "smollm2-135m",
    epochs: Annotated[float, typer.Option(help="How often each trace is seen.")] = 3,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW, falling linearly to 0.")] = 5e-4,
    rank: Annotated[int, typer.Option(help="Of the LoRA matrices.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the initial matrices and the order of the traces.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the numbers there, as JSON.")] = None,
) -> None:
    """Train LoRA matrices on the traces of `train`, and measure on the held-out questions before and after.

    The measures: the loss of the held-out traces (validation), and how many held-out questions a greedy answer gets
    right, those included for which no search found an answer.
    """
    torch.set_num_threads(threads)
    set_seed(seed)
    path = locate(model)
    source: dict[str, Any] = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    folder = path.parent if source else path
    tokenizer = AutoTokenizer.from_pretrained(folder, **source)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **source)
    options = json.loads((data / "dataset.json").read_text(encoding="utf-8"))["options"]
    held_out = [question for question in read_questions(questions) if _split(question, options) != "train"]
    trainer = SFTTrainer(
        network,
        SFTConfig(
            output_dir=str(data.with_name(data.name + ".training")),
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            per_device_train_batch_size=_BATCH,
            per_device_eval_batch_size=_BATCH,
            seed=seed,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            logging_steps=5,
        ),
        train_dataset=_traces(data, "train"),
        eval_dataset=_traces(data, "validation"),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    # LoRA's second matrix starts as zeros: until the first step, this is the model as it was.
    before = _measure(trainer, tokenizer, held_out)
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    after = _measure(trainer, tokenizer, held_out)
    report = {
        "model": model,
        "train_traces": len(trainer.train_dataset),
        "validation_traces": len(trainer.eval_dataset),
        "held_out_questions": len(held_out),
        "steps": trainer.state.global_step,
        "seconds": round(seconds),
        "threads": threads,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "rank": rank,
        "seed": seed,
        "before": before,
        "after": after,
    }
    print(json.dumps(report, indent=2))
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _traces(data: Path, split: str) -> Dataset:
    """The traces as TRL wants them to train on the answers only: what is asked, and what is to be said."""
    traces = load_dataset("json", data_files=str(data / "sft" / f"{split}.jsonl"), split="train")
    return traces.map(
        lambda trace: {"prompt": trace["messages"][:-1], "completion": trace["messages"][-1:]},
        remove_columns=traces.column_names,
    )


def _split(question: Question, options: dict[str, Any]) -> str:
    id = question_id(question.text)
    return split_of(id, validation=options["validation"], test=options["test"], seed=options["seed"])


def _measure(trainer: SFTTrainer, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]) -> dict[str, Any]:
    loss = trainer.evaluate()["eval_loss"]
    texts = _greedy(trainer.model, tokenizer, [question.text for question in questions])
    right = sum(
        answers_agree(extract_answer(text), question.reference or "")
        for text, question in zip(texts, questions, strict=True)
    )
    interval = wilson(right, len(questions))
    return {
        "loss": round(loss, 4),
        "right": right,
        "accuracy": round(right / len(questions), 4),
        "interval": [round(interval.low, 4), round(interval.high, 4)],
    }


@torch.inference_mode()
def _greedy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[str]) -> list[str]:
    """What the model answers when it always says the most probable token."""
    model.eval()
    tokenizer.padding_side = "left"
    texts = []
    for first in range(0, len(questions), _BATCH):
        chats = [[{"role": "user", "content": question}] for question in questions[first : first + _BATCH]]
        prompts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
        batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        ids = model.generate(**batch, max_new_tokens=_GENERATED, do_sample=False)
        texts += tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        print(f"\r{len(texts)} of {len(questions)} questions", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return texts


if __name__ == "__main__":
    typer.run(fine_tune)

"""Fine-tunes a small model on its own searches, on the CPU: `python -m bench.training.fine_tune --help`.

It needs the packages of `pip install 'marcot[train]'`. docs/fine-tuning.md has all steps and the results.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from marcot.engine import Engine  # before torch: it makes OpenMP threads wait, not spin
from marcot.model.files.atomic_file import write_atomically

# isort: split
import torch
from datasets import Dataset, load_dataset
from marcot.engine.dataset.split import assign_split, question_id
from marcot.engine.evaluation import wilson
from marcot.engine.results.question_file import InputQuestion, read_questions
from marcot.engine.search import Greedy
from marcot.engine.search.answers import answers_agree
from marcot.model import locate
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, set_seed
from trl import SFTConfig, SFTTrainer

_BATCH = 8
_CONCURRENCY = 32
_GENERATED = 96
"""Maximum tokens of an answer, the same as in the searches."""


def fine_tune(
    data: Annotated[Path, typer.Argument(help="A folder made by marcot dataset, with sft/ in it.")],
    questions: Annotated[Path, typer.Argument(help="The questions that were searched, with their answers.")],
    model: Annotated[str, typer.Option(help="The model that the searches used.")] = "smollm2-135m",
    epochs: Annotated[float, typer.Option(help="Number of passes over the traces.")] = 3,
    learning_rate: Annotated[float, typer.Option(help="Learning rate of AdamW; it decays linearly to 0.")] = 5e-4,
    rank: Annotated[int, typer.Option(help="Rank of the LoRA matrices.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the initial matrices and the order of the traces.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    out: Annotated[Path | None, typer.Option(help="File to write the results to, as JSON.")] = None,
) -> None:
    """Train LoRA matrices on the training traces, and measure on held-out questions before and after.

    The measures are the loss on held-out traces (validation), and how many held-out questions are answered correctly
    with greedy decoding, including questions for which no search found an answer. The trained model is written next to
    the data, to `DATA.trained`; marcot search --model can load it.
    """
    torch.set_num_threads(threads)
    set_seed(seed)
    path = locate(model)
    source: dict[str, Any] = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    folder = path.parent if source else path
    tokenizer = AutoTokenizer.from_pretrained(folder, **source)
    network = _dense(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **source))
    options = json.loads((data / "dataset.json").read_text(encoding="utf-8"))["options"]
    trained = data.with_name(data.name + ".trained")
    held_out = [question for question in read_questions(questions) if _split(question, options) != "train"]
    trainer = SFTTrainer(
        network,
        SFTConfig(
            output_dir=str(trained),
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
    # LoRA's second matrix starts as zeros, so until the first step this is the original model.
    before = {"loss": round(trainer.evaluate()["eval_loss"], 4), **_accuracy(model, held_out, threads)}
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    loss = round(trainer.evaluate()["eval_loss"], 4)
    trainer.model.merge_and_unload().save_pretrained(trained)
    tokenizer.save_pretrained(trained)
    after = {"loss": loss, **_accuracy(str(trained), held_out, threads)}
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
        write_atomically(out, (json.dumps(report, indent=2) + "\n").encode())


def _dense(model: PreTrainedModel) -> PreTrainedModel:
    """Return the same fp32 weights without their quantization config, with which transformers refuses to train."""
    if not hasattr(model.config, "quantization_config"):
        return model
    del model.config.quantization_config
    plain: PreTrainedModel = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return plain


def _traces(data: Path, split: str) -> Dataset:
    """Return the traces as pairs of prompt and completion, the form in which TRL trains on the completion only."""
    traces = load_dataset("json", data_files=str(data / "sft" / f"{split}.jsonl"), split="train")
    return traces.map(
        lambda trace: {"prompt": trace["messages"][:-1], "completion": trace["messages"][-1:]},
        remove_columns=traces.column_names,
    )


def _split(question: InputQuestion, options: dict[str, Any]) -> str:
    id = question_id(question.text)
    return assign_split(id, validation=options["validation"], test=options["test"], seed=options["seed"])


def _accuracy(model: str, questions: Sequence[InputQuestion], threads: int) -> dict[str, Any]:
    """Measure how many questions `model` answers correctly with greedy decoding."""
    engine = Engine.load(model, compute="exact", threads=threads)
    texts = [question.text for question in questions]
    results = engine.search(texts, Greedy(max_rollout_tokens=_GENERATED), instruction=None, concurrency=_CONCURRENCY)
    pairs = zip(results, questions, strict=True)
    right = sum(answers_agree(result.answer, question.reference or "") for result, question in pairs)
    interval = wilson(right, len(questions))
    return {
        "right": right,
        "accuracy": round(right / len(questions), 4),
        "interval": [round(interval.low, 4), round(interval.high, 4)],
        "complete": sum(result.rollouts[0].complete for result in results),
        "tokens": round(sum(result.rollouts[0].tokens for result in results) / len(results), 1),
    }


if __name__ == "__main__":
    typer.run(fine_tune)

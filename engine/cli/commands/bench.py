"""`marcot bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..options import common as options
from ..options.groups import grouped
from ..options.model import ModelOptions
from ..options.workload import WorkloadOptions

if TYPE_CHECKING:
    import torch

    from ...engine import Engine
    from ...speed import Timing, TreeShape


@grouped
def bench(
    *,
    model: options.ModelOption,
    workload: WorkloadOptions,
    json: options.JsonOption = False,
    loading: ModelOptions,
) -> None:
    """Measure how fast a model is here: prefill, decoding by branches and length of prefix, a search.

    Prompts are random tokens, and nothing but the length ends a branch. The report has the hardware, the versions and
    the load of the machine, which should be idle.

    For example:

      marcot bench -m smollm2-135m

      marcot bench -m ./my-checkpoint --weights bf16 --branches 1,16,64 --prefix 256,2048 --rollouts 8 --json
    """
    from ...load_options import parse_device
    from ...results.json_form import to_line
    from ...speed import describe, read_tree_shape
    from ..spinner import spinner

    workload.prompts, workload.forks  # noqa: B018  (refuses bad lists before a model is loaded)
    tree = None if workload.tree is None else read_tree_shape(workload.tree)
    engine = loading.load(model)
    device = parse_device(loading.device)
    about = describe(engine, device)
    with spinner("timing"):
        timings = _timings(engine, workload, tree)
        if workload.transformers:
            timings += _transformers_timings(model, engine, device, workload)
    if json:
        print(to_line({**about, "timings": [_entry(timing) for timing in timings]}))
        return
    print("\n".join(f"{name:<14}{value}" for name, value in about.items()), end="\n\n")
    print(f"{'':<9}{'':<50}{'tokens/s':>10}  of {workload.repeat}, from least to most")
    for timing in timings:
        least, most = min(timing.rates), max(timing.rates)
        print(f"{timing.what:<9}{timing.detail:<50}{timing.rate:>10.1f}  {least:.1f} to {most:.1f}")


def _timings(engine: Engine, workload: WorkloadOptions, tree: TreeShape | None) -> list[Timing]:
    """All requested timings, in the order of the report."""
    from ...speed import TreeShape, below_prefix, time_decode, time_prefill, time_search

    tokens, repeat = workload.tokens, workload.repeat
    timings = [time_prefill(engine, length, repeat) for length in workload.prompts]
    for length, count in workload.forks:
        shape, detail = TreeShape((-1,), (length,), count), below_prefix(length, count)
        timings.append(time_decode(engine, shape, tokens, repeat, detail))
    if tree is not None and workload.tree is not None:
        detail = f"{workload.tree.name}: {len(tree.tokens)} nodes, {tree.rows} leaves"
        timings.append(time_decode(engine, tree, tokens, repeat, detail))
    if workload.rollouts:
        timings.append(time_search(engine, workload.rollouts, repeat))
    return timings


def _transformers_timings(model: str, engine: Engine, device: torch.device, workload: WorkloadOptions) -> list[Timing]:
    """Prefill and decoding below one prefix."""
    from ....model import locate
    from ...speed import TransformersPeer

    tokens, repeat = workload.tokens, workload.repeat
    peer = TransformersPeer(locate(model), engine, device)
    timings = [peer.time_prefill(length, repeat) for length in workload.prompts]
    return timings + [peer.time_decode(length, count, tokens, repeat) for length, count in workload.forks]


def _entry(timing: Timing) -> dict[str, object]:
    return {
        "what": timing.what,
        "detail": timing.detail,
        "tokens_per_s": round(timing.rate, 3),
        "tokens": list(timing.tokens),
        "seconds": [round(seconds, 6) for seconds in timing.seconds],
    }

"""Checkpoints (config, weights and tokenizer, from a name or a path), and the forward pass of a model."""

from ..kernels import PAGE_SIZE
from .checkpoint import Checkpoint
from .config import ModelConfig, RopeConfig
from .decoder import Decoder, StepInput
from .errors import (
    ChatTemplateError,
    CheckpointError,
    DownloadError,
    ModelNotFoundError,
    TokenizerError,
    UnsupportedConfigError,
)
from .fetch.cache import cached_model, models_folder
from .fetch.catalog import BUILT_IN_MODELS, BuiltInModel
from .fetch.locate import find_here, load_checkpoint, locate
from .formats import open_checkpoint
from .kv_cache import KVCache
from .kv_scales import kv_scales
from .rounds.cuda_graphs import decode_graphs
from .rounds.decode_graph import DecodeGraphs
from .rounds.drawn_tokens import DrawnTokens
from .rounds.round import ROUND_ENDS, ROUND_TOKENS, Drawn, Patience, Round, run_round
from .template.chat_template import ChatTemplate, Message, speaks_of_reasoning
from .tokenizer import TextStream, Tokenizer
from .weight_format import WeightFormat

__all__ = [
    "BUILT_IN_MODELS",
    "PAGE_SIZE",
    "ROUND_ENDS",
    "ROUND_TOKENS",
    "BuiltInModel",
    "ChatTemplate",
    "ChatTemplateError",
    "Checkpoint",
    "CheckpointError",
    "DecodeGraphs",
    "Decoder",
    "DownloadError",
    "Drawn",
    "DrawnTokens",
    "KVCache",
    "Message",
    "ModelConfig",
    "ModelNotFoundError",
    "Patience",
    "RopeConfig",
    "Round",
    "StepInput",
    "TextStream",
    "Tokenizer",
    "TokenizerError",
    "UnsupportedConfigError",
    "WeightFormat",
    "cached_model",
    "decode_graphs",
    "find_here",
    "kv_scales",
    "load_checkpoint",
    "locate",
    "models_folder",
    "open_checkpoint",
    "run_round",
    "speaks_of_reasoning",
]

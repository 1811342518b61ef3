"""Loads a pretrained BERT into KerasHub so that it computes what it was trained to compute."""

import json
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from ledger.errors import CheckpointError
from training.layers.elastic_dense import ACTIVATIONS

HIDDEN_ACT = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
"""What a checkpoint's config calls an activation, and what ACTIVATIONS calls it."""


def load_backbone(folder: Path) -> Any:
    """Load a BERT checkpoint in Hugging Face's format into KerasHub.

    KerasHub 0.32 gives every BERT the tanh approximation of GELU, an epsilon of 1e-12, a dropout of 0.1 and two segments,
    whatever the checkpoint's config says; here the config's are set. MiniLM's hidden states differ by 0.005 without that.

    Parameters
    ----------
    folder : Path
        With ``config.json`` and ``model.safetensors``. ``architectures`` may be missing from the config: KerasHub reads
        it for whole tasks only (``TransformersPresetLoader.load_task``), which are never asked for here.

    Returns
    -------
    keras_hub.models.BertBackbone
        Its hidden states are those of transformers' BertModel within 1e-5.

    Raises
    ------
    CheckpointError
        If KerasHub cannot read it as BERT, or its network is one that BERT's code does not compute.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        activation = _activation(config)
        backbone = keras_hub.models.BertBackbone.from_preset(
            str(folder.resolve()),  # a bare name could be one of KerasHub's own presets
            num_segments=config.get("type_vocab_size", 2),
            dropout=config.get("hidden_dropout_prob", 0.1),
        )
    except Exception as error:  # KerasHub raises whatever its loaders raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{folder}: KerasHub cannot load it as a BERT encoder ({reason})") from None
    return _configure(backbone, activation, config.get("layer_norm_eps", 1e-12))


def untrained_copy(backbone: Any) -> Any:
    """Return a backbone of the same shape and functions whose weights are fresh."""
    copy = type(backbone).from_config(backbone.get_config())
    return _configure(copy, activation_of(backbone), epsilon_of(backbone))


def with_table(backbone: Any, table: np.ndarray) -> Any:
    """Return the backbone with another table of token embeddings, float32 of shape ``(tokens, width)``; all else is copied."""
    config = backbone.get_config() | {"vocabulary_size": len(table)}
    copy = _configure(type(backbone).from_config(config), activation_of(backbone), epsilon_of(backbone))
    replaced = backbone.token_embedding.embeddings
    copy.set_weights([table if weight is replaced else np.asarray(weight) for weight in backbone.weights])
    return copy


def activation_of(backbone: Any) -> str:
    """Return the name, in ACTIVATIONS, of what the backbone's feed-forward networks use."""
    used = backbone.transformer_layers[0].activation
    return next(name for name, function in ACTIVATIONS.items() if function is used)


def epsilon_of(backbone: Any) -> float:
    """Return the epsilon of the backbone's layer normalizations."""
    return float(backbone.embeddings_layer_norm.epsilon)


def _activation(config: dict[str, Any]) -> str:
    """Translate ``hidden_act``; refuse what would silently be computed otherwise."""
    named = config.get("hidden_act", "gelu")
    if named not in HIDDEN_ACT:
        raise ValueError(f"hidden_act={named!r} must be one of {list(HIDDEN_ACT)}")
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise ValueError(f"position_embedding_type={positions!r} must be 'absolute'")
    return HIDDEN_ACT[named]


def _configure(backbone: Any, activation: str, epsilon: float) -> Any:
    """Set what KerasHub hardcodes; its layers read both at each call."""
    function: Any = ACTIVATIONS[activation]
    backbone.embeddings_layer_norm.epsilon = epsilon
    for layer in backbone.transformer_layers:
        layer.activation = layer._feedforward_intermediate_dense.activation = function
        layer.layer_norm_epsilon = epsilon
        norms: list[keras.layers.LayerNormalization] = [layer._self_attention_layer_norm, layer._feedforward_layer_norm]
        for norm in norms:
            norm.epsilon = epsilon
    return backbone

"""Tiny random models of every family that can be cut."""

import torch
from transformers import (
    AutoModel,
    BertConfig,
    CamembertConfig,
    DebertaConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

NUM_LAYERS = 3


COMMON = {
    "vocab_size": 58,  # the tiny tokenizer's
    "hidden_size": 16,
    "num_hidden_layers": NUM_LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 66,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}


DISTIL = {"dim": 16, "hidden_dim": 24, "n_layers": NUM_LAYERS, "n_heads": 2}


RELATIVE = {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "type_vocab_size": 0,
}


FAMILIES = {
    "BERT": BertConfig(**COMMON),
    "DistilBERT": DistilBertConfig(
        vocab_size=58, max_position_embeddings=66, initializer_range=0.3, pad_token_id=0, **DISTIL
    ),
    "RoBERTa": RobertaConfig(**COMMON),
    "XLM-R": XLMRobertaConfig(**COMMON),
    "CamemBERT": CamembertConfig(**COMMON),
    "ELECTRA": ElectraConfig(**COMMON, embedding_size=16),
    "ELECTRA, projected": ElectraConfig(**COMMON, embedding_size=8),
    "MPNet": MPNetConfig(**COMMON),
    "DeBERTa": DebertaConfig(**COMMON, **RELATIVE),
    "DeBERTa-v2, convolved": DebertaV2Config(**COMMON, **RELATIVE, conv_kernel_size=3, position_buckets=4),
    "DeBERTa-v3": DebertaV2Config(
        **COMMON, **RELATIVE, position_buckets=4, share_att_key=True, norm_rel_ebd="layer_norm"
    ),
    "ModernBERT": ModernBertConfig(
        **COMMON,
        local_attention=8,
        global_attn_every_n_layers=2,
        attention_dropout=0.1,
        mlp_dropout=0.1,
        embedding_dropout=0.1,
    ),
}


def random_model(config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return AutoModel.from_config(config)

import ast
from pathlib import Path

import pytest
import torch

import trainers.modeling_frostline
from trainers.data.tokens import encode
from trainers.modeling_frostline import Head, cut


def test_the_head_is_dense_relu_dense_in_eval_mode():
    head = Head(hidden_size=6, width=5, num_classes=3, dropout=0.5).eval()
    pooled_BD = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    hidden_BW = torch.clamp(pooled_BD @ head.hidden.weight.T + head.hidden.bias, min=0)
    expected_BC = hidden_BW @ head.output.weight.T + head.output.bias
    torch.testing.assert_close(head(pooled_BD), expected_BC)


def test_dropout_stands_before_and_after_the_hidden_layer():
    head = Head(hidden_size=6, width=5, num_classes=2, dropout=0.4).train()
    seen = []
    head.dropout.register_forward_hook(lambda _module, args, _output: seen.append(tuple(args[0].shape)))
    head(torch.ones(3, 6))
    assert seen == [(3, 6), (3, 5)]
    assert head.dropout.p == 0.4


def test_without_dropout_train_and_eval_mode_agree():
    head = Head(hidden_size=6, width=5, num_classes=2, dropout=0.0)
    pooled_BD = torch.ones(3, 6)
    assert torch.equal(head.train()(pooled_BD), head.eval()(pooled_BD))


def test_the_file_needs_torch_and_transformers_alone():
    nodes = list(ast.walk(ast.parse(Path(trainers.modeling_frostline.__file__).read_text())))
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} == {"__future__", "typing", "torch", "transformers"}


@pytest.mark.parametrize("head_tokens", [0, 1, 6, 21, 22])
@pytest.mark.parametrize("num_words", [0, 1, 21, 22, 23, 24, 25, 100])
def test_the_model_cuts_as_tokenising_for_training_does(tiny_encoder, head_tokens, num_words):
    tokenizer = tiny_encoder.tokenizer
    draw = torch.Generator().manual_seed(num_words)
    words = [w for w in tokenizer.get_vocab() if w.isalpha() and len(w) > 1]
    picks = torch.randint(len(words), (num_words,), generator=draw)
    texts = [" ".join(words[i] for i in picks), "a good film", "the " * 60]
    whole = tokenizer(texts, padding=True, return_tensors="pt")
    ids_BT, mask_BT = cut(
        whole["input_ids"], whole["attention_mask"], max_tokens=24, start_tokens=1 + head_tokens
    )
    expected = encode(texts, tokenizer, max_length=24, head_tokens=head_tokens)
    kept = [ids_T[mask_T.bool()].tolist() for ids_T, mask_T in zip(ids_BT, mask_BT, strict=True)]
    assert kept == expected


def test_what_is_not_longer_stays_as_it_is():
    ids_BT = torch.arange(12).view(2, 6)
    mask_BT = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    for mask in (None, mask_BT):
        cut_BT, left = cut(ids_BT, mask, max_tokens=6, start_tokens=2)
        assert torch.equal(cut_BT, ids_BT)
        assert left is None if mask is None else torch.equal(left, mask)


def test_without_a_mask_every_token_counts():
    ids_BT, mask_BT = cut(torch.arange(6)[None], None, max_tokens=4, start_tokens=1)
    assert (ids_BT.tolist(), mask_BT) == ([[0, 3, 4, 5]], None)


def test_head_of_no_width_is_linear():
    head = Head(hidden_size=6, width=0, num_classes=3, dropout=0.5).eval()
    pooled_BD = torch.randn(4, 6)
    torch.testing.assert_close(head(pooled_BD), pooled_BD @ head.output.weight.T + head.output.bias)
    assert {name for name, _ in head.named_parameters()} == {"output.weight", "output.bias"}

import torch

from trainers.head import Head


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

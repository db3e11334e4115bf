import torch

from trainers.fit.inputs import padding_mask


def test_the_padding_mask_marks_tokens():
    assert padding_mask(torch.tensor([1, 3])).tolist() == [[True, False, False], [True, True, True]]


def test_equal_lengths_need_no_padding_mask():
    assert padding_mask(torch.tensor([3, 3])) is None

"""Tokenizers of few words, with the quirks that published ones have."""

from random_models import FAMILIES, random_model
from reviews import BAD, GOOD, PLAIN, SPECIAL
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizer, PreTrainedTokenizerFast

WORDS = tuple(dict.fromkeys((*SPECIAL, *GOOD, *BAD, *PLAIN, "!", ".", *"abcdefghijklmnopqrstuvwxyz")))
IDS = {word: i for i, word in enumerate(WORDS)}


def of_words(*, specials=True, unknown="[UNK]", **limits):
    """A tokenizer that splits at blanks."""
    tokenizer = Tokenizer(models.WordLevel(IDS, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if specials:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", IDS["[CLS]"]), ("[SEP]", IDS["[SEP]"])]
        )
    if limits:
        tokenizer.enable_truncation(8, direction="left")
        tokenizer.enable_padding(direction="left", length=16, pad_id=0, pad_token="[PAD]")
    return tokenizer


def fast(tokenizer, pad="[PAD]"):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad)


QUIRKS = {
    "pads on the right": lambda: BertTokenizer(vocab=IDS),
    "pads on the left": lambda: BertTokenizer(vocab=IDS, padding_side="left"),
    "cuts on the left": lambda: BertTokenizer(vocab=IDS, truncation_side="left"),
    "keeps capitals": lambda: BertTokenizer(vocab=IDS, do_lower_case=False),
    "its JSON pads and cuts": lambda: fast(of_words(limits=True)),
    "adds no special tokens": lambda: fast(of_words(specials=False)),
    "pads with a separator": lambda: fast(of_words(), pad="[SEP]"),
    "pads with a word": lambda: fast(of_words(), pad="the"),
    "gives no mask": lambda: BertTokenizer(vocab=IDS, model_input_names=["input_ids"]),
}


def encoder_with(folder, tokenizer, family="BERT"):
    random_model(FAMILIES[family]).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

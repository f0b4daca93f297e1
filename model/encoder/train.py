"""Trains the encoder on rows that model/cmd/prep made. Seeded, resumable, one thread.

  train.py --pretrained trunk.pt --vocab vocab.txt --out DIR [--minutes M] [--epochs E] FILE.prep...

A row of several windows is judged by its worst window, in training as in production.
"""
import argparse
import collections
import json
import os
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

from net import Net, start

# A plain harmful request is no attack on the model; knowing one helps to tell a dressed one.
CLASS = {"benign": 0, "injection": 1, "jailbreak": 2, "harmful_request": 3}
MAXT = 128


class Vocab:
    """The ids of a vocabulary (weights/vocab.txt) that training speaks of: an id is a line."""

    def __init__(self, name):
        self.controls, self.bytes, self.size, self.blank = {}, [], 0, 0
        for line in open(name, encoding="utf-8"):
            kind, value, _ = line.rstrip("\n").split("\t")
            if kind == "control":
                self.controls[value] = self.size
            elif kind == "byte":
                self.bytes.append(self.size)
            elif kind == "piece" and value == '"\u2581"':
                self.blank = self.size
            self.size += 1


def load(files, controls, without):
    rows = []
    for f in files:
        for line in open(f):
            r = json.loads(line)
            if r["y"] not in CLASS or r["src"] in without:
                continue
            ws, ms = [], []
            for i, w in enumerate(r["w"]):
                c = [controls[r["ch"]]]
                ws.append(np.array(c + w[: MAXT - 1], dtype=np.int32))
                if r.get("m"):
                    ms.append(np.array([0] + r["m"][i][: MAXT - 1], dtype=np.int8))
            rows.append((CLASS[r["y"]], r["src"], ws, ms or None, r["fam"]))
    return rows


def epoch(rows, rnd, cap):
    """Indices for one pass: of each source and label at most cap, larger ones less than in proportion."""
    by = collections.defaultdict(list)
    for i, r in enumerate(rows):
        by[(r[1], r[0])].append(i)
    out = []
    for k in sorted(by):
        idx = by[k]
        n = min(len(idx), int(cap * (len(idx) / cap) ** 0.5) if len(idx) > cap else len(idx))
        out += rnd.sample(idx, n)
    rnd.shuffle(out)
    return out


def batches(rows, idx, rnd, budget):
    """Batches of rows of similar length whose windows fit the token budget."""
    key = {i: max(len(w) for w in rows[i][2]) + rnd.random() * 12 for i in idx}
    cur, width, n, out = [], 0, 0, []
    for i in sorted(idx, key=key.get):
        t = max(len(w) for w in rows[i][2])
        k = len(rows[i][2])
        if cur and max(width, t) * (n + k) > budget:
            out.append(cur)
            cur, width, n = [], 0, 0
        cur.append(i)
        width, n = max(width, t), n + k
    if cur:
        out.append(cur)
    rnd.shuffle(out)
    return out


def collate(rows, b, rnd=None, vocab=None):
    ws, owner, marks = [], [], []
    for j, i in enumerate(b):
        for k, w in enumerate(rows[i][2]):
            ws.append(w)
            owner.append(j)
            m = rows[i][3]
            if m is not None:
                marks.append(m[k])
            elif rows[i][0] in (0, 3):
                marks.append(np.zeros(len(w), np.int8))
            else:
                marks.append(np.full(len(w), -1, np.int8))
    t = max(map(len, ws))
    ids = np.zeros((len(ws), t), np.int64)
    mk = np.full((len(ws), t), -1, np.int64)
    for n, w in enumerate(ws):
        ids[n, : len(w)] = w
        mk[n, : len(w)] = marks[n]
        if rnd is not None and len(w) > 6:  # a few pieces are lost, so that no single one decides
            for p in range(1, len(w)):
                if rnd.random() < 0.04:
                    ids[n, p] = rnd.choice(vocab.bytes) if rnd.random() < 0.2 else vocab.blank
    lens = torch.tensor([len(w) for w in ws])
    y = torch.tensor([rows[i][0] for i in b])
    return torch.from_numpy(ids), lens, torch.tensor(owner), y, torch.from_numpy(mk)


def attack(logits):
    return torch.logsumexp(logits[:, 1:3], 1) - torch.logsumexp(logits[:, ::3], 1)


def worst(score, owner, n):
    """Per row the window with the highest score."""
    at, best = [-1] * n, [0.0] * n
    for w, (r, v) in enumerate(zip(owner.tolist(), score.tolist())):
        if at[r] < 0 or v > best[r]:
            at[r], best[r] = w, v
    return torch.tensor(at)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("files", nargs="+")
    a.add_argument("--pretrained")
    a.add_argument("--vocab", required=True)
    a.add_argument("--init", help="a net.pt to go on from instead of the pretrained trunk")
    a.add_argument("--floor", type=float, default=0.03, help="share of the learning rate at the end")
    a.add_argument("--out")
    a.add_argument("--epochs", type=int, default=3)
    a.add_argument("--cap", type=int, default=1200)
    a.add_argument("--lr", type=float, default=2e-4)
    a.add_argument("--budget", type=int, default=4096)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--without", default="")
    a.add_argument("--minutes", type=float, default=1e9)
    o = a.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(o.seed)
    rnd = random.Random(o.seed)
    vocab = Vocab(o.vocab)
    rows = load(o.files, vocab.controls, set(o.without.split(",")))
    net = start(vocab.size, o.pretrained)
    if o.init:
        old = torch.load(o.init)
        for k in ("h2.weight", "h2.bias"):  # a class more than it had: begins as benign
            if len(old[k]) < len(CLASS):
                old[k] = torch.cat([old[k], old[k][:1]])
        net.load_state_dict(old)
    head = [p for n, p in net.named_parameters() if n.startswith(("h1", "h2", "span"))]
    body = [p for n, p in net.named_parameters() if not n.startswith(("h1", "h2", "span"))]
    opt = torch.optim.AdamW([{"params": body, "lr": o.lr}, {"params": head, "lr": 1e-3}], weight_decay=0.01)
    plan = [epoch(rows, rnd, o.cap) for _ in range(o.epochs)]
    todo = [b for p in plan for b in batches(rows, p, rnd, o.budget)]
    print(len(rows), "rows", [len(p) for p in plan], "an epoch", len(todo), "steps", flush=True)
    step, t0, spent = 0, time.time(), 0.0
    os.makedirs(o.out, exist_ok=True)
    ck = os.path.join(o.out, "checkpoint.pt")
    if os.path.exists(ck):
        c = torch.load(ck)
        net.load_state_dict(c["net"])
        opt.load_state_dict(c["opt"])
        step, spent = c["step"], c["spent"]
    base = [g["lr"] for g in opt.param_groups] if step == 0 else [o.lr, 1e-3]
    frac = lambda s: max(s / len(todo), (spent + time.time() - t0) / 60 / o.minutes)
    run, tok, last = 0.0, 0, time.time()
    net.train()
    while step < len(todo) and frac(step) < 1:
        k = min(1.0, (step + 1) / 100) * max(o.floor, 1 - frac(step))
        for g, lr in zip(opt.param_groups, base):
            g["lr"] = lr * k
        ids, lens, owner, y, mk = collate(rows, todo[step], rnd, vocab)
        logits, marks, real = net(ids, lens)
        with torch.no_grad():
            at = worst(attack(logits), owner, len(y))
        loss = F.cross_entropy(logits[at], y, label_smoothing=0.02)
        known = mk >= 0
        if known.any():
            loss = loss + 0.5 * F.binary_cross_entropy_with_logits(
                marks[known], mk[known].float(), pos_weight=torch.tensor(3.0))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        step += 1
        run, tok = run + loss.item(), tok + int(lens.sum())
        if step % 50 == 0:
            print(step, f"loss {run/50:.3f} {tok/(time.time()-last):.0f} tok/s {time.time()-t0:.0f} s", flush=True)
            run, tok, last = 0.0, 0, time.time()
        if step % 100 == 0:
            torch.save({"net": net.state_dict(), "opt": opt.state_dict(), "step": step, "spent": spent + time.time() - t0}, ck)
    torch.save(net.state_dict(), os.path.join(o.out, "net.pt"))


if __name__ == "__main__":
    main()

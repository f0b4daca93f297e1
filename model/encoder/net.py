"""The encoder as it is trained: the trunk of Universal Sentence Encoder Lite (Apache-2.0, NOTICE)
with a longer vocabulary and three heads. internal/nn runs the same network in int8.

  ids [B,T]  ->  logits [B,4] (benign, injection, jailbreak, harmful request), marks [B,T] (token is part of an attack)
"""
import math

import torch
import torch.nn as nn

WIDTH, HIDDEN, FFN, HEADS = 256, 512, 1536, 4


class Layer(nn.Module):
    """A pre-LN transformer layer; proj widens the residual of the first."""

    def __init__(self, inw, out, proj):
        super().__init__()
        self.ln1 = nn.LayerNorm(inw, eps=1e-6)
        self.qkv = nn.Linear(inw, 3 * inw)
        self.o = nn.Linear(inw, out)
        self.proj = nn.Linear(inw, out) if proj else None
        self.ln2 = nn.LayerNorm(out, eps=1e-6)
        self.f1 = nn.Linear(out, FFN)
        self.f2 = nn.Linear(FFN, out)

    def forward(self, x, bias):
        b, t, w = x.shape
        d = w // HEADS
        q, k, v = [y.view(b, t, HEADS, d).transpose(1, 2) for y in self.qkv(self.ln1(x)).split(w, -1)]
        a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(d) + bias, -1) @ v
        r = x if self.proj is None else self.proj(x)
        x = r + self.o(a.transpose(1, 2).reshape(b, t, w))
        return x + self.f2(torch.relu(self.f1(self.ln2(x))))


class Net(nn.Module):
    def __init__(self, vocab, classes=4, marks=1):
        super().__init__()
        self.emb = nn.Embedding(vocab, WIDTH)
        self.register_buffer("inv", torch.zeros(1, WIDTH // 2))
        self.l0 = Layer(WIDTH, HIDDEN, True)
        self.l1 = Layer(HIDDEN, HIDDEN, False)
        self.h1 = nn.Linear(2 * HIDDEN, 256)
        self.h2 = nn.Linear(256, classes)
        self.span = nn.Linear(HIDDEN, marks)
        self.drop = nn.Dropout(0.1)

    def forward(self, ids, lens):
        t = ids.shape[1]
        p = torch.arange(t).float()[:, None] * self.inv
        x = 2 * self.emb(ids) + torch.cat([p.sin(), p.cos()], -1)
        real = torch.arange(t)[None] < lens[:, None]
        bias = (~real).float()[:, None, None, :] * -1e9
        x = self.l1(self.drop(self.l0(x, bias)), bias)
        mean = (x * real[..., None]).sum(1) / lens[:, None]
        top = x.masked_fill(~real[..., None], -1e4).max(1)[0]
        h = torch.relu(self.h1(self.drop(torch.cat([mean, top], -1))))
        return self.h2(h), self.span(x)[..., 0], real


def start(vocab, pretrained):
    """A network that begins with the pretrained trunk; rows of new pieces start at the mean."""
    net = Net(vocab)
    old = torch.load(pretrained)
    emb = old.pop("emb.weight")
    good = emb[~torch.isnan(emb).any(1)]
    g = torch.Generator().manual_seed(1)
    new = good.mean(0) + torch.randn(vocab, WIDTH, generator=g) * good.std(0) * 0.5
    keep = ~torch.isnan(emb).any(1)
    new[: len(emb)][keep] = emb[keep]
    net.emb.weight.data.copy_(new)
    state = net.state_dict()
    for k, v in old.items():
        if k in state and k != "emb.weight":
            state[k].copy_(v)
    net.load_state_dict(state)
    return net

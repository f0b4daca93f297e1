#!/usr/bin/env bash
# Judges the built-in weights on the development rows beside other detectors, and writes a page.
#
#   SALLYPORT_DATA=DIR model/eval.sh [OUT]     DIR holds dev.jsonl.gz; OUT is bin/eval.html
#
# Peers run where node is installed; their packages are installed from test/peers' lock file.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${SALLYPORT_DATA:-}" ]; then
  echo "not run: name the directory of dev.jsonl.gz, as in make eval DATA=DIR" >&2
  exit 2
fi
out=${1:-bin/eval.html}
peers=()
if command -v npm >/dev/null && command -v node >/dev/null; then
  (cd test/peers && npm ci --ignore-scripts --no-audit --no-fund --silent)
  for p in llm_guardrail aidefence vard llm-guard; do
    peers+=(--peer "$p=node test/peers/driver.js $p")
  done
else
  echo "node and npm are not installed: no peer is judged" >&2
fi
# A configuration of its own: no installed pack stands in for the built-in weights.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'data_dir: %s\n' "$work/data" >"$work/config.yaml"
mkdir -p "$(dirname "$out")"
bin/sallyport eval "$SALLYPORT_DATA/dev.jsonl.gz" --config "$work/config.yaml" \
  --by dev_kind,channel,dev_kind+channel,source,lang,length --html "$out" "${peers[@]}"
echo "page: $out" >&2

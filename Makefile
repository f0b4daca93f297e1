# Thin names for the commands of CONTRIBUTING.md.
.PHONY: check test removal bench bench-iam bench-detect eval card fuzz demo build
build:
	go build -trimpath -o bin/sallyport ./cmd/sallyport
check:
	./.ci/check
test:
	go test ./...
# Every line of test/removal; ONLY names rows or words of them. Twenty minutes for all.
ONLY ?= all
removal:
	SALLYPORT_TEST_REMOVAL="$(ONLY)" go test -v -count=1 -timeout 90m -run TestWithoutTheDefence ./test/removal
bench: build
	go run ./test/load/bench --sallyport bin/sallyport
# The whole of authentication, policies and limits, at 100,000 keys and 1,000 policies.
bench-iam:
	go test ./internal/server -run TestTheHotPathAsksNoDatabase -bench HotPath -cpu 1,2
bench-detect: build
	go run ./test/load/detect --binary bin/sallyport
# DATA (or SALLYPORT_DATA) is the directory of train.jsonl.gz and dev.jsonl.gz; OUT the page.
DATA ?= $(SALLYPORT_DATA)
OUT ?= bin/eval.html
eval: build
	SALLYPORT_DATA="$(DATA)" ./model/eval.sh "$(OUT)"
card:
	@test -n "$(DATA)" || { echo "not run: name the directory of the rows, as in make card DATA=DIR" >&2; exit 2; }
	@! command -v npm >/dev/null || (cd test/peers && npm ci --ignore-scripts --no-audit --no-fund --silent)
	go run ./model/cmd/card -data "$(DATA)"
fuzz:
	./.ci/fuzz 30s
demo:
	go run ./cmd/sallyport demo

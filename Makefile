# Thin names for the commands of CONTRIBUTING.md.
.PHONY: check test bench bench-detect fuzz demo build
build:
	go build -trimpath -o bin/sallyport ./cmd/sallyport
check:
	./.ci/check
test:
	go test ./...
bench: build
	go run ./test/load/bench --sallyport bin/sallyport
bench-detect: build
	go run ./test/load/detect --binary bin/sallyport
fuzz:
	./.ci/fuzz 30s
demo:
	go run ./cmd/sallyport demo

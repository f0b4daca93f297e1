//go:build !race

package iam_test

// racing says that this build looks for races.
const racing = false

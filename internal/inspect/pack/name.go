package pack

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// Builtin is the id of the pack within the binary.
const Builtin = "builtin"

var (
	packName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$`)
	version  = regexp.MustCompile(`^[0-9a-z.-]{5,40}$`)
	fileName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9_-]|\.[a-z0-9_-]){0,62}$`)
	// KeyName is what a signing key may be called.
	KeyName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$`)
)

// ValidName says whether a pack may be called so.
func ValidName(s string) bool { return packName.MatchString(s) && s != Builtin }

// ValidVersion says whether s is a semantic version in the one way it is written here: without v,
// with all three numbers and without build metadata (which does not order).
func ValidVersion(s string) bool {
	return version.MatchString(s) && semver.IsValid("v"+s) && semver.Canonical("v"+s) == "v"+s
}

// ValidID says whether s is name@version.
func ValidID(s string) bool {
	n, v, ok := strings.Cut(s, "@")
	return ok && ValidName(n) && ValidVersion(v)
}

// Compare orders two valid versions as semantic versioning 2.0.0 section 11 does.
func Compare(a, b string) int { return semver.Compare("v"+a, "v"+b) }

// Runs says whether a release of sallyport may run a pack that asks for at least minimum. A build
// that is no release does not know how new it is and runs every pack.
func Runs(release, minimum string) bool {
	if minimum == "" {
		return true
	}
	v := release
	if !strings.HasPrefix(v, "v") {
		v = "v" + v
	}
	if !semver.IsValid(v) || module.IsPseudoVersion(strings.TrimSuffix(v, "+dirty")) {
		return true
	}
	return semver.Compare(v, "v"+minimum) >= 0
}

// limitOf is the size a file at this path may have; 0: no pack has such a file. Paths are of a fixed
// shape, so nothing in a pack can name a place outside it, and no two differ only in case.
func limitOf(p string) int64 {
	dir, base := path.Split(p)
	switch {
	case p == "thresholds.json":
		return maxThresholds
	case p == "examples.jsonl":
		return maxExamples
	case dir == "rules/" && strings.HasSuffix(base, ".toml") && fileName.MatchString(base):
		return maxRuleFile
	case dir == "weights/" && fileName.MatchString(base):
		return MaxBytes
	}
	return 0
}

// Plain makes text from outside safe for a terminal and a log: what is not printable ASCII is
// escaped, and what is long is cut.
func Plain(s string) string {
	const most = 2000
	if len(s) > most {
		s = s[:most] + "..."
	}
	q := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. In the file it is a whole number, or one with a binary unit: KiB, MiB
// or GiB. Decimal units are refused, because half of their readers mean the binary ones.
type Size int64

// Int is the size as int; what ParseSize accepts always fits on 64-bit machines.
func (s Size) Int() int { return int(s) }

// String writes the size with the largest unit that divides it: "32MiB", "1000".
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

var errSize = errors.New("expected a size: a whole number of bytes, or one with KiB, MiB or GiB, such as 32MiB")

// ParseSize is the inverse of Size.String.
func ParseSize(s string) (Size, error) {
	unit := int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = n, u.bytes
			break
		}
	}
	n, err := parseWhole(s)
	if err != nil || n > math.MaxInt64/unit {
		return 0, errSize
	}
	return Size(n * unit), nil
}

// parseWhole reads a decimal number without sign, underscore, leading zero or other base, so that
// nothing is read as a number that a person would not read as the same number.
func parseWhole(s string) (int64, error) {
	if s == "" || (len(s) > 1 && s[0] == '0') || strings.Trim(s, "0123456789") != "" {
		return 0, errors.New("expected a whole number")
	}
	return strconv.ParseInt(s, 10, 64)
}

package password

import (
	_ "embed"
	"errors"
	"strings"
	"sync"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/secret"
)

// Lengths of a password in bytes. There are no rules on which characters it has (NIST SP 800-63B-4
// section 3.1.1.2).
const (
	MinLen = 8
	MaxLen = 256
)

// Why a password may not be chosen. Each is meant to be shown.
var (
	ErrShort  = errors.New("password: it is too short; choose at least 8 characters, better a few words")
	ErrLong   = errors.New("password: it is too long; choose at most 256 bytes")
	ErrText   = errors.New("password: it is not text in UTF-8")
	ErrCommon = errors.New("password: it is among those that are guessed first; choose another")
	ErrName   = errors.New("password: it is made of your own name; choose another")
)

//go:embed common.txt
var commonText string

var common = sync.OnceValue(func() map[string]bool {
	m := make(map[string]bool)
	for w := range strings.FieldsSeq(commonText) {
		m[w] = true
	}
	return m
})

// Check says why a password may not be chosen by a person with these names (sign-in name, display name,
// address). Whole words only count as a name: a long password may hold one.
func Check(pw secret.String, names ...string) error {
	s := pw.Reveal()
	switch {
	case len(s) > MaxLen:
		return ErrLong
	case !utf8.ValidString(s):
		return ErrText
	case utf8.RuneCountInString(s) < MinLen:
		return ErrShort
	}
	low := strings.ToLower(s)
	core := strings.TrimRight(low, "0123456789!?.*#$@-_ ")
	if weak(low) || common()[low] || common()[core] || common()[plain(low)] || common()[plain(core)] {
		return ErrCommon
	}
	for _, n := range names {
		n = strings.ToLower(strings.TrimSpace(n))
		local, domain, _ := strings.Cut(n, "@")
		host, _, _ := strings.Cut(domain, ".")
		parts := append(strings.FieldsFunc(local, func(r rune) bool { return strings.ContainsRune(" .-_+", r) }), n, local, host)
		for _, p := range parts {
			// What is left of the password without the name must itself be worth something.
			if rest := strings.ReplaceAll(low, p, ""); len(p) > 2 && rest != low && utf8.RuneCountInString(rest) < MinLen-2 {
				return ErrName
			}
		}
	}
	return nil
}

// plain undoes the usual replacements of letters.
func plain(s string) string { return leet.Replace(s) }

var leet = strings.NewReplacer("0", "o", "1", "l", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")

// weak finds what no list needs to hold: few different characters, one unit repeated, and runs such as
// 12345678, hgfedcba or a row of the keyboard.
func weak(s string) bool {
	different := make(map[rune]bool)
	for _, r := range s {
		different[r] = true
	}
	if len(different) < 4 {
		return true
	}
	if i := strings.Index((s + s)[1:], s); i+1 < len(s) && i+1 <= 4 {
		return true
	}
	for _, row := range rows {
		if strings.Contains(row, s) {
			return true
		}
	}
	return false
}

var rows = func() []string {
	rows := []string{"01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop[]", "qwertzuiopü", "azertyuiop",
		"asdfghjkl;'", "zxcvbnm,./", "1qaz2wsx3edc4rfv5tgb6yhn", "qazwsxedcrfvtgbyhnujm", "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0"}
	for _, r := range rows[:len(rows):len(rows)] {
		b := []rune(r)
		for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
		rows = append(rows, string(b))
	}
	return rows
}()

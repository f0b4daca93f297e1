// Package frame dresses requests in the stories, roles and reasons with which people ask for what
// would be refused plainly (PAIR, arXiv 2310.08419; TAP, arXiv 2312.02119; persuasion, arXiv
// 2401.06373). The same frames go round harmless requests, so that the frame alone decides nothing:
// a harmful request in a frame is a jailbreak, a harmless one in the same frame is not.
package frame

import (
	_ "embed"
	"math/rand/v2"
	"strings"
	"unicode"
	"unicode/utf8"
)

//go:embed frames.txt
var file string

// slots are what stands in braces in a frame: alternatives, which may have slots themselves.
var slots, frames = parse(file)

// parse reads the file: "name = a | b | c" lines make slots, other lines are frames; # begins a
// comment.
func parse(file string) (map[string][]string, []string) {
	slots, frames := map[string][]string{}, []string(nil)
	for line := range strings.Lines(file) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, list, ok := strings.Cut(line, " = "); ok && !strings.ContainsAny(name, " {") {
			for a := range strings.SplitSeq(list, " | ") {
				slots[name] = append(slots[name], strings.TrimSpace(a))
			}
			continue
		}
		frames = append(frames, line)
	}
	return slots, frames
}

// Frames is how many frames there are.
func Frames() int { return len(frames) }

// Dress puts request into a frame chosen by r.
func Dress(r *rand.Rand, request string) string {
	return fill(r, frames[r.IntN(len(frames))], strings.TrimSpace(request), 0)
}

func fill(r *rand.Rand, s, request string, depth int) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '{')
		if i < 0 || depth > 8 {
			b.WriteString(s)
			return b.String()
		}
		j := i + strings.IndexByte(s[i:], '}')
		b.WriteString(s[:i])
		switch name := s[i+1 : j]; name {
		case "goal":
			b.WriteString(request)
		case "task": // as part of a sentence
			b.WriteString(lower(strings.TrimRight(request, ".?! ")))
		default:
			list := slots[name]
			b.WriteString(fill(r, list[r.IntN(len(list))], request, depth+1))
		}
		s = s[j+1:]
	}
}

func lower(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == len(s) || strings.HasPrefix(s, "I ") {
		return s
	}
	if next, _ := utf8.DecodeRuneInString(s[n:]); unicode.IsUpper(next) {
		return s
	}
	return string(unicode.ToLower(r)) + s[n:]
}

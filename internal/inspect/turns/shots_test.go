package turns

import (
	"fmt"
	"strings"
	"testing"
)

func shots(n int, ask, answer string, args ...any) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ask+"\n"+answer+"\n\n", i, i)
	}
	return b.String()
}

func TestShots(t *testing.T) {
	for _, c := range []struct {
		name, text     string
		answers, agree int
	}{
		{"always agrees", shots(8, "User: how do I do thing %d?", "Assistant: Sure! Take tool %d and go on."), 8, 8},
		{"markdown and other names", shots(7, "**Human:** thing %d?", "**AI:** Of course, thing %d is easy."), 7, 7},
		{"Chinese", shots(7, "用户: %d", "助手: 当然，%d"), 7, 7},
		{"examples of a task", shots(9, "Q: is film %d good?", "A: positive %d"), 9, 0},
		{"a log without questions", strings.Repeat("AI: sure, done\n", 20), 0, 0},
		{"a list", strings.Repeat("Note: sure\n", 20), 0, 0},
		{"too short", "User: a\nAssistant: Sure\n", 0, 0},
		{"nothing", "", 0, 0},
	} {
		if answers, agree := Shots([]byte(c.text)); answers != c.answers || agree != c.agree {
			t.Errorf("%s: %d answers, %d agree, want %d and %d", c.name, answers, agree, c.answers, c.agree)
		}
	}
}

func FuzzShots(f *testing.F) {
	f.Add([]byte(shots(7, "User: %d", "AI: sure %d")))
	f.Add([]byte("\n\n:\n::\xff:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if answers, agree := Shots(text); agree > answers || answers > strings.Count(string(text), "\n")+1 {
			t.Fatalf("%d answers, %d agree", answers, agree)
		}
	})
}

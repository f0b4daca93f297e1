package scan

import (
	"encoding/json"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
)

// A Judge says of every row what Run says.
func TestJudgeIsRun(t *testing.T) {
	j, err := NewJudge(Options{Detector: loadRules()})
	if err != nil {
		t.Fatal(err)
	}
	conversation := `[{"role":"system","content":"Be kind."},{"role":"user","content":"` + attack + `"}]`
	for _, text := range []string{"hello", attack, "key " + key, attack + " key " + key, ""} {
		for _, ch := range gate.Channels() {
			_, ls := run(t, jsonl("1", text), Options{Channel: ch})
			got, err := j.Text([]byte(text), ch)
			if err != nil || got.Verdict.String() != ls[0].Verdict || got.Score != ls[0].Score {
				t.Errorf("%q in %s: %+v %v, Run says %+v", text, ch, got, err, ls[0])
			}
		}
	}
	_, ls := run(t, `{"id":1,"messages":`+conversation+"}\n", Options{})
	if got, err := j.Messages([]byte(conversation)); err != nil || got.Verdict.String() != ls[0].Verdict || got.Score != ls[0].Score {
		t.Errorf("%+v %v, Run says %+v", got, err, ls[0])
	}
}

func TestJudgeTellsAttacksFromLeaks(t *testing.T) {
	j, err := NewJudge(Options{Detector: loadRules()})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := j.Text([]byte("key "+key), gate.ChannelUser); got.Verdict == gate.Allow || got.Attack != gate.Allow {
		t.Errorf("a leak: %+v", got)
	}
	if got, _ := j.Text([]byte(attack), gate.ChannelUser); got.Attack != gate.Block {
		t.Errorf("an attack: %+v", got)
	}
}

func TestJudgeFails(t *testing.T) {
	if _, err := NewJudge(Options{}); err == nil {
		t.Error("no detector: accepted")
	}
	j, err := NewJudge(Options{Detector: panics{loadRules()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Text([]byte("boom secret"), gate.ChannelUser); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a panic: %v", err)
	}
	if got, err := j.Text([]byte(attack), gate.ChannelUser); err != nil || got.Verdict != gate.Block {
		t.Errorf("after a panic: %+v %v", got, err)
	}
	for _, bad := range []string{``, `{}`, `[5]`, `[{"role":"user","content":"a","content":"b"}]`} {
		if _, err := j.Messages(json.RawMessage(bad)); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}

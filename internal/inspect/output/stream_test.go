package output

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

func TestCleanTextLeavesAtOnceAndUnchanged(t *testing.T) {
	r := newRig(t, "?secret")
	for _, fr := range [][]byte{f("a", "hello"), []byte("data: {\"other\" : \"\\u00e9\"}\n\n"), f("a", "w\n\"orld"), f("", "alone"), closing("a"), done} {
		if got := r.push(fr); got != string(fr) {
			t.Errorf("pushed %q, released %q", fr, got)
		}
	}
	if got := r.close(); got != "" || r.end != nil || r.err != nil {
		t.Errorf("close: %q %v %v", got, r.end, r.err)
	}
	if len(r.rec.Findings) != 0 || r.rec.Sanitized || r.rec.WouldBe != gate.Allow || !r.s.Deadline().IsZero() {
		t.Errorf("record %+v", r.rec)
	}
}

func TestHeldUntilDecided(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", "x"))
	if got := r.push(f("a", "?sec")); got != "" {
		t.Fatalf("an open match left: %q", got)
	}
	if got := r.push(f("b", "other lane")); got != "" {
		t.Fatalf("a later frame overtook: %q", got)
	}
	if d := r.s.Deadline(); !d.Equal(t0.Add(5 * time.Second)) {
		t.Errorf("deadline %v", d)
	}
	want := frames(f("a", "?sec"), f("b", "other lane"), f("a", "urity"))
	if got := r.push(f("a", "urity")); got != want {
		t.Errorf("released %q, want %q", got, want)
	}
	if !r.s.Deadline().IsZero() || r.s.queue.bytes != 0 {
		t.Error("something is still held")
	}
}

func TestMaskedAcrossFrames(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", "my é ?s", "b", "keep"))
	r.push(f("a", "ec"))
	r.push(f("b", "more"))
	r.push(f("a", "ret is \"it\""))
	r.push(done)
	want := frames(f("a", "my é [secret removed]", "b", "keep"), f("a", ""), f("b", "more"), f("a", " is \"it\""), done)
	if r.out.String() != want || r.end != nil || r.err != nil {
		t.Errorf("got  %q\nwant %q (%v, %v)", r.out.String(), want, r.end, r.err)
	}
	if len(r.rec.Findings) != 1 || !r.rec.Sanitized || r.rec.WouldBe != gate.Sanitize || r.s.Decision().Verdict != gate.Sanitize {
		t.Fatalf("record %+v", r.rec)
	}
	g := r.rec.Findings[0]
	if g.Direction != gate.Answer || g.Channel != gate.ChannelAssistant || g.Path != "lane[a]" || g.Start != 6 || g.End != 13 || g.Action != gate.Sanitize || g.Segment != -1 {
		t.Errorf("finding %+v", g)
	}
}

func TestBlockStopsBeforeTheFinding(t *testing.T) {
	r := newRig(t, "!attack")
	r.push(f("a", "fine"))
	if r.s.Started() != true {
		t.Error("started is not told")
	}
	r.push(f("b", "also fine"))
	r.push(f("a", " then !att"))
	r.push(f("b", "behind"))
	r.push(f("a", "ack more"))
	want := frames(f("a", "fine"), f("b", "also fine"), []byte("data: stop\n\n"))
	if r.out.String() != want || r.end == nil || r.err != nil {
		t.Fatalf("got %q, %v, %v", r.out.String(), r.end, r.err)
	}
	p := r.end.Problem
	if p.Status != 400 || p.Code != gate.CodePolicy || p.Message != "Answer blocked by policy: injection found." || p.Param != "lane[a]" || r.ws.stopped != p {
		t.Errorf("problem %+v", p)
	}
	if !r.end.Decision.Denied() || r.rec.WouldBe != gate.Block {
		t.Errorf("decision %+v, would be %v", r.end.Decision, r.rec.WouldBe)
	}
	r.push(f("a", "after the end"))
	r.push(done)
	r.close()
	if r.out.String() != want {
		t.Errorf("bytes left after the end: %q", r.out.String())
	}
}

func TestBlockBeforeAnythingLeft(t *testing.T) {
	for _, lane := range []string{"a", ""} {
		r := newRig(t, "!attack")
		r.push(f(lane, "!attack"))
		if r.end == nil || r.s.Started() || r.out.String() != "data: stop\n\n" {
			t.Errorf("lane %q: end %v, started %v, %q", lane, r.end, r.s.Started(), r.out.String())
		}
	}
}

// A finding in one choice stops the frames of another that came later, and not those before.
func TestSecondChoice(t *testing.T) {
	r := newRig(t, "!attack")
	r.push(f("choice0", "good"))
	r.push(f("choice1", "!attack", "choice0", "same frame"))
	if r.out.String() != frames(f("choice0", "good"), []byte("data: stop\n\n")) {
		t.Errorf("got %q", r.out.String())
	}
}

// A star closes every lane whose name begins so, and no other.
func TestClosesByPrefix(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("choices[1].text", "?sec", "choices[10].text", "?sec"))
	if got := r.push(closing("choices[1]*")); got != "" || len(r.s.lanes) != 1 {
		t.Errorf("released %q, %d lanes", got, len(r.s.lanes))
	}
	if got := r.push(closing("choices[10]*")); got == "" || len(r.s.lanes) != 0 {
		t.Errorf("released %q, %d lanes", got, len(r.s.lanes))
	}
}

func TestFlagOnlyRecords(t *testing.T) {
	r := newRig(t, "!attack")
	r.push(f("sys", "!attack"))
	r.push(done)
	if r.out.String() != frames(f("sys", "!attack"), done) || r.end != nil {
		t.Errorf("got %q", r.out.String())
	}
	if len(r.rec.Findings) != 1 || r.rec.WouldBe != gate.Flag || r.s.Decision().Verdict != gate.Flag || r.rec.Sanitized {
		t.Errorf("record %+v", r.rec)
	}
}

// The text that is said again whole is masked as the deltas were.
func TestStandAloneTextIsMaskedToo(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", "is ?sec"))
	r.push(f("a", "ret."))
	r.push(f("", "is ?secret."))
	r.push(done)
	want := frames(f("a", "is [secret removed]"), f("a", "."), f("", "is [secret removed]."), done)
	if r.out.String() != want {
		t.Errorf("got  %q\nwant %q", r.out.String(), want)
	}
}

func TestNowhereBlocksInsteadOfMasking(t *testing.T) {
	for name, fr := range map[string][]byte{
		"a lane":            f("?x", "a ?secret"),
		"an inner lane":     f("a#inner", "?secret"),
		"base does not say": f("a", `\u003fsecret`, "a#inner", "?secret"),
	} {
		r := newRig(t, "?secret")
		r.push(fr)
		r.push(done)
		if r.end == nil || strings.Contains(r.out.String(), "secret\"") || r.rec.WouldBe != gate.Block {
			t.Errorf("%s: end %v, %q", name, r.end, r.out.String())
		}
	}
}

func TestInnerLaneCoveredByItsBase(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", `{"k":"?sec`, "a#inner", "?sec"))
	r.push(f("a", `ret"}`, "a#inner", "ret"))
	r.push(done)
	want := frames(f("a", `{"k":"[secret removed]`, "a#inner", "?sec"), f("a", `"}`, "a#inner", "ret"), done)
	if r.end != nil || r.out.String() != want {
		t.Errorf("end %v, got %q", r.end, r.out.String())
	}
	if len(r.rec.Findings) != 1 {
		t.Errorf("said twice: %+v", r.rec.Findings)
	}
}

// The base finds the secret once, the inner lane another copy of it that the base cannot see.
func TestInnerLaneNotCoveredByAnotherCopy(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", `{"?secret":"\u003fsecret"}`, "a#inner", "?secret"))
	r.push(done)
	if r.end == nil || r.rec.WouldBe != gate.Block || strings.Contains(r.out.String(), "u003f") {
		t.Errorf("end %v, got %q", r.end, r.out.String())
	}
}

func TestUndecodableFrameFailsClosed(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", "ok"))
	r.push([]byte("data: {\"x\":[[\"a\",\n\n"))
	if gate.FailureOf(r.err) != gate.FailAnswerScan || r.end != nil || r.out.String() != string(f("a", "ok")) {
		t.Errorf("err %v, end %v, out %q", r.err, r.end, r.out.String())
	}
	r.push(done)
	r.close()
}

func TestPanicFailsClosedAndTellsNothing(t *testing.T) {
	r := newRig(t, "?secret")
	r.push([]byte(`data: {"panic":1}` + "\n\n"))
	if gate.FailureOf(r.err) != gate.FailDetector || strings.Contains(r.err.Error(), "caller") || r.out.Len() != 0 {
		t.Errorf("err %v, out %q", r.err, r.out.String())
	}
}

func TestHeldBytesAreBounded(t *testing.T) {
	r := newRig(t, "?"+strings.Repeat("a", 10000))
	r.push(f("a", "?"))
	peak := 0
	for i := 0; i < 1000 && r.err == nil; i++ {
		r.push(f("a", "aaaaa"))
		peak = max(peak, r.s.queue.bytes)
	}
	if gate.FailureOf(r.err) != gate.FailAnswerScan || peak > 4096 || r.out.Len() != 0 {
		t.Errorf("err %v, peak %d, out %d bytes", r.err, peak, r.out.Len())
	}
	// A frame that is decided at once may be larger than what may be held.
	r = newRig(t, "?secret")
	big := f("", strings.Repeat("b", 10000))
	if got := r.push(big); got != string(big) || r.err != nil {
		t.Errorf("a large decided frame: %d bytes, %v", len(got), r.err)
	}
}

func TestLanesAreBounded(t *testing.T) {
	r := newRig(t, "?secret")
	for i := 0; i <= maxLanes && r.err == nil; i++ {
		r.push(f(strings.Repeat("l", i+1), "x"))
	}
	if gate.FailureOf(r.err) != gate.FailAnswerScan {
		t.Errorf("err %v", r.err)
	}
	// Lanes that end make room.
	r = newRig(t, "?secret")
	for i := 0; i <= 2*maxLanes; i++ {
		r.push(f("l", "x"))
		r.push(closing("l"))
	}
	if r.err != nil || len(r.s.lanes) != 0 {
		t.Errorf("err %v, %d lanes", r.err, len(r.s.lanes))
	}
}

func TestExpire(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", "x ?sec"))
	due := r.s.Deadline()
	if got := r.take(r.s.Expire(due.Add(-1))); got != "" {
		t.Fatalf("left before its time: %q", got)
	}
	if got := r.take(r.s.Expire(due)); got != string(f("a", "x ?sec")) {
		t.Fatalf("held beyond its time: %q", got)
	}
	// The rest of the late finding does not leave.
	r.push(f("a", "ret!"))
	r.push(done)
	want := frames(f("a", "x ?sec"), f("a", "[secret removed]!"), done)
	if r.out.String() != want || !r.rec.Sanitized || len(r.rec.Findings) != 1 {
		t.Errorf("got  %q\nwant %q", r.out.String(), want)
	}
}

func TestExpireThenBlock(t *testing.T) {
	r := newRig(t, "!attack")
	r.push(f("a", "x !att"))
	r.take(r.s.Expire(t0.Add(5 * time.Second)))
	r.push(f("b", "held?"))
	r.push(f("a", "ack"))
	want := frames(f("a", "x !att"), f("b", "held?"), []byte("data: stop\n\n"))
	if r.end == nil || r.out.String() != want {
		t.Errorf("end %v, got %q", r.end, r.out.String())
	}
}

// Only frames that are due go; the window for the others stays.
func TestExpireTouchesOnlyWhatIsDue(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", "?se"))
	r.take(r.s.Push(f("b", "?se"), t0.Add(4*time.Second)))
	if got := r.take(r.s.Expire(t0.Add(5 * time.Second))); got != string(f("a", "?se")) {
		t.Errorf("released %q", got)
	}
	if d := r.s.Deadline(); !d.Equal(t0.Add(9 * time.Second)) {
		t.Errorf("next deadline %v", d)
	}
	r.push(f("b", "cret"))
	r.close()
	if strings.Contains(r.out.String(), "cret") && !strings.Contains(r.out.String(), "[secret removed]") {
		t.Errorf("got %q", r.out.String())
	}
}

func TestCloseDecidesTheRest(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", "?secre"))
	if got := r.close(); got != string(f("a", "?secre")) || r.err != nil || r.end != nil {
		t.Errorf("got %q, %v, %v", got, r.end, r.err)
	}
	if got := r.push(f("a", "t")); got != "" {
		t.Errorf("after close: %q", got)
	}
}

func TestAbortReleasesNothing(t *testing.T) {
	r := newRig(t, "?secret")
	r.push(f("a", "?secre"))
	r.s.Abort()
	if got := r.close(); got != "" || !r.s.Deadline().IsZero() {
		t.Errorf("after abort: %q", got)
	}
}

func TestUninspected(t *testing.T) {
	r := newRig(t, "?secret")
	image := []byte(`data: {"skip":["image"]}` + "\n\n")
	for range 3 {
		if got := r.push(image); got != string(image) {
			t.Fatalf("released %q", got)
		}
	}
	if u := r.rec.Uninspected; len(u) != 1 || u[0].Bytes != 30 || u[0].Action != gate.Flag || u[0].Direction != gate.Answer || r.rec.WouldBe != gate.Flag {
		t.Fatalf("record %+v", u)
	}
	r.push([]byte(`data: {"skip":["audio"]}` + "\n\n"))
	if r.end == nil || r.end.Problem.Code != gate.CodeUninspected || strings.Contains(r.out.String(), "audio") || r.rec.WouldBe != gate.Block {
		t.Errorf("end %+v, %q", r.end, r.out.String())
	}
}

func TestMonitorChangesNothing(t *testing.T) {
	r := newRig(t, "?secret", "!attack")
	r.opts.Monitor = true
	in := [][]byte{
		f("a", "?sec"), f("a", "ret"), []byte("data: {broken\n\n"), []byte(`data: {"skip":["image"]}` + "\n\n"),
		f("?x", "fine"), f("a", "!attack"), f("a", "after"), done,
	}
	for _, fr := range in {
		if got := r.push(fr); got != string(fr) {
			t.Errorf("pushed %q, released %q", fr, got)
		}
		if len(r.rec.Findings) == 1 && r.rec.WouldBe != gate.Sanitize {
			t.Errorf("would be %v after a secret", r.rec.WouldBe)
		}
	}
	if got := r.close(); got != "" || r.end != nil || r.err != nil {
		t.Errorf("close: %q %v %v", got, r.end, r.err)
	}
	if r.rec.Sanitized || r.rec.WouldBe != gate.Block || len(r.rec.Findings) != 2 || len(r.rec.Uninspected) != 2 || r.s.Decision().Verdict != gate.Flag {
		t.Errorf("record %+v, decision %+v", r.rec, r.s.Decision())
	}
	if u := r.rec.Uninspected[0]; u.Kind != gate.UninspectedDetector || u.Action != gate.Flag {
		t.Errorf("the broken frame is recorded as %+v", u)
	}
}

func TestIdleStreamIsSmall(t *testing.T) {
	r := newRig(t, "?secret")
	for range 20 {
		r.push(f("a", "hello"))
	}
	kept := cap(r.s.out)
	for _, h := range append(r.s.queue.spare, r.s.queue.waiting()...) {
		kept += cap(h.raw) + cap(h.segs)*160 + cap(h.pieces)*40 + 160
	}
	if kept > 3<<10 {
		t.Errorf("an idle stream keeps %d bytes of buffers", kept)
	}
}

func TestErrorsNeverHoldText(t *testing.T) {
	r := newRig(t, "!attack")
	r.push(f("a", "top !attack words"))
	for _, s := range []string{r.end.Problem.Message, r.end.Problem.Param, r.end.Decision.Reason} {
		if strings.Contains(s, "top") || strings.Contains(s, "words") {
			t.Errorf("%q holds text", s)
		}
	}
	if bytes.Contains(r.end.Bytes, []byte("words")) {
		t.Error("the end holds text")
	}
}

package output

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/wire/sse"
)

// fuzzLiterals overlap each other and themselves, at both ends.
var fuzzLiterals = []string{"?aa", "?aab", "b?a", "?é?", "!ab", "a!a!"}

const fuzzAlphabet = "ab?!a?é\"\\ "

// script turns bytes into frames over three lanes: a byte says which lane, how the frame ends and
// how long the piece is, the next ones are its letters.
func script(data []byte) (frames [][]byte, lanes map[string]string) {
	lanes = map[string]string{}
	alphabet := []rune(fuzzAlphabet)
	for len(data) > 0 {
		head := data[0]
		data = data[1:]
		n := min(int(head>>2&7), len(data))
		var piece []rune
		for _, b := range data[:n] {
			piece = append(piece, alphabet[int(b)%len(alphabet)])
		}
		data = data[n:]
		name := fmt.Sprintf("lane%d", head&1)
		lanes[name] += string(piece)
		pairs := []string{name, string(piece)}
		if head&2 != 0 {
			lanes["lane2"] += string(piece)
			pairs = append(pairs, "lane2", string(piece))
		}
		frames = append(frames, f(pairs...))
	}
	return append(frames, done), lanes
}

// regroup cuts the same texts into other deltas: one letter a frame.
func regroup(lanes map[string]string) (frames [][]byte) {
	for _, name := range []string{"lane0", "lane1", "lane2"} {
		for _, c := range lanes[name] {
			frames = append(frames, f(name, string(c)))
		}
	}
	return append(frames, done)
}

// expected is a text without its masked ranges, and whether something in it blocks and where.
func expected(d detect.Detector, text string) (masked string, stop int, found int) {
	seg := gate.Segment{Text: []byte(text), Channel: gate.ChannelAssistant}
	stop = -1
	hide := make([]bool, len(text)+1)
	for _, g := range d.Detect(&seg) {
		found++
		if g.Category != gate.Secret {
			if stop < 0 || g.Start < stop {
				stop = g.Start
			}
			continue
		}
		for i := g.Start; i < g.End; i++ {
			hide[i] = true
		}
	}
	var b strings.Builder
	for i := range len(text) {
		if !hide[i] {
			b.WriteByte(text[i])
		} else if i == 0 || !hide[i-1] {
			b.WriteString("[secret removed]")
		}
	}
	return b.String(), stop, found
}

// texts reads the lanes out of released bytes.
func texts(t *testing.T, out []byte) map[string]string {
	lanes := map[string]string{}
	sp := sse.NewSplitter(0)
	sp.Write(out)
	for fr, ok := sp.Next(); ok; fr, ok = sp.Next() {
		if bytes.Equal(fr, []byte("data: stop\n\n")) {
			continue
		}
		got, err := (&toy{}).Read(fr)
		if err != nil {
			t.Fatalf("a released frame cannot be read: %q", fr)
		}
		for _, x := range got.Texts {
			lanes[x.Lane] += string(x.Text)
		}
	}
	return lanes
}

// FuzzWindow: whatever the deltas and whatever the chunks on the network, the verdict is that of the
// whole text, nothing of a finding leaves, and the bytes are the same.
func FuzzWindow(f *testing.F) {
	f.Add([]byte{0b11100, 0, 2, 0, 0, 1, 3, 0}, uint8(3))
	f.Add([]byte{0b00100, 2, 0b00110, 2, 0b01000, 0, 0, 0b01000, 0, 1}, uint8(1))
	f.Add([]byte{0b01110, 2, 6, 2, 0b01100, 6, 2, 6}, uint8(2))
	f.Add([]byte{0b00101, 3, 0b00100, 3, 0b00101, 0, 0b00101, 1}, uint8(7))
	f.Add([]byte{0b11110, 1, 2, 0, 0, 1, 2, 0, 0b11110, 0, 1, 2, 0, 0, 7, 8}, uint8(5))
	f.Fuzz(func(t *testing.T, data []byte, chunk uint8) {
		if len(data) > 400 {
			return
		}
		in, lanes := script(data)
		det := literals(fuzzLiterals)
		run := func(frames [][]byte, chunk int) *rig {
			r := newRig(t, fuzzLiterals...)
			r.opts.HoldBytes = 1 << 20
			sp := sse.NewSplitter(0)
			all := bytes.Join(frames, nil)
			for len(all) > 0 {
				n := min(chunk, len(all))
				sp.Write(all[:n])
				all = all[n:]
				for fr, ok := sp.Next(); ok; fr, ok = sp.Next() {
					r.push(fr)
				}
			}
			r.close()
			if r.err != nil {
				t.Fatal(r.err)
			}
			return r
		}
		a, b := run(in, 1<<20), run(in, int(chunk)+1)
		if !bytes.Equal(a.out.Bytes(), b.out.Bytes()) || (a.end == nil) != (b.end == nil) {
			t.Fatalf("chunks of %d bytes change the output:\n%q\n%q", chunk+1, a.out.Bytes(), b.out.Bytes())
		}
		c := run(regroup(lanes), 1<<20)
		if a.rec.WouldBe != c.rec.WouldBe {
			t.Fatalf("other deltas, other verdict: %v, %v", a.rec.WouldBe, c.rec.WouldBe)
		}
		for _, r := range []*rig{a, c} {
			got := texts(t, r.out.Bytes())
			blocked, found := false, 0
			for name, text := range lanes {
				masked, stop, n := expected(det, text)
				blocked, found = blocked || stop >= 0, found+n
				if stop >= 0 {
					before, _, _ := expected(det, text[:stop])
					// A secret that begins before the attack may lap into it.
					if !strings.HasPrefix(masked, got[name]) && !strings.HasPrefix(before, got[name]) {
						t.Fatalf("%s: %q left of %q, whose attack begins at %d", name, got[name], text, stop)
					}
					if len(got[name]) > 0 && strings.Contains(got[name], "!ab") {
						t.Fatalf("%s: an attack left: %q", name, got[name])
					}
				}
			}
			if blocked != (r.end != nil) {
				t.Fatalf("blocked %v, end %v", blocked, r.end)
			}
			if blocked {
				continue
			}
			if len(r.rec.Findings)+r.rec.MoreFindings != found {
				t.Fatalf("%d findings, want %d", len(r.rec.Findings), found)
			}
			for name, text := range lanes {
				if masked, _, _ := expected(det, text); got[name] != masked {
					t.Fatalf("%s: %q became %q, want %q", name, text, got[name], masked)
				}
			}
			if found == 0 && !bytes.Equal(r.out.Bytes(), bytes.Join(map[bool][][]byte{true: in, false: regroup(lanes)}[r == a], nil)) {
				t.Fatal("bytes changed although nothing was found")
			}
		}
	})
}

package inspect

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
)

// counted says how often the detector behind it was asked.
type counted struct {
	detect.Detector
	asked   atomic.Int64
	version string
}

func (c *counted) Detect(seg *gate.Segment) []gate.Finding {
	c.asked.Add(1)
	return c.Detector.Detect(seg)
}

func (c *counted) Version() string { return c.version }

func text(s string, ch gate.Channel, path string) *gate.Segment {
	return &gate.Segment{Text: []byte(s), Channel: ch, Path: path}
}

func TestCacheAsksOnce(t *testing.T) {
	det := &counted{Detector: loadRules(), version: "1"}
	in := newInspector(t, func(o *Options) { o.Detector = det })
	ask := func(s string, ch gate.Channel, want int64) []gate.Finding {
		t.Helper()
		before := det.asked.Load()
		fs := in.find(text(s, ch, "p"))
		if got := det.asked.Load() - before; got != want {
			t.Errorf("%.20q in %s: asked %d times, want %d", s, ch, got, want)
		}
		return fs
	}
	long := strings.Repeat("a benign text ", 10)
	ask(long, gate.ChannelUser, 1)
	ask(long, gate.ChannelUser, 0)
	ask(long+"x", gate.ChannelUser, 1)
	ask(long, gate.ChannelTool, 1) // a verdict depends on the channel
	ask("short", gate.ChannelUser, 1)
	ask("short", gate.ChannelUser, 1) // not worth the memory
	ask("", gate.ChannelUser, 0)
	first := ask(attack, gate.ChannelUser, 1)
	again := ask(attack, gate.ChannelUser, 0)
	if len(first) == 0 || len(first) != len(again) || first[0] != again[0] {
		t.Errorf("%+v, then %+v", first, again)
	}
	det.version = "2" // new rules: nothing old is found
	ask(long, gate.ChannelUser, 1)
	ask(attack, gate.ChannelUser, 1)
}

// A cached finding is told with the path of the call at hand, and the cache keeps no path.
func TestCachedFindingHasItsOwnPath(t *testing.T) {
	in := newInspector(t, nil)
	for _, path := range []string{"messages[0].content", "messages[7].content"} {
		x := &gate.Exchange{Record: &gate.Record{}, Reading: &gate.Reading{Segments: []gate.Segment{*text(attack, gate.ChannelUser, path)}}}
		d, err := in.Admit(context.Background(), x)
		if err != nil || d.Problem == nil || d.Problem.Param != path || x.Record.Findings[0].Path != path {
			t.Errorf("%+v, %v", d, err)
		}
	}
	for i := range in.cache.shards {
		for _, fs := range in.cache.shards[i].young {
			for _, f := range fs {
				if f.Path != "" {
					t.Errorf("the cache keeps %q", f.Path)
				}
			}
		}
	}
}

// One text's verdict must not reach another channel, version or text by moving bytes over a border.
func TestCacheKeyIsKeyedAndUnambiguous(t *testing.T) {
	a, b := newCache(1<<20, []byte("key a")), newCache(1<<20, []byte("key b"))
	seen := map[cacheKey]string{}
	for _, c := range []struct {
		version, text string
		ch            gate.Channel
	}{
		{"v1", "text", 0}, {"v", "1text", 0}, {"", "v1text", 0}, {"v1text", "", 0}, {"v1", "text", 1}, {"v1", "text\x00", 0}, {"v1", "tex", 0},
	} {
		k := a.keyOf(c.version, text(c.text, c.ch, "p"))
		name := fmt.Sprintf("%q %q %d", c.version, c.text, c.ch)
		if was, ok := seen[k]; ok {
			t.Errorf("%s and %s share a verdict", name, was)
		}
		seen[k] = name
		if k != a.keyOf(c.version, text(c.text, c.ch, "another path")) {
			t.Errorf("%s: not stable", name)
		}
		if k == b.keyOf(c.version, text(c.text, c.ch, "p")) {
			t.Errorf("%s: the key does not matter", name)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	const limit = 256 << 10
	c := newCache(limit, []byte("k"))
	fs := make([]gate.Finding, 3)
	for i := range 20000 {
		k := c.keyOf("v", text(fmt.Sprint("text number ", i), 0, ""))
		if i%2 == 0 {
			c.put(k, nil)
		} else {
			c.put(k, fs)
		}
		if i%1000 == 0 {
			if _, bytes := c.size(); bytes > limit {
				t.Fatalf("%d bytes after %d texts", bytes, i)
			}
		}
	}
	n, bytes := c.size()
	if n == 0 || bytes > limit || bytes < limit/4 {
		t.Errorf("%d entries, %d bytes", n, bytes)
	}
	// One with too many findings is not kept, and nothing is forgotten for it.
	k := c.keyOf("v", text("hostile", 0, ""))
	c.put(k, make([]gate.Finding, 10000))
	if _, ok := c.get(k); ok {
		t.Error("an entry larger than a shard was kept")
	}
	if m, _ := c.size(); m != n {
		t.Errorf("%d entries, were %d", m, n)
	}
}

// What is asked for again and again survives a flood of texts that are not.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	c := newCache(64<<10, []byte("k"))
	hot := c.keyOf("v", text("the system prompt", 0, ""))
	c.put(hot, nil)
	for i := range 5000 {
		c.put(c.keyOf("v", text(fmt.Sprint(i), 0, "")), nil)
		if _, ok := c.get(hot); !ok {
			t.Fatalf("forgotten after %d others", i)
		}
	}
}

// quiet finds nothing, so that what is measured is the inspector.
type quiet struct{ detect.Detector }

func (quiet) Detect(*gate.Segment) []gate.Finding { return nil }

func BenchmarkAdmit200(b *testing.B) {
	prompt := strings.Repeat("Tell me more. ", 200)[:200]
	for _, c := range []struct {
		name string
		det  detect.Detector
		mem  int
	}{{"alone", quiet{loadRules()}, 0}, {"alone,cached", quiet{loadRules()}, 8 << 20}, {"rules,distinct", loadRules(), 8 << 20}, {"rules,repeated", loadRules(), 8 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			in := newInspector(b, func(o *Options) { o.Detector, o.CacheBytes = c.det, c.mem })
			x := &gate.Exchange{Record: &gate.Record{}, Reading: &gate.Reading{Model: "gpt-5", Segments: []gate.Segment{*text(prompt, gate.ChannelUser, "messages[0].content")}}}
			own := bytes.Clone(x.Reading.Segments[0].Text)
			x.Reading.Segments[0].Text = own
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if strings.Contains(c.name, "distinct") {
					i++
					own[0], own[1], own[2] = 'a'+byte(i%26), 'a'+byte(i/26%26), 'a'+byte(i/676%26)
				}
				if d, err := in.Admit(context.Background(), x); err != nil || d.Verdict != gate.Allow {
					b.Fatal(d, err)
				}
			}
		})
	}
}

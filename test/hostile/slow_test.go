package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// TestS1SlowHeads opens many connections that send their heads a byte at a time. Each is closed
// when its time is up, and the calls beside them do not notice.
func TestS1SlowHeads(t *testing.T) {
	t.Parallel()
	const n, limit = 1000, 2 * time.Second
	g := start(t, "  timeouts: {header: 2s}\n", "")
	done := g.steady(t, time.Second, 0)
	var wg sync.WaitGroup
	var late, early atomic.Int64
	raw := head("POST " + chatPath + " HTTP/1.1")
	for range n {
		c, err := net.DialTimeout("tcp", g.Addr, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		wg.Go(func() {
			defer c.Close()
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				c.SetReadDeadline(began.Add(4 * limit))
				_, _ = io.Copy(io.Discard, c)
			}()
			for i := 0; i < len(raw); i++ {
				if _, err := c.Write([]byte{raw[i]}); err != nil {
					break
				}
				select {
				case <-gone:
				case <-time.After(500 * time.Millisecond):
					continue
				}
				break
			}
			<-gone
			switch took := time.Since(began); {
			case took > 2*limit:
				late.Add(1)
			case took < limit/2:
				early.Add(1)
			}
		})
	}
	wg.Wait()
	if late.Load() > 0 || early.Load() > 0 {
		t.Errorf("of %d connections %d were closed late, %d early", n, late.Load(), early.Load())
	}
	done()
}

// TestS2SlowBody: a body that drips below the least rate is refused once its grace is over.
func TestS2SlowBody(t *testing.T) {
	t.Parallel()
	g := start(t, "", "")
	done := g.steady(t, time.Second, 0)
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, head("POST "+chatPath+" HTTP/1.1", "Content-Length: 100000"))
	began := time.Now()
	go func() {
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	c.SetReadDeadline(began.Add(30 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	b, _ := io.ReadAll(resp.Body)
	if took := time.Since(began); resp.StatusCode != http.StatusRequestTimeout || took < 9*time.Second || took > 15*time.Second || !strings.Contains(string(b), string(gate.CodeTooSlow)) {
		t.Errorf("%d %.200q after %v", resp.StatusCode, b, took)
	}
	g.saw(resp.Header)
	done()
}

// TestS3SlowReader: a caller that stops reading holds a bounded amount, the provider feels it, and
// after the stall the call is cut and recorded.
func TestS3SlowReader(t *testing.T) {
	t.Parallel()
	g := start(t, "  timeouts: {write_stall: 2s}\n", "")
	done := g.steady(t, time.Second, 0)
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	var id string
	rose := g.peak(t, func() {
		io.WriteString(c, head("POST "+chatPath+" HTTP/1.1", fmt.Sprintf("Content-Length: %d", len(helloStream)), "X-Hostile: flood")+helloStream)
		br := bufio.NewReaderSize(c, 512)
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if k, v, _ := strings.Cut(strings.TrimSpace(line), ": "); strings.EqualFold(k, "Sallyport-Id") {
				id = v
			}
			if line == "\r\n" {
				break
			}
		}
		select {
		case <-g.up.left:
		case <-time.After(20 * time.Second):
			t.Error("the provider still sends")
		}
	})
	// What the provider could send stands in the buffers of four sockets.
	if n := g.up.wrote.Load(); n > 64<<20 {
		t.Errorf("the provider sent %d MiB to nobody", n>>20)
	}
	if rose > 32<<20 {
		t.Errorf("memory rose by %d MiB", rose>>20)
	}
	if o := g.outcome(t, id); o != string(gate.OutcomeClientAborted) {
		t.Errorf("recorded as %q", o)
	}
	done()
}

// TestS4CallerLeaves: the provider's call is cancelled within 100 ms and recorded.
func TestS4CallerLeaves(t *testing.T) {
	t.Parallel()
	g := start(t, "", "")
	var took []time.Duration
	var ids []string
	for range 21 {
		c, err := net.Dial("tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, head("POST "+chatPath+" HTTP/1.1", fmt.Sprintf("Content-Length: %d", len(helloStream)), "X-Hostile: drip")+helloStream)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, resp.Header.Get("Sallyport-Id"))
		g.saw(resp.Header)
		if _, err := io.ReadFull(resp.Body, make([]byte, 400)); err != nil {
			t.Fatal(err)
		}
		left := time.Now()
		c.Close()
		select {
		case at := <-g.up.left:
			took = append(took, at.Sub(left))
		case <-time.After(10 * time.Second):
			t.Fatal("the provider still sends")
		}
	}
	slices.Sort(took)
	t.Logf("cancelled after %v (median), %v (longest)", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 100*time.Millisecond {
		t.Errorf("cancelled after %v", took[len(took)/2])
	}
	for _, id := range ids {
		if o := g.outcome(t, id); o != string(gate.OutcomeClientAborted) {
			t.Errorf("%s recorded as %q", id, o)
		}
	}
}

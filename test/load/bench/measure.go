package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/test/load/live"
)

// sample is what one repetition measured of one target. Times are in microseconds, memory in bytes.
type sample struct {
	PerSecond  float64 `json:"requests_per_second"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	AddedP50   float64 `json:"added_p50_us"`
	AddedP99   float64 `json:"added_p99_us"`
	CPU        float64 `json:"cpu_us_per_request"`
	AddedTTFT  float64 `json:"added_ttft_p99_us"`
	TTFT       float64 `json:"ttft_p99_us"`
	PerStream  float64 `json:"rss_per_stream_bytes"`
	RSSStreams float64 `json:"rss_with_streams_bytes"`
	Failed     int64   `json:"failed"`
	Why        string  `json:"first_failure,omitempty"`
}

func (s *sample) fail(err error) {
	if s.Failed++; s.Why == "" {
		s.Why = err.Error()
	}
}

func quantile(us []float64, q float64) float64 {
	if len(us) == 0 {
		return 0
	}
	slices.Sort(us)
	return us[min(len(us)-1, int(q*float64(len(us))))]
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// latency calls every target once per round, one call at a time, so that whatever else the machine
// does falls on all of them alike.
func latency(ts []*target, out []*sample, rounds int) {
	times := make([][]float64, len(ts))
	cs := make([]*client, len(ts))
	for i := range ts {
		times[i] = make([]float64, 0, rounds)
	}
	defer func() {
		for _, c := range cs {
			if c != nil {
				c.Close()
			}
		}
	}()
	warm := rounds / 10
	for n := range rounds + warm {
		for k := range ts {
			i := (k + n) % len(ts)
			var err error
			if cs[i] == nil {
				if cs[i], err = newClient(ts[i].addr, 4096); err != nil {
					out[i].fail(err)
					continue
				}
			}
			start := time.Now()
			if err = cs[i].call(); err != nil {
				out[i].fail(err)
				cs[i].Close()
				cs[i] = nil
				continue
			}
			if n >= warm {
				times[i] = append(times[i], micros(time.Since(start)))
			}
		}
	}
	for i := range ts {
		out[i].P50, out[i].P99 = quantile(times[i], .50), quantile(times[i], .99)
		out[i].AddedP50, out[i].AddedP99 = out[i].P50-out[0].P50, out[i].P99-out[0].P99
	}
}

// throughput keeps n calls in flight for a while and counts what came back whole.
func throughput(t *target, out *sample, n int, d time.Duration) {
	var done atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range n {
		wg.Go(func() {
			var c *client
			defer func() {
				if c != nil {
					c.Close()
				}
			}()
			for {
				select {
				case <-stop:
					return
				default:
				}
				var err error
				if c == nil {
					c, err = newClient(t.addr, 4096)
				}
				if err == nil {
					err = c.call()
				}
				if err != nil {
					mu.Lock()
					out.fail(err)
					mu.Unlock()
					if c != nil {
						c.Close()
						c = nil
					}
					time.Sleep(time.Millisecond)
					continue
				}
				done.Add(1)
			}
		})
	}
	time.Sleep(d / 5) // warm
	from, start, cpu := done.Load(), time.Now(), cpuOf(t)
	time.Sleep(d)
	count, took := done.Load()-from, time.Since(start)
	used := cpuOf(t) - cpu
	close(stop)
	wg.Wait()
	out.PerSecond = float64(count) / took.Seconds()
	if count > 0 {
		out.CPU = micros(used) / float64(count)
	}
}

func cpuOf(t *target) time.Duration {
	u, _ := live.UsageOf(t.pid)
	return u.CPU
}

func rssOf(t *target) float64 {
	u, _ := live.UsageOf(t.pid)
	return float64(u.RSS)
}

// streams opens n slow streams through the target and, while they run, measures the time to the
// first event of new short streams, in turn with direct ones. A stream's memory is what the process
// holds with all of them open over what it held at rest (rest), whatever else made it grow.
func streams(direct, t *target, out *sample, rest float64, n, firsts int, interval time.Duration) {
	open := make([]*client, 0, n)
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c, err := newClient(t.addr, 1024)
			if err == nil {
				_, err = c.first("slow")
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.fail(fmt.Errorf("open a stream: %w", err))
				return
			}
			open = append(open, c)
		})
	}
	wg.Wait()
	var readers sync.WaitGroup
	var ended, closing atomic.Int64
	for _, c := range open {
		readers.Go(func() {
			if c.drain(); closing.Load() == 0 {
				ended.Add(1)
			}
		})
	}
	time.Sleep(interval + interval/2) // every stream has sent at least one event since
	if t.pid != 0 {
		out.RSSStreams = rssOf(t)
		out.PerStream = (out.RSSStreams - rest) / float64(max(1, len(open)))
	}
	through, past := make([]float64, 0, firsts), make([]float64, 0, firsts)
	for range firsts {
		for _, way := range []struct {
			t *target
			l *[]float64
		}{{direct, &past}, {t, &through}} {
			took, err := ttft(way.t)
			if err != nil {
				out.fail(fmt.Errorf("first event of %s: %w", way.t.name, err))
				continue
			}
			*way.l = append(*way.l, micros(took))
		}
	}
	out.TTFT = quantile(through, .99)
	out.AddedTTFT = out.TTFT - quantile(past, .99)
	closing.Store(1)
	if n := ended.Load(); n > 0 {
		out.fail(fmt.Errorf("%d open streams ended early", n))
	}
	for _, c := range open {
		c.Close()
	}
	readers.Wait()
}

func ttft(t *target) (time.Duration, error) {
	c, err := newClient(t.addr, 4096)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	// The connection is already there, as an SDK's is.
	if err := c.call(); err != nil {
		return 0, err
	}
	took, err := c.first("quick")
	if err != nil {
		return 0, err
	}
	return took, c.rest()
}

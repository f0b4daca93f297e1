package test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"sallyport.dev/sallyport/test/gatetest"
)

// BenchmarkCall is one small call through the whole product in one process, client and upstream
// included: useful for profiles, not for comparisons (make bench is).
func BenchmarkCall(b *testing.B) {
	up := gatetest.NewUpstream(b)
	up.Answer(jsonReply(200, `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Roses like half shade; plant them in autumn."},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29}}`, nil))
	g := gatetest.Start(b, up, "audit: {mode: best_effort}\n")
	c := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8}}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		body := fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":"Customer %d asks which roses grow well in half shade and when to plant them this year."}]}`, n)
		resp, err := c.Post(g.URL+"/v1/chat/completions", "application/json", bytes.NewReader([]byte(body)))
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

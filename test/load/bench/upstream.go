package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// answer is what the simulated provider says to every call that is not streamed.
const answer = `{"id":"chatcmpl-B7x0","object":"chat.completion","created":1790000000,"model":"bench","choices":[{"index":0,` +
	`"message":{"role":"assistant","content":"The harbour opens at six, and the first boat leaves ten minutes later. Bring a coat: it is cold on the water in the morning."},` +
	`"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":48,"completion_tokens":31,"total_tokens":79}}`

const (
	event = `data: {"id":"chatcmpl-B7x0","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[{"index":0,"delta":{"content":" boat"},"logprobs":null,"finish_reason":null}]}` + "\n\n"
	final = `data: {"id":"chatcmpl-B7x0","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	quick = 5 // events of a short stream
)

// upstream is the simulated provider: the model's name says what to do. "bench" answers at once,
// "quick" streams a few events at once, "slow" streams one event per interval until the caller leaves.
func upstream(l net.Listener, interval time.Duration) error {
	body := []byte(answer)
	length := []string{fmt.Sprint(len(body))}
	json := []string{"application/json"}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h := w.Header()
		if !bytes.Contains(in, []byte(`"stream":true`)) {
			h["Content-Type"], h["Content-Length"] = json, length
			_, _ = w.Write(body)
			return
		}
		h["Content-Type"] = []string{"text/event-stream"}
		rc := http.NewResponseController(w)
		for i := 0; ; i++ {
			if _, err := io.WriteString(w, event); err != nil || rc.Flush() != nil {
				return
			}
			if bytes.Contains(in, []byte(`"model":"quick"`)) {
				if i == quick-1 {
					break
				}
				continue
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(interval):
			}
		}
		_, _ = io.WriteString(w, final)
	})}
	return srv.Serve(l)
}

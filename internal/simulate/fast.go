package simulate

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// fast answers with bytes made beforehand.
type fast struct {
	interval time.Duration
	deltas   int
	whole    [2][]byte   // OpenAI, Anthropic
	head     [2][]byte   // before the deltas of a stream
	delta    [2][][]byte // the deltas
	tail     [2][]byte
}

var streamTrue = [][]byte{[]byte(`"stream":true`), []byte(`"stream": true`)}

func newFast(opt Options) *fast {
	f := &fast{interval: opt.Interval, deltas: opt.Deltas}
	if f.deltas <= 0 {
		f.deltas = 8
	}
	const text = "The harbour light keeps a steady hand."
	f.whole[0] = fmt.Appendf(nil, `{"id":"chatcmpl-fast","object":"chat.completion","created":%d,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":%q,"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":8,"total_tokens":17}}`, created, text)
	f.whole[1] = fmt.Appendf(nil, `{"id":"msg_fast","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":%q}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":8}}`, text)
	chunk := func(delta, finish string) []byte {
		return fmt.Appendf(nil, "data: {\"id\":\"chatcmpl-fast\",\"object\":\"chat.completion.chunk\",\"created\":%d,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]}\n\n", created, delta, finish)
	}
	f.head[0] = chunk(`{"role":"assistant","content":""}`, "null")
	f.tail[0] = append(chunk(`{}`, `"stop"`), "data: [DONE]\n\n"...)
	f.head[1] = []byte("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_fast\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n")
	f.tail[1] = []byte("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":8}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
	words := []string{"The ", "harbour ", "light ", "keeps ", "a ", "steady ", "hand ", "today "}
	for _, w := range words {
		f.delta[0] = append(f.delta[0], chunk(fmt.Sprintf(`{"content":%q}`, w), "null"))
		f.delta[1] = append(f.delta[1], fmt.Appendf(nil, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":%q}}\n\n", w))
	}
	return f
}

func (f *fast) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d := 0
	if isAnthropic(r) {
		d = 1
	}
	h := w.Header()
	if !bytes.Contains(body, streamTrue[0]) && !bytes.Contains(body, streamTrue[1]) {
		h["Content-Type"] = []string{"application/json"}
		h["Content-Length"] = []string{strconv.Itoa(len(f.whole[d]))}
		_, _ = w.Write(f.whole[d])
		return
	}
	h["Content-Type"] = []string{"text/event-stream"}
	rc := http.NewResponseController(w)
	send := func(b []byte) bool {
		_, err := w.Write(b)
		return err == nil && rc.Flush() == nil
	}
	if !send(f.head[d]) {
		return
	}
	var tick *time.Timer
	if f.interval > 0 {
		tick = time.NewTimer(f.interval)
		defer tick.Stop()
	}
	for i := range f.deltas {
		if tick != nil {
			select {
			case <-tick.C:
				tick.Reset(f.interval)
			case <-r.Context().Done():
				return
			}
		}
		if !send(f.delta[d][i%len(f.delta[d])]) {
			return
		}
	}
	send(f.tail[d])
}

package test

import (
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/iam/quota"
)

// priced costs, for one token: 100 input, 10 from the cache, 125 or 200 into it, 500 output, 1000 and 2000 sound
// in and out, 300 a picture's; a search 10000.
const priced = `{"version":"1","dated":"2026-01-01","currency":"USD","tiers":{"flex":50,"batch":50,"priority":200,"fast":600},"web_search":10000,"models":[
 {"model":"p","input":100000000,"cached":10000000,"cache_write":125000000,"cache_write_hour":200000000,"output":500000000,"audio_input":1000000000,"audio_output":2000000000,"image_input":300000000},
 {"model":"plain","input":100000000,"output":500000000}]}`

// What a call costs by the usage that providers send, in the shapes of their references (openai-openapi
// 2026-08-21, anthropic-sdk-go 1.84) and as older and compatible servers send it.
func TestWhatAnAnswerCosts(t *testing.T) {
	completions := func(usage, more string) string {
		return `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"p","choices":[{"index":0,"message":{"role":"assistant","content":"w"},"finish_reason":"stop"}],"usage":` + usage + more + `}`
	}
	chunks := func(usage, tier string) string {
		return "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"p\"" + tier + ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"w\"},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n" +
			"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"p\"" + tier + ",\"choices\":[],\"usage\":" + usage + "}\n\ndata: [DONE]\n\n"
	}
	response := func(output, usage, tier string) string {
		return `{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"p","service_tier":"` + tier + `","output":[` + output + `],"usage":` + usage + `}`
	}
	message := func(usage string) string {
		return `{"id":"msg_1","type":"message","role":"assistant","model":"p","content":[{"type":"text","text":"w"}],"stop_reason":"end_turn","stop_sequence":null,"usage":` + usage + `}`
	}
	messages := func(start, end string) string {
		return "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"p\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":" + start + "}}\n\n" +
			"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n" +
			"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"w\"}}\n\n" +
			"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n" +
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":" + end + "}\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	}
	const (
		search = `{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"q"}}`
		opened = `{"type":"web_search_call","id":"ws_2","status":"completed","action":{"type":"open_page","url":"u"}}`
		text   = `{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"w","annotations":[]}]}`
	)
	ask := chat(`{"model":"p","max_tokens":50,"messages":[{"role":"user","content":"which roses like shade?"}]}`)
	ask2 := ask
	ask2.target, ask2.body = "/v1/responses", []byte(`{"model":"p","max_output_tokens":50,"input":"which roses like shade?"}`)
	draw := ask
	draw.target, draw.body = "/v1/images/generations", []byte(`{"model":"p","prompt":"a rose"}`)
	claude := goodClaude
	claude.body = []byte(`{"model":"p","max_tokens":50,"messages":[{"role":"user","content":"which roses like shade?"}]}`)
	streamed := func(r request) request {
		r.body = []byte(strings.Replace(string(r.body), `{"model"`, `{"stream":true,"model"`, 1))
		return r
	}
	for _, c := range []struct {
		name   string
		ask    request
		body   string
		tokens int64
		cost   int64
		doubt  bool // no price is known
	}{
		{"plain", ask, completions(`{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}`, ""), 29, 1900 + 5000, false},
		{"details of nothing", ask, completions(`{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`, `,"service_tier":"default"`), 29, 6900, false},
		{"null details", ask, completions(`{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":null,"completion_tokens_details":null}`, `,"service_tier":null`), 29, 6900, false},
		{"cached, and reasoning within the output", ask, completions(`{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":256,"accepted_prediction_tokens":20,"rejected_prediction_tokens":10}}`, ""), 2306, 86*100 + 1920*10 + 300*500, false},
		{"into the cache", ask, completions(`{"prompt_tokens":1000,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":400,"cache_write_tokens":100}}`, ""), 1000, 500*100 + 400*10 + 100*125, false},
		{"sound", ask, completions(`{"prompt_tokens":110,"completion_tokens":60,"prompt_tokens_details":{"audio_tokens":100,"cached_tokens":0},"completion_tokens_details":{"audio_tokens":50,"reasoning_tokens":0}}`, ""), 170, 10*100 + 100*1000 + 10*500 + 50*2000, false},
		{"more details than there are tokens", ask, completions(`{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":900,"cached_tokens":900,"cache_write_tokens":900},"completion_tokens_details":{"audio_tokens":900}}`, ""), 15, 10*10 + 5*2000, false},
		{"flex", ask, completions(`{"prompt_tokens":19,"completion_tokens":10}`, `,"service_tier":"flex"`), 29, 3450, false},
		{"priority", ask, completions(`{"prompt_tokens":19,"completion_tokens":10}`, `,"service_tier":"priority"`), 29, 13800, false},
		{"scale", ask, completions(`{"prompt_tokens":19,"completion_tokens":10}`, `,"service_tier":"scale"`), 29, 6900, false},
		{"a tier that nobody knows", ask, completions(`{"prompt_tokens":19,"completion_tokens":10}`, `,"service_tier":"hyper`+strings.Repeat("x", 5000)+`"`), 29, 41400, true},
		{"a stream", streamed(ask), chunks(`{"prompt_tokens":2006,"completion_tokens":300,"prompt_tokens_details":{"cached_tokens":1920}}`, ""), 2306, 86*100 + 1920*10 + 300*500, false},
		{"a stream of a tier", streamed(ask), chunks(`{"prompt_tokens":19,"completion_tokens":10}`, `,"service_tier":"flex"`), 29, 3450, false},

		{"a response", ask2, response(text, `{"input_tokens":328,"input_tokens_details":{"cached_tokens":300,"cache_write_tokens":8},"output_tokens":52,"output_tokens_details":{"reasoning_tokens":40},"total_tokens":380}`, "default"), 380, 20*100 + 300*10 + 8*125 + 52*500, false},
		{"searches", ask2, response(search+","+opened+","+search+","+text, `{"input_tokens":10,"output_tokens":2}`, "flex"), 12, (1000+1000)/2 + 2*10000, false},
		{"a streamed response", streamed(ask2), "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":" + response("", "null", "auto") + "}\n\n" +
			"event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":1,\"output_index\":0,\"item\":" + search + "}\n\n" +
			"event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":" + response(search, `{"input_tokens":10,"input_tokens_details":{"cached_tokens":5},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0}}`, "priority") + "}\n\n", 12, 2*(500+50+1000) + 10000, false},
		{"a picture", draw, `{"created":1,"data":[{"b64_json":"aGk="}],"usage":{"total_tokens":90,"input_tokens":50,"output_tokens":40,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}`, 90, 10*100 + 40*300 + 40*500, false},

		{"a message", claude, message(`{"input_tokens":2095,"output_tokens":503}`), 2598, 209500 + 251500, false},
		{"cached beside the input, nobody says for how long", claude, message(`{"input_tokens":21,"cache_creation_input_tokens":1000,"cache_read_input_tokens":5000,"output_tokens":10}`), 6031, 2100 + 1000*200 + 50000 + 5000, false},
		{"cached for both times", claude, message(`{"input_tokens":21,"cache_creation_input_tokens":1000,"cache_read_input_tokens":5000,"cache_creation":{"ephemeral_5m_input_tokens":600,"ephemeral_1h_input_tokens":400},"output_tokens":10,"service_tier":"standard","server_tool_use":null}`), 6031, 2100 + 600*125 + 400*200 + 50000 + 5000, false},
		{"null counts", claude, message(`{"input_tokens":21,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"cache_creation":null,"output_tokens":10}`), 31, 7100, false},
		{"thinking, within the output", claude, message(`{"input_tokens":21,"output_tokens":10,"output_tokens_details":{"thinking_tokens":8}}`), 31, 7100, false},
		{"a batch's", claude, message(`{"input_tokens":21,"output_tokens":10,"service_tier":"batch"}`), 31, 3550, false},
		{"fast", claude, message(`{"input_tokens":21,"output_tokens":10,"service_tier":"standard","speed":"fast"}`), 31, 42600, false},
		{"searches beside", claude, message(`{"input_tokens":21,"output_tokens":10,"server_tool_use":{"web_search_requests":3,"web_fetch_requests":9}}`), 31, 7100 + 30000, false},
		{"steps that the total leaves out", claude, message(`{"input_tokens":21,"output_tokens":10,"iterations":[{"type":"compaction","input_tokens":100,"output_tokens":20,"cache_read_input_tokens":7,"cache_creation_input_tokens":0},{"type":"message","input_tokens":21,"output_tokens":10,"cache_read_input_tokens":0,"cache_creation_input_tokens":0}]}`), 158, 12100 + 70 + 15000, false},
		{"a streamed message", streamed(claude), messages(`{"input_tokens":21,"cache_creation_input_tokens":1000,"cache_read_input_tokens":5000,"cache_creation":{"ephemeral_5m_input_tokens":1000,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}`, `{"input_tokens":21,"cache_creation_input_tokens":1000,"cache_read_input_tokens":5000,"output_tokens":10,"server_tool_use":{"web_search_requests":1}}`), 6031, 2100 + 1000*125 + 50000 + 5000 + 10000, false},
		{"a streamed message of an older server", streamed(claude), messages(`{"input_tokens":21,"output_tokens":1}`, `{"output_tokens":10}`), 31, 7100, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cost := quota.Bound{Subject: "all", Unit: quota.Cost, Amount: 1 << 40, Window: quota.Month}
			l := newPriced(t, priced, cost)
			if strings.Contains(string(c.ask.body), `"stream":true`) {
				l.up.Answer(streamReply(c.body))
			} else {
				l.up.Answer(jsonReply(200, c.body, nil))
			}
			if res := do(t, l.URL, c.ask); res.status != 200 {
				t.Fatalf("%d %s", res.status, res.body)
			}
			used := l.done(t, 1, cost)
			s := l.records()[0].Spend
			if s.Tokens != c.tokens || s.Cost != c.cost || used != c.cost || s.Guessed != c.doubt || s.Estimated {
				t.Errorf("%+v, %d on the books; want %d tokens, cost %d; usage %+v", s, used, c.tokens, c.cost, l.records()[0].Usage)
			}
		})
	}
}

// An answer that says its tier and not its tokens is not free.
func TestATierAloneIsNoUsage(t *testing.T) {
	l := newPriced(t, priced, minute(quota.Tokens, 1<<40))
	l.up.Answer(streamReply("data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"p\",\"service_tier\":\"priority\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"some words\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"))
	r := goodStream
	r.body = []byte(strings.Replace(string(r.body), `"model":"m"`, `"model":"plain"`, 1))
	if res := do(t, l.URL, r); res.status != 200 {
		t.Fatal(res.status)
	}
	l.done(t, 1, minute(quota.Tokens, 1<<40))
	if s := l.records()[0].Spend; s.Tokens == 0 || !s.Estimated || s.Cost < 200*s.Tokens {
		t.Errorf("%+v", s)
	}
}

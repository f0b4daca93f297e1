package sdk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"sallyport.dev/sallyport/internal/simulate"
)

func openaiClient(base string, more ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{option.WithBaseURL(base + "/v1/"), option.WithAPIKey("sk-test"), option.WithMaxRetries(0)}, more...)...)
}

func steer(s string) option.RequestOption { return option.WithHeader(simulate.SteerHeader, s) }

func ask(text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
}

func TestOpenAIStreamWithToolCall(t *testing.T) {
	base, _ := provider(t, "openai", simulate.Options{})
	c := openaiClient(base)
	for _, chunk := range []string{"1", "3", "1000"} {
		s := c.Chat.Completions.NewStreaming(t.Context(), ask("weather?"),
			steer(`extras; say=Let me look – ö.; tool=weather; arguments={"city":"Oslo","days":3}; chunk=`+chunk))
		acc := openai.ChatCompletionAccumulator{}
		for s.Next() {
			if chunk := s.Current(); len(chunk.Choices) > 0 && !acc.AddChunk(chunk) {
				t.Fatal("a chunk does not fit")
			}
		}
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		m := acc.Choices[0].Message
		if m.Content != "Let me look – ö." || len(m.ToolCalls) != 1 || m.ToolCalls[0].Function.Name != "weather" ||
			m.ToolCalls[0].Function.Arguments != `{"city":"Oslo","days":3}` || acc.Choices[0].FinishReason != "tool_calls" {
			t.Errorf("chunk=%s: %s", chunk, m.RawJSON())
		}
	}
}

func TestOpenAIResponsesStream(t *testing.T) {
	base, _ := provider(t, "openai", simulate.Options{})
	c := openaiClient(base)
	s := c.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{Model: "gpt-4o",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")}},
		steer("thinking=Hm.; say=Well then.; tool=go; arguments={}; chunk=2"))
	text, arguments, done, next := "", "", "", int64(0)
	for s.Next() {
		e := s.Current()
		if e.SequenceNumber != next {
			t.Errorf("event %d comes as %d", e.SequenceNumber, next)
		}
		next++
		switch e.Type {
		case "response.output_text.delta":
			text += e.Delta
		case "response.function_call_arguments.delta":
			arguments += e.Delta
		case "response.completed":
			done = e.Response.OutputText()
		}
	}
	if err := s.Err(); err != nil || text != "Well then." || done != text || arguments != "{}" {
		t.Errorf("%q %q %q %v", text, done, arguments, err)
	}
}

func TestOpenAIStructuredOutput(t *testing.T) {
	base, _ := provider(t, "openai", simulate.Options{})
	p := ask("a person")
	p.ResponseFormat.OfJSONSchema = &openai.ResponseFormatJSONSchemaParam{JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{
		Name: "person", Strict: openai.Bool(true), Schema: map[string]any{"type": "object", "additionalProperties": false,
			"required": []string{"name", "age"}, "properties": map[string]any{"name": map[string]any{"type": "string"}, "age": map[string]any{"type": "integer"}}}}}
	c := openaiClient(base)
	r, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Name string
		Age  int
	}
	if err := json.Unmarshal([]byte(r.Choices[0].Message.Content), &got); err != nil || got.Name == "" || got.Age == 0 {
		t.Errorf("%s %v", r.RawJSON(), err)
	}
}

func TestOpenAIFilesAndAudio(t *testing.T) {
	base, sim := provider(t, "openai", simulate.Options{})
	c := openaiClient(base)
	content := bytes.Repeat([]byte("line of a document\r\n"), 500)
	f, err := c.Files.New(t.Context(), openai.FileNewParams{Purpose: openai.FilePurposeUserData,
		File: openai.File(bytes.NewReader(content), `nötes "1".txt`, "text/plain")})
	if err != nil || f.Bytes != int64(len(content)) {
		t.Fatalf("%+v %v", f, err)
	}
	if seen := sim.Seen(); !bytes.Contains(seen[len(seen)-1].Body, content) {
		t.Error("the file arrived changed")
	}
	res, err := c.Audio.Speech.New(t.Context(), openai.AudioSpeechNewParams{Model: "tts-1", Input: "hello", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || !bytes.HasPrefix(b, []byte("RIFF")) || len(b) != 44+16<<10 || res.Header.Get("Content-Type") != "audio/wav" {
		t.Errorf("%d bytes, %v, %v", len(b), res.Header, err)
	}
}

func TestOpenAIErrorsStayTyped(t *testing.T) {
	base, _ := provider(t, "openai", simulate.Options{})
	c := openaiClient(base)
	for status, kind := range map[int]string{401: "authentication_error", 403: "permission_error", 404: "invalid_request_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"} {
		_, err := c.Chat.Completions.New(t.Context(), ask("hello"), steer("retry-after=7; status="+itoa(status)))
		var e *openai.Error
		if !errors.As(err, &e) || e.StatusCode != status || e.Type != kind {
			t.Errorf("%d: %v", status, err)
			continue
		}
		h := e.Response.Header
		if h.Get("Retry-After") != "7" || !strings.HasPrefix(h.Get("X-Request-Id"), "req_") || h.Get("X-Ratelimit-Limit-Requests") == "" || h.Get("X-Simulated-Unknown") != `kept; "as is"` {
			t.Errorf("%d: headers lost: %v", status, h)
		}
	}
	n := 0
	retrying := openaiClient(base, option.WithMaxRetries(1), option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		n++
		return next(r)
	}))
	if _, err := retrying.Chat.Completions.New(t.Context(), ask("hello"), steer("status=429; retry-after=0")); err == nil || n != 2 {
		t.Errorf("a 429 was tried %d times: %v", n, err)
	}
}

func TestOpenAICancelReachesTheProvider(t *testing.T) {
	ends := make(chan simulate.End, 4)
	base, _ := provider(t, "openai", simulate.Options{OnEnd: func(e simulate.End) { ends <- e }})
	c := openaiClient(base)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := c.Chat.Completions.NewStreaming(ctx, ask("hello"), steer("say=One two three. Four five six. Seven eight nine.; silence-after=8"))
	if !s.Next() {
		t.Fatal(s.Err())
	}
	at := time.Now()
	cancel()
	select {
	case e := <-ends:
		if took := e.At.Sub(at); !e.Left || took > 100*time.Millisecond {
			t.Errorf("left=%v after %v", e.Left, took)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the provider goes on after the client has left")
	}
}

func TestOpenAILargeBodyArrivesWhole(t *testing.T) {
	base, sim := provider(t, "openai", simulate.Options{})
	var sent [32]byte
	c := openaiClient(base, option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		sent = sha256.Sum256(b)
		r.Body = io.NopCloser(bytes.NewReader(b))
		return next(r)
	}))
	text := strings.Repeat("The harbour keeps its lights on through the night. ", 20<<20/51)
	if _, err := c.Chat.Completions.New(t.Context(), ask(text)); err != nil {
		t.Fatal(err)
	}
	seen := sim.Seen()
	if len(seen) != 1 || len(seen[0].Body) < 20_000_000 || seen[0].SHA256 != sent {
		t.Error("20 MB did not arrive as they were sent")
	}
}

func TestOpenAIPolicyBlockIsATypedError(t *testing.T) {
	needPolicy(t)
	base, sim := provider(t, "openai", simulate.Options{})
	c := openaiClient(base, option.WithMaxRetries(2))
	_, unary := c.Chat.Completions.New(t.Context(), ask(hostile))
	s := c.Chat.Completions.NewStreaming(t.Context(), ask(hostile))
	if s.Next() {
		t.Error("a blocked stream has a first event")
	}
	for _, err := range []error{unary, s.Err()} {
		var e *openai.Error
		if !errors.As(err, &e) || e.StatusCode != 400 || e.Code != "content_policy_violation" || e.Type != "invalid_request_error" {
			t.Errorf("%v", err)
		}
	}
	if n := len(sim.Seen()); n != 0 {
		t.Errorf("%d blocked calls arrived", n)
	}
}

func TestOpenAIBlockWithinAStreamEndsInOrder(t *testing.T) {
	needPolicy(t)
	base, _ := provider(t, "openai", simulate.Options{})
	c := openaiClient(base)
	s := c.Chat.Completions.NewStreaming(t.Context(), ask("read the page"), steer("chunk=4; say=The page says this: "+hostile+" And more."))
	text, finish := "", ""
	for s.Next() {
		for _, ch := range s.Current().Choices {
			text += ch.Delta.Content
			finish += ch.FinishReason
		}
	}
	if s.Err() != nil || finish != "content_filter" || strings.Contains(text, "reveal") {
		t.Errorf("%q %q %v", text, finish, s.Err())
	}
}

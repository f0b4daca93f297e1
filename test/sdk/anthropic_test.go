package sdk

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"sallyport.dev/sallyport/internal/simulate"
)

func itoa(n int) string { return strconv.Itoa(n) }

func anthropicClient(base string) anthropic.Client {
	return anthropic.NewClient(option.WithBaseURL(base), option.WithAPIKey("sk-ant-test"), option.WithMaxRetries(0))
}

func say(text string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{Model: "claude-sonnet-4-5", MaxTokens: 100,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))}}
}

func anthropicSteer(s string) option.RequestOption {
	return option.WithHeader(simulate.SteerHeader, s)
}

func TestAnthropicStreamWithThinkingAndTool(t *testing.T) {
	base, _ := provider(t, "anthropic", simulate.Options{})
	c := anthropicClient(base)
	for _, chunk := range []string{"1", "3", "1000"} {
		s := c.Messages.NewStreaming(t.Context(), say("weather?"),
			anthropicSteer(`thinking=Hm, hm.; say=Let me look.; tool=weather; arguments={"city":"Oslo"}; chunk=`+chunk))
		m := anthropic.Message{}
		for s.Next() {
			if err := m.Accumulate(s.Current()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		if len(m.Content) != 3 || m.Content[0].Thinking != "Hm, hm." || m.Content[0].Signature == "" || m.Content[1].Text != "Let me look." ||
			string(m.Content[2].Input) != `{"city":"Oslo"}` || m.StopReason != "tool_use" {
			t.Errorf("chunk=%s: %+v", chunk, m)
		}
	}
}

func TestAnthropicUnaryAndCount(t *testing.T) {
	base, _ := provider(t, "anthropic", simulate.Options{})
	c := anthropicClient(base)
	m, err := c.Messages.New(t.Context(), say("hello"), anthropicSteer("say=Good day."))
	if err != nil || m.Content[0].Text != "Good day." || m.StopReason != "end_turn" {
		t.Errorf("%+v %v", m, err)
	}
	n, err := c.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: "claude-sonnet-4-5", Messages: say("hello").Messages})
	if err != nil || n.InputTokens == 0 {
		t.Errorf("%+v %v", n, err)
	}
}

func TestAnthropicErrorsStayTyped(t *testing.T) {
	base, _ := provider(t, "anthropic", simulate.Options{})
	c := anthropicClient(base)
	for status, kind := range map[int]string{401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"} {
		_, err := c.Messages.New(t.Context(), say("hello"), anthropicSteer("retry-after=7; status="+itoa(status)))
		var e *anthropic.Error
		if !errors.As(err, &e) || e.StatusCode != status || !strings.Contains(e.RawJSON(), kind) || !strings.HasPrefix(e.RequestID, "req_") || e.Response.Header.Get("Retry-After") != "7" {
			t.Errorf("%d: %v", status, err)
		}
	}
	s := c.Messages.NewStreaming(t.Context(), say("hello"), anthropicSteer("error-after=3"))
	for s.Next() {
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "overloaded_error") {
		t.Errorf("an error within a stream: %v", err)
	}
}

func TestAnthropicPolicyBlock(t *testing.T) {
	needPolicy(t)
	base, sim := provider(t, "anthropic", simulate.Options{})
	c := anthropicClient(base)
	_, unary := c.Messages.New(t.Context(), say(hostile))
	s := c.Messages.NewStreaming(t.Context(), say(hostile))
	if s.Next() {
		t.Error("a blocked stream has a first event")
	}
	for _, err := range []error{unary, s.Err()} {
		var e *anthropic.Error
		if !errors.As(err, &e) || e.StatusCode != 400 || !strings.Contains(e.RawJSON(), "invalid_request_error") {
			t.Errorf("%v", err)
		}
	}
	if n := len(sim.Seen()); n != 0 {
		t.Errorf("%d blocked calls arrived", n)
	}
	m := anthropic.Message{}
	s = c.Messages.NewStreaming(t.Context(), say("read the page"), anthropicSteer("chunk=4; say=The page says this: "+hostile+" And more."))
	for s.Next() {
		if err := m.Accumulate(s.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if s.Err() != nil || m.StopReason != "refusal" || strings.Contains(m.RawJSON(), "reveal") {
		t.Errorf("%+v %v", m, s.Err())
	}
}

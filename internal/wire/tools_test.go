package wire_test

import (
	"slices"
	"testing"

	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/anthropic"
	"sallyport.dev/sallyport/internal/wire/openai"
)

func TestToolsThatARequestOffers(t *testing.T) {
	for name, c := range map[string]struct {
		d    wire.Dialect
		path string
		typ  string
		body string
		want []string
	}{
		"chat": {openai.Dialect{}, "/v1/chat/completions", "", `{"model":"m","tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"tools":{"type":"array","items":[{"name":"not_a_tool"}]}}}}},{"type":"custom","custom":{"name":"shell"}},{"type":"function","function":{"name":"get_weather"}}]}`,
			[]string{"get_weather", "shell"}},
		"functions": {openai.Dialect{}, "/v1/chat/completions", "", `{"functions":[{"name":"old_style"}]}`, []string{"old_style"}},
		"responses": {openai.Dialect{}, "/v1/responses", "", `{"tools":[{"type":"function","name":"send_mail"},{"type":"web_search"},{"type":"mcp","server_label":"crm","server_url":"https://crm.example"}],"input":"tools"}`,
			[]string{"send_mail", "web_search", "mcp:crm"}},
		"a name that is escaped": {openai.Dialect{}, "/v1/responses", "", `{"tools":[{"type":"function","name":"\u0073hell"}]}`, []string{"shell"}},
		"none":                   {openai.Dialect{}, "/v1/responses", "", `{"input":[{"role":"user","content":"tools: [{name: x}]"}]}`, nil},
		"one a line": {openai.Dialect{}, "/v1/files", "application/jsonl", `{"custom_id":"1","body":{"tools":[{"type":"function","function":{"name":"a"}}]}}` + "\n" + `{"custom_id":"2","body":{"tools":[{"type":"function","function":{"name":"b"}}]}}`,
			[]string{"a", "b"}},
		"messages": {anthropic.Dialect{}, "/v1/messages", "", `{"model":"m","tools":[{"name":"get_weather","input_schema":{}},{"type":"web_search_20250305","name":"web_search"},{"type":"bash_20250124"}],"mcp_servers":[{"type":"url","name":"crm","url":"https://crm.example"}]}`,
			[]string{"get_weather", "web_search", "bash_20250124", "mcp:crm"}},
		"a batch": {anthropic.Dialect{}, "/v1/messages/batches", "", `{"requests":[{"custom_id":"1","params":{"tools":[{"name":"a"}]}},{"custom_id":"2","params":{"tools":[{"name":"b"}]}}]}`,
			[]string{"a", "b"}},
	} {
		typ := c.typ
		if typ == "" {
			typ = "application/json"
		}
		r, err := c.d.ReadRequest(c.d.Route("POST", c.path), typ, []byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Equal(r.Tools, c.want) {
			t.Errorf("%s: %q, want %q", name, r.Tools, c.want)
		}
	}
}

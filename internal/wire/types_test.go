package wire_test

import (
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/anthropic"
	"sallyport.dev/sallyport/internal/wire/openai"
)

// The texts of every item type of the Responses API, beyond those of TestEveryPlaceIsRead.
var itemTypes = []place{
	{"", item(`{"type":"message","role":"user","content":"@"}`), user},
	{"", item(`{"type":"message","role":"system","content":[{"type":"input_text","text":"@"}]}`), system},
	{"", item(`{"type":"message","role":"developer","content":[{"type":"input_text","text":"@"}]}`), developer},
	{"", item(`{"type":"message","role":"assistant","content":[{"type":"refusal","refusal":"@"}]}`), model},
	{"", item(`{"type":"message","role":"user","content":[{"type":"input_file","filename":"@","file_id":"f"}]}`), user},
	{"", item(`{"type":"function_call","name":"@","arguments":"{}"}`), model},
	{"", item(`{"type":"function_call","name":"f","arguments":"@ is no JSON"}`), model},
	{"", item(`{"type":"custom_tool_call_output","output":[{"type":"input_text","text":"@"}]}`), tool},
	{"", item(`{"type":"file_search_call","queries":["@"]}`), model},
	{"", item(`{"type":"file_search_call","results":[{"filename":"@"}]}`), document},
	{"", item(`{"type":"file_search_call","results":[{"attributes":{"a":"@"}}]}`), document},
	{"", item(`{"type":"web_search_call","action":{"type":"open_page","url":"https://example.com/@"}}`), model},
	{"", item(`{"type":"computer_call","action":{"type":"type","text":"@"}}`), model},
	{"", item(`{"type":"computer_call","pending_safety_checks":[{"message":"@"}]}`), model},
	{"", item(`{"type":"computer_call_output","output":{"type":"computer_screenshot","note":"@"}}`), tool},
	{"", item(`{"type":"local_shell_call","action":{"command":["@"]}}`), model},
	{"", item(`{"type":"local_shell_call","action":{"env":{"A":"@"}}}`), model},
	{"", item(`{"type":"local_shell_call_output","output":"@"}`), tool},
	{"", item(`{"type":"shell_call_output","output":[{"stderr":"@"}]}`), tool},
	{"", item(`{"type":"apply_patch_call","operation":{"path":"@"}}`), model},
	{"", item(`{"type":"apply_patch_call_output","output":"@"}`), tool},
	{"", item(`{"type":"mcp_list_tools","tools":[{"name":"f","input_schema":{"description":"@"}}]}`), tool},
	{"", item(`{"type":"mcp_list_tools","error":"@"}`), tool},
	{"", item(`{"type":"mcp_call","arguments":"{\"a\":\"@\"}"}`), model},
	{"", item(`{"type":"mcp_call","error":"@"}`), tool},
	{"", item(`{"type":"mcp_call","error":{"type":"x","message":"@"}}`), tool},
	{"", item(`{"type":"mcp_call","error":{"content":[{"type":"text","text":"@"}]}}`), tool},
	{"", item(`{"type":"mcp_call","error":{"role":"user","message":"@"}}`), tool},
	{"", item(`{"type":"mcp_call","output":{"type":"output_text","text":"@"}}`), tool},
	{"", item(`{"type":"function_call_output","output":[{"type":"output_text","text":"@"}]}`), tool},
	{"", item(`{"type":"mcp_approval_request","arguments":"{\"a\":\"@\"}"}`), model},
	{"", item(`{"type":"tool_search_call","arguments":{"query":"@"}}`), model},
	{"", item(`{"type":"tool_search_output","tools":[{"description":"@"}]}`), tool},
	{"", item(`{"type":"tool_search_call_output","tools":[{"parameters":{"title":"@"}}]}`), tool},
	{"", item(`{"type":"additional_tools","tools":[{"description":"@"}]}`), tool},
	{"", item(`{"type":"image_generation_call","revised_prompt":"@"}`), model},
	{"", item(`{"type":"reasoning","content":[{"type":"reasoning_text","text":"@"}]}`), model},
	{"", item(`{"type":"compaction","summary":"@"}`), model},
	{"", item(`{"type":"compaction_trigger","note":"@"}`), user},
	{"", item(`{"type":"item_reference","note":"@"}`), user},
	{"", item(`{"type":"unheard_of","deep":[{"er":"@"}]}`), user},
	{"", `{"tools":[{"type":"namespace","description":"@"}]}`, tool},
	{"", `{"tools":[{"type":"namespace","tools":[{"description":"@"}]}]}`, tool},
	{"", `{"tools":[{"type":"web_search","filters":{"allowed_domains":["@"]}}]}`, tool},
	{"", `{"tools":[{"type":"mcp","headers":{"X":"@"}}]}`, tool},
}

// The texts of every block type of the Messages API, beyond those of TestEveryPlaceIsRead.
var blockTypes = []place{
	{"", block(`{"type":"text","text":"x","citations":[{"cited_text":"@"}]}`), user},
	{"", block(`{"type":"image","title":"@"}`), user},
	{"", block(`{"type":"document","source":{"type":"content","content":"@"}}`), document},
	{"", block(`{"type":"search_result","title":"@"}`), document},
	{"", block(`{"type":"thinking","thinking":"@"}`), model},
	{"", block(`{"type":"tool_result","content":[{"type":"document","source":{"type":"text","data":"@"}}]}`), document},
	{"", block(`{"type":"tool_result","content":[{"type":"search_result","content":[{"type":"text","text":"@"}]}]}`), document},
	{"", block(`{"type":"tool_result","is_error":true,"content":"@"}`), tool},
	{"", block(`{"type":"server_tool_use","name":"web_search","input":{"query":"@"}}`), model},
	{"", block(`{"type":"mcp_tool_use","input":{"a":"@"}}`), model},
	{"", block(`{"type":"mcp_tool_result","content":"@"}`), tool},
	{"", block(`{"type":"web_search_tool_result","content":[{"type":"web_search_result","url":"https://example.com/@"}]}`), document},
	{"", block(`{"type":"web_fetch_tool_result","content":{"type":"web_fetch_result","content":{"type":"document","source":{"type":"text","data":"@"}}}}`), document},
	{"", block(`{"type":"web_fetch_tool_result","content":{"type":"web_fetch_result","content":{"type":"document","title":"@"}}}`), document},
	{"", block(`{"type":"code_execution_tool_result","content":{"type":"code_execution_result","stdout":"@"}}`), tool},
	{"", block(`{"type":"code_execution_tool_result","content":{"type":"code_execution_result","stderr":"@"}}`), tool},
	{"", block(`{"type":"bash_code_execution_tool_result","content":{"type":"bash_code_execution_result","stderr":"@"}}`), tool},
	{"", block(`{"type":"text_editor_code_execution_tool_result","content":{"type":"text_editor_code_execution_view_result","content":"@"}}`), tool},
	{"", block(`{"type":"text_editor_code_execution_tool_result","content":{"type":"text_editor_code_execution_str_replace_result","lines":["@"]}}`), tool},
	{"", block(`{"type":"text_editor_code_execution_tool_result","content":{"type":"text_editor_code_execution_tool_result_error","error_message":"@"}}`), tool},
	{"", block(`{"type":"tool_search_tool_result","content":{"type":"tool_search_tool_search_result","tool_references":[{"tool_name":"@"}]}}`), tool},
	{"", block(`{"type":"tool_addition","tool":{"name":"f","description":"@"}}`), tool},
	{"", block(`{"type":"mcp_tool_listing","tools":[{"description":"@"}]}`), tool},
	{"", block(`{"type":"compaction","content":"@"}`), model},
	{"", block(`{"type":"unheard_of","deep":[{"er":"@"}]}`), user},
	{"", `{"messages":[{"role":"assistant","content":[{"type":"text","text":"@"}]}]}`, model},
	{"", `{"messages":[{"role":"system","content":[{"type":"text","text":"@"}]}]}`, system},
	{"", `{"tools":[{"name":"@"}]}`, tool},
	{"", `{"mcp_servers":[{"tool_configuration":{"allowed_tools":["@"]}}]}`, tool},
}

// What a tool or a page said is never read as the user's or the model's words, whatever its type.
func TestEveryTypeHasItsChannel(t *testing.T) {
	for _, set := range []struct {
		d      wire.Dialect
		target string
		places []place
	}{{openai.Dialect{}, "/v1/responses", itemTypes}, {anthropic.Dialect{}, "/v1/messages", blockTypes}} {
		for _, p := range set.places {
			body := []byte(strings.ReplaceAll(p.body, "@", probe))
			r, err := set.d.ReadRequest(set.d.Route("POST", set.target), "application/json", body)
			if err != nil {
				t.Errorf("%s: %v", p.body, err)
				continue
			}
			var as []gate.Channel
			right := false
			for _, s := range r.Segments {
				if s.Joined == nil && strings.Contains(string(s.Text), probe) {
					as, right = append(as, s.Channel), s.Channel == p.channel
				}
			}
			if len(as) == 0 || !right {
				t.Errorf("%s: read as %v, want %v", p.body, as, p.channel)
			}
		}
	}
	t.Logf("%d places more", len(itemTypes)+len(blockTypes))
}

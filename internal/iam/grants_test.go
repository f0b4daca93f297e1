package iam_test

import (
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
)

func reading(r gate.Reading) func(*gate.Exchange) {
	return func(x *gate.Exchange) { r.Model = "gpt-5"; x.Reading = &r }
}

func unread(k gate.UninspectedKind, path string) gate.Reading {
	return gate.Reading{Uninspected: []gate.Uninspected{{Kind: k, Path: path}}}
}

func TestFeaturesAndToolsOfAKey(t *testing.T) {
	h := newHouse(t)
	only := func(fs ...string) iam.Detail { return iam.Detail{Features: append([]string{}, fs...)} }
	tools := func(ts ...string) iam.Detail { return iam.Detail{Tools: append([]string{}, ts...)} }
	for name, c := range map[string]struct {
		d    iam.Detail
		set  func(*gate.Exchange)
		pass bool
	}{
		"an older key may use all":      {iam.Detail{}, reading(gate.Reading{Stream: true, Tools: []string{"x"}, Uninspected: unread(gate.UninspectedFile, "").Uninspected}), true},
		"none used":                     {only(), reading(gate.Reading{}), true},
		"a stream":                      {only("stream"), reading(gate.Reading{Stream: true}), true},
		"no stream":                     {only("tools"), reading(gate.Reading{Stream: true}), false},
		"by pattern":                    {only("*"), reading(gate.Reading{Stream: true, Tools: []string{"x"}}), true},
		"tools as a feature":            {only("stream"), reading(gate.Reading{Tools: []string{"x"}}), false},
		"an image":                      {only("files"), reading(unread(gate.UninspectedImage, "")), false},
		"a file":                        {only("files"), reading(unread(gate.UninspectedFile, "")), true},
		"audio":                         {only("files"), reading(unread(gate.UninspectedAudio, "")), false},
		"a video":                       {only("files"), reading(unread(gate.UninspectedVideo, "")), false},
		"a stored answer":               {only("files"), reading(unread(gate.UninspectedReference, "previous_response_id")), false},
		"sealed state":                  {only("stored"), reading(unread(gate.UninspectedOpaque, "")), false},
		"token ids":                     {only("stored"), reading(unread(gate.UninspectedTokens, "")), false},
		"the files endpoint":            {only("stream"), func(x *gate.Exchange) { x.Endpoint = "files" }, false},
		"a batch":                       {only("stream"), func(x *gate.Exchange) { x.Endpoint = "messages.batches" }, false},
		"a batch of the other provider": {only("stream"), func(x *gate.Exchange) { x.Endpoint = "batches" }, false},
		"fine tuning":                   {only("files"), func(x *gate.Exchange) { x.Endpoint = "fine_tuning.jobs" }, false},
		"a session":                     {only("files"), func(x *gate.Exchange) { x.Endpoint = "realtime" }, false},
		"an unknown endpoint":           {only("files"), func(x *gate.Exchange) { x.Endpoint = "unknown" }, false},

		"a tool":                       {tools("get_*"), reading(gate.Reading{Tools: []string{"get_weather"}}), true},
		"another tool":                 {tools("get_*"), reading(gate.Reading{Tools: []string{"get_weather", "shell"}}), false},
		"no tool at all":               {tools(), reading(gate.Reading{Tools: []string{"get_weather"}}), false},
		"none offered":                 {tools(), reading(gate.Reading{}), true},
		"case counts":                  {tools("shell"), reading(gate.Reading{Tools: []string{"Shell"}}), false},
		"a tool without a name":        {tools("get_*"), reading(gate.Reading{Tools: []string{""}}), false},
		"a stored prompt brings tools": {tools("get_*"), reading(unread(gate.UninspectedReference, "prompt")), false},
		"an earlier answer does not":   {tools("get_*"), reading(unread(gate.UninspectedReference, "previous_response_id")), true},
		"an assistant brings tools":    {tools("get_*"), func(x *gate.Exchange) { x.Endpoint = "threads" }, false},
		"looking at a thread does not": {tools("get_*"), func(x *gate.Exchange) { x.Endpoint, x.Method = "threads", "GET" }, true},
		"a batch of a file":            {tools("get_*"), func(x *gate.Exchange) { x.Endpoint = "batches" }, false},
		"a body that was not read":     {tools("get_*"), reading(unread(gate.UninspectedType, "")), false},
	} {
		x := call("")
		x.Principal.Grant = &iam.Key{Scopes: all, Detail: c.d}
		c.set(x)
		d, err := h.Authorize().Admit(ctx, x)
		if err != nil || d.Denied() == c.pass {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

func TestDataOfAKey(t *testing.T) {
	h := newHouse(t)
	secret := gate.Finding{Category: gate.Secret, Action: gate.Flag}
	for name, c := range map[string]struct {
		data []string
		rec  gate.Record
		pass bool
	}{
		"an older key":            {nil, gate.Record{Findings: []gate.Finding{secret}}, true},
		"nothing found":           {[]string{}, gate.Record{}, true},
		"a class it may not send": {[]string{}, gate.Record{Findings: []gate.Finding{secret}}, false},
		"another class":           {[]string{"pii*"}, gate.Record{Findings: []gate.Finding{secret}}, false},
		"a class that it may":     {[]string{"secret"}, gate.Record{Findings: []gate.Finding{secret}}, true},
		"what was cut out":        {[]string{}, gate.Record{Sanitized: true, Findings: []gate.Finding{{Category: gate.Secret, Action: gate.Sanitize}}}, true},
		"what would have been":    {[]string{}, gate.Record{Findings: []gate.Finding{{Category: gate.Secret, Action: gate.Sanitize}}}, false},
		"an attack is no data":    {[]string{}, gate.Record{Findings: []gate.Finding{{Category: gate.Injection, Action: gate.Flag}}}, true},
		"of the answer":           {[]string{}, gate.Record{Findings: []gate.Finding{{Category: gate.Secret, Direction: gate.Answer}}}, true},
		"more than are named":     {[]string{"secret"}, gate.Record{MoreFindings: 1}, false},
	} {
		x := call("")
		x.Principal.Grant, x.Record = &iam.Key{Scopes: all, Detail: iam.Detail{Data: c.data}}, &c.rec
		d, err := h.Data().Admit(ctx, x)
		if err != nil || d.Denied() == c.pass {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

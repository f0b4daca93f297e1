package iam

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/glob"
)

// Features that a key can be limited to, beside endpoints and models. What a call uses is told from its
// endpoint and from what its body holds.
const (
	FeatureStream     = "stream"
	FeatureTools      = "tools"
	FeatureFiles      = "files" // files sent, stored or named
	FeatureImages     = "images"
	FeatureAudio      = "audio"
	FeatureVideo      = "video"
	FeatureBatch      = "batch"  // work that the provider does later, out of sight
	FeatureStored     = "stored" // what the provider keeps: earlier answers, prompts, conversations
	FeatureFineTuning = "fine_tuning"
	FeatureRealtime   = "realtime"
	FeatureUnread     = "unread" // whatever could not be read: unknown endpoints and types, sealed state, token ids
)

// Features lists them all.
func Features() []string {
	return []string{
		FeatureStream, FeatureTools, FeatureFiles, FeatureImages, FeatureAudio, FeatureVideo,
		FeatureBatch, FeatureStored, FeatureFineTuning, FeatureRealtime, FeatureUnread,
	}
}

// uses lists the features that a call uses.
func uses(x *gate.Exchange) []string {
	var fs []string
	add := func(f string) {
		if !slices.Contains(fs, f) {
			fs = append(fs, f)
		}
	}
	head, _, _ := strings.Cut(x.Endpoint, ".")
	switch head {
	case "files", "uploads", "vector_stores", "containers":
		add(FeatureFiles)
	case "images":
		add(FeatureImages)
	case "audio":
		add(FeatureAudio)
	case "videos":
		add(FeatureVideo)
	case "batches":
		add(FeatureBatch)
	case "fine_tuning":
		add(FeatureFineTuning)
	case "conversations", "threads", "assistants":
		add(FeatureStored)
	case "realtime", "live":
		add(FeatureRealtime)
	case "unknown":
		add(FeatureUnread)
	}
	if strings.HasSuffix(x.Endpoint, ".batches") {
		add(FeatureBatch)
	}
	if x.Reading == nil {
		return fs
	}
	if x.Reading.Stream {
		add(FeatureStream)
	}
	if len(x.Reading.Tools) > 0 {
		add(FeatureTools)
	}
	for _, u := range x.Reading.Uninspected {
		switch u.Kind {
		case gate.UninspectedImage:
			add(FeatureImages)
		case gate.UninspectedAudio:
			add(FeatureAudio)
		case gate.UninspectedVideo:
			add(FeatureVideo)
		case gate.UninspectedFile:
			add(FeatureFiles)
		case gate.UninspectedReference:
			add(FeatureStored)
		case gate.UninspectedRealtime:
			add(FeatureRealtime)
		default:
			add(FeatureUnread)
		}
	}
	return fs
}

var (
	notFeature = &gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "The API key may not use a feature that this request uses."}
	notTool    = &gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "The API key may not offer the model a tool that this request offers.", Param: "tools"}
	noTools    = &gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "The API key may offer certain tools only, and what this request names may bring others."}
	notData    = &gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "The API key may not send data of a kind that this request holds."}
)

// granted checks what a key further says that a call may use; ok is false with a decision when it may
// not.
func granted(d *Detail, x *gate.Exchange) (gate.Decision, bool) {
	if d.Features != nil {
		for _, f := range uses(x) {
			if !glob.Any(d.Features, f) {
				return deny(notFeature, "feature "+f+" outside the key's scope"), false
			}
		}
	}
	if d.Tools == nil || unrestricted(d.Tools) {
		return gate.Decision{}, true
	}
	if bringsTools(x) {
		return deny(noTools, "tools are restricted, and the call may bring some that are not named"), false
	}
	if x.Reading != nil {
		for _, t := range x.Reading.Tools {
			if !glob.Any(d.Tools, t) {
				return deny(notTool, "a tool outside the key's scope"), false
			}
		}
	}
	return gate.Decision{}, true
}

// bringsTools says whether a call may use tools that it does not name: those of a stored assistant or
// prompt, or of a body that was not read.
func bringsTools(x *gate.Exchange) bool {
	switch x.Endpoint {
	case "assistants", "threads", "unknown", "agents", "chatkit", "batches":
		return x.Method != http.MethodGet && x.Method != http.MethodHead && x.Method != http.MethodDelete
	}
	if x.Reading == nil {
		return len(x.Body) > 0
	}
	for _, u := range x.Reading.Uninspected {
		switch u.Kind {
		case gate.UninspectedReference:
			if strings.HasSuffix(u.Path, "prompt") {
				return true
			}
		case gate.UninspectedType, gate.UninspectedEndpoint, gate.UninspectedRealtime:
			return true
		}
	}
	return false
}

type data struct{ m *IAM }

// Data is the stage that keeps a key to the classes of data it may send. It needs the findings of the
// inspection: a class is the category of a finding that is no attack.
func (m *IAM) Data() gate.Stage { return data{m} }

func (data) Name() string { return "authorize_data" }

func (data) Admit(_ context.Context, x *gate.Exchange) (gate.Decision, error) {
	if x.Record == nil {
		return gate.Decision{}, nil
	}
	if k, ok := x.Principal.Grant.(*Key); ok && (k == nil || k.Data == nil) {
		return gate.Decision{}, nil // nothing is made for what nearly all are
	}
	for _, k := range KeysOf(&x.Principal) {
		if d, ok := mayHold(k, x); !ok {
			return d, nil
		}
	}
	return gate.Decision{}, nil
}

func mayHold(k *Key, x *gate.Exchange) (gate.Decision, bool) {
	if k.Data == nil {
		return gate.Decision{}, true
	}
	for _, f := range x.Record.Findings {
		if f.Action == gate.Sanitize && x.Record.Sanitized {
			continue // it was cut out and does not leave
		}
		if f.Direction == gate.Request && !f.Category.Attack() && f.Category != gate.Unread && !glob.Any(k.Data, string(f.Category)) {
			return deny(notData, "data of class "+string(f.Category)+" outside the key's scope"), false
		}
	}
	if x.Record.MoreFindings > 0 && !unrestricted(k.Data) {
		return deny(notData, "more findings than are named, and the key's data is restricted"), false
	}
	return gate.Decision{}, true
}

package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/policy"
)

// WhatIf is what candidate policies would have decided of recorded calls.
type WhatIf struct {
	policy.Report
	// Passed over: calls of which policies were not asked (refused before, or ended by another stage),
	// and calls whose caller the record does not name well enough.
	Elsewhere int `json:"decided_elsewhere"`
	Unnamed   int `json:"unknown_caller"`
	// Untold is what the policies speak of and the record does not tell; it is as if it were not there.
	Untold []string `json:"untold,omitempty"`
}

// maxExportLine is longer than any line that an export writes.
const maxExportLine = 80 << 20

// WhatIfPolicies puts the calls of an export of the record to candidate policies. They are compared
// with now, or, where now is empty, with what was decided then. base keeps the built-in policies. It
// lists the first n changed calls of each kind, and stops at a line that cannot be read.
func WhatIfPolicies(export io.Reader, candidate, now []policy.Policy, base bool, n int) (WhatIf, error) {
	var w WhatIf
	set := func(ps []policy.Policy) (*policy.Set, error) {
		for i := range ps {
			ps[i].Tenant = policy.Platform // whosever the calls are
			untold, err := untoldOf(ps[i])
			if err != nil {
				return nil, err
			}
			w.Untold = append(w.Untold, untold...)
		}
		s := policy.NewSet(ps, map[string]policy.Tenant{policy.Platform: {NoBase: !base}})
		return s, s.Broken()[policy.Platform]
	}
	then, err := set(candidate)
	if err != nil {
		return w, err
	}
	var today *policy.Set
	if len(now) > 0 {
		if today, err = set(now); err != nil {
			return w, err
		}
	}
	slices.Sort(w.Untold)
	w.Untold = slices.Compact(w.Untold)
	w.Report, err = policy.WhatIf(w.calls(export), then, today, n)
	return w, err
}

// untoldByRecord is what no record of a call holds.
var untoldByRecord = []string{"Group", "Role", "Tool", "amr", "channels", "class", "mfa_age", "model_free", "name", "networks", "purpose"}

func untoldOf(p policy.Policy) ([]string, error) {
	names, err := policy.Mentions(p)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(untoldByRecord, n) }), nil
}

// exported is what of an exported line a policy can ask about.
type exported struct {
	Kind      string    `json:"kind"`
	ID        string    `json:"id"`
	Received  time.Time `json:"received"`
	Principal struct {
		Kind       string `json:"kind"`
		ID         string `json:"id"`
		Name       string `json:"name"`
		Tenant     string `json:"tenant"`
		Team       string `json:"team"`
		Holder     string `json:"holder"`
		OnBehalfOf string `json:"on_behalf_of"`
	} `json:"principal"`
	Client   string `json:"client"`
	Upstream string `json:"upstream"`
	Endpoint string `json:"endpoint"`
	Model    string `json:"model"`
	Streamed bool   `json:"streamed"`
	Findings []struct {
		Category  string  `json:"category"`
		Direction string  `json:"direction"`
		Channel   string  `json:"channel"`
		Score     float64 `json:"score"`
		Excused   string  `json:"excused"`
	} `json:"findings"`
	Omitted     int `json:"findings_omitted"`
	Uninspected []struct {
		Direction string `json:"direction"`
	} `json:"uninspected"`
	Decision struct {
		Verdict string `json:"verdict"`
		Stage   string `json:"stage"`
		Code    string `json:"code"`
		Param   string `json:"param"`
	} `json:"decision"`
	RequestBytes int64 `json:"request_bytes"`
}

// calls reads an export, a call at a time.
func (w *WhatIf) calls(r io.Reader) iter.Seq2[policy.Recorded, error] {
	return func(yield func(policy.Recorded, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxExportLine)
		at := 0
		for lines.Scan() {
			at++
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			var x exported
			if err := json.Unmarshal(lines.Bytes(), &x); err != nil || x.Kind == "" {
				yield(policy.Recorded{}, fmt.Errorf("line %d is no line of an export of the record; see sallyport audit export", at))
				return
			}
			if x.Kind != "call" {
				continue
			}
			if c, ok := w.recorded(&x); ok && !yield(c, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(policy.Recorded{}, fmt.Errorf("read export after line %d: %w", at, err))
		}
	}
}

// recorded is a call as policies see it; false: they were not asked.
func (w *WhatIf) recorded(x *exported) (policy.Recorded, bool) {
	stage, denied := x.Decision.Stage, x.Decision.Verdict == gate.Block.String()
	byPolicy := denied && x.Decision.Code == string(gate.CodeDenied) && x.Decision.Param == "" && (stage == policy.StageBefore || stage == policy.StageAfter)
	if denied && !byPolicy {
		w.Elsewhere++
		return policy.Recorded{}, false
	}
	p, err := x.caller()
	if err != nil {
		w.Unnamed++
		return policy.Recorded{}, false
	}
	c := policy.Recorded{ID: x.ID, Principal: p, Action: policy.Call, Upstream: x.Upstream, Endpoint: x.Endpoint, Model: x.Model, Time: x.Received,
		Streamed: x.Streamed, Bytes: x.RequestBytes, Allowed: !denied}
	if ip, err := netip.ParseAddr(x.Client); err == nil {
		c.IP = ip
	}
	if !denied || stage == policy.StageAfter {
		c.Inspected = policy.Found(x.record())
	}
	return c, true
}

// record is what inspection wrote down.
func (x *exported) record() *gate.Record {
	r := &gate.Record{MoreFindings: x.Omitted}
	for _, f := range x.Findings {
		if f.Direction != gate.Request.String() {
			continue
		}
		one := gate.Finding{Category: gate.Category(f.Category), Score: f.Score, Excused: f.Excused}
		if c, ok := gate.ParseChannel(f.Channel); ok {
			one.Channel = c
		}
		r.Findings = append(r.Findings, one)
	}
	for _, u := range x.Uninspected {
		if u.Direction == gate.Request.String() {
			r.Uninspected = append(r.Uninspected, gate.Uninspected{})
		}
	}
	return r
}

// caller is who made the call, as far as the record says: without roles, groups, and what a key is for.
func (x *exported) caller() (*policy.Principal, error) {
	p := &x.Principal
	w := policy.Who{ID: p.ID, Name: p.Name, Tenant: p.Tenant}
	if p.Team != "" {
		w.Teams = []string{p.Team}
	}
	kinds := map[string]policy.Kind{iam.KindPerson: policy.KindUser, iam.KindService: policy.KindService, iam.KindAgent: policy.KindAgent}
	if p.Kind == iam.KindKey {
		w.Kind = policy.KindKey
		if p.Holder != "" {
			w.Owner = &policy.Who{Kind: holderKind(p.Holder), ID: p.Holder, Name: p.Holder, Tenant: p.Tenant}
		}
		return policy.NewPrincipal(w)
	}
	if w.Kind = kinds[p.Kind]; p.Holder != "" {
		w.ID, w.Name = p.Holder, p.Holder
	}
	if p.OnBehalfOf != "" && w.Kind == policy.KindAgent {
		w.OnBehalfOf = &policy.Who{Kind: policy.KindUser, ID: p.OnBehalfOf, Name: p.OnBehalfOf, Tenant: p.Tenant}
	}
	return policy.NewPrincipal(w)
}

// holderKind is what an id of the directory is of. One that does not say is a person's.
func holderKind(id string) policy.Kind {
	for _, k := range []policy.Kind{policy.KindService, policy.KindAgent} {
		if strings.HasPrefix(id, string(k)+"_") {
			return k
		}
	}
	return policy.KindUser
}

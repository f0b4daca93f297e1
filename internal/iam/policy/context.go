package policy

import (
	"net/netip"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
)

// attrs is a set of context attributes.
type attrs uint32

const (
	attrNow attrs = 1 << iota
	attrEpoch
	attrHour
	attrWeekday
	attrIP
	attrNetworks
	attrAMR
	attrMFAAge
	attrScopesGranted
	attrUpstream
	attrEndpoint
	attrModel
	attrModelFree
	attrStreamed
	attrBytes
	attrChannels
	attrDataClasses
	attrAttacks
	attrFoundIn
	attrRisk
	attrUnread
	attrEnd

	allAttrs        = attrEnd - 1
	afterInspection = attrDataClasses | attrAttacks | attrFoundIn | attrRisk | attrUnread
)

// attrNames are their names in policies, in the order of the bits. A test holds them to the schema.
var attrNames = [...]string{
	"now", "epoch", "hour", "weekday", "ip", "networks", "amr", "mfa_age", "scopes_granted", "upstream",
	"endpoint", "model", "model_free", "streamed", "bytes", "channels",
	"data_classes", "attacks", "found_in", "risk", "unread",
}

var attrByName = func() map[string]attrs {
	m := map[string]attrs{}
	for i, n := range attrNames {
		m[n] = 1 << i
	}
	return m
}()

// Circumstances is what is known of a call beyond who and what. Where the schema has an attribute as
// optional, its zero value here leaves it out.
type Circumstances struct {
	Time          time.Time
	IP            netip.Addr
	AMR           []string  // RFC 8176
	MFA           time.Time // of the last second factor; zero: none
	ScopesGranted bool      //
	ModelFree     bool      // names no model and can use none
	Streamed      bool      //
	Bytes         int64     //
	Channels      []string  //
	// Networks, when set, stands for the tenant's networks that hold IP: for examples and recorded calls.
	Networks  []string
	Inspected *Inspected // nil: not inspected, or not yet
}

// Inspected is what inspection found.
type Inspected struct {
	DataClasses, Attacks, FoundIn []string
	Risk                          int // 0 to 100
	Unread                        bool
}

// Network is a named set of addresses.
type Network struct {
	Name     string
	Prefixes []netip.Prefix
}

// record builds the attributes that the policies at hand name, and no others: making a Cedar record
// costs more than evaluating most policies.
func (r *Request) record(need attrs, t *tenant) cedar.Record {
	if need == 0 {
		return cedar.Record{}
	}
	c := &r.Circumstances
	m := make(cedar.RecordMap, 8)
	if need&attrNow != 0 {
		m["now"] = cedar.NewDatetime(c.Time)
	}
	if need&attrEpoch != 0 {
		m["epoch"] = cedar.Long(c.Time.Unix())
	}
	if need&(attrHour|attrWeekday) != 0 {
		at := c.Time.In(t.zone)
		if need&attrHour != 0 {
			m["hour"] = cedar.Long(at.Hour())
		}
		if need&attrWeekday != 0 {
			m["weekday"] = cedar.Long((at.Weekday()+6)%7 + 1)
		}
	}
	ip := c.address()
	if need&attrIP != 0 && ip.IsValid() {
		m["ip"] = cedar.IPAddr(netip.PrefixFrom(ip, ip.BitLen()))
	}
	if need&attrNetworks != 0 {
		names := c.Networks
		if names == nil {
			names = t.named(nil, ip)
		}
		m["networks"] = stringSet(names)
	}
	if need&attrAMR != 0 {
		m["amr"] = stringSet(c.AMR)
	}
	if age, ok := c.mfaAge(); need&attrMFAAge != 0 && ok {
		m["mfa_age"] = cedar.Long(age)
	}
	if need&attrScopesGranted != 0 {
		m["scopes_granted"] = cedar.Boolean(c.ScopesGranted)
	}
	if need&attrUpstream != 0 {
		m["upstream"] = cedar.String(r.Upstream)
	}
	if need&attrEndpoint != 0 {
		m["endpoint"] = cedar.String(r.Endpoint)
	}
	if need&attrModel != 0 && r.Model != "" {
		m["model"] = cedar.String(r.Model)
	}
	if need&attrModelFree != 0 {
		m["model_free"] = cedar.Boolean(c.ModelFree)
	}
	if need&attrStreamed != 0 {
		m["streamed"] = cedar.Boolean(c.Streamed)
	}
	if need&attrBytes != 0 {
		m["bytes"] = cedar.Long(c.Bytes)
	}
	if need&attrChannels != 0 {
		m["channels"] = stringSet(c.Channels)
	}
	if i := c.Inspected; i != nil && need&afterInspection != 0 {
		i.into(m, need)
	}
	return cedar.NewRecord(m)
}

func (i *Inspected) into(m cedar.RecordMap, need attrs) {
	if need&attrDataClasses != 0 {
		m["data_classes"] = stringSet(i.DataClasses)
	}
	if need&attrAttacks != 0 {
		m["attacks"] = stringSet(i.Attacks)
	}
	if need&attrFoundIn != 0 {
		m["found_in"] = stringSet(i.FoundIn)
	}
	if need&attrRisk != 0 {
		m["risk"] = cedar.Long(i.Risk)
	}
	if need&attrUnread != 0 {
		m["unread"] = cedar.Boolean(i.Unread)
	}
}

var noStrings = cedar.NewSet()

func stringSet(ss []string) cedar.Set {
	if len(ss) == 0 {
		return noStrings
	}
	vs := make([]cedar.Value, len(ss))
	for i, s := range ss {
		vs[i] = cedar.String(s)
	}
	return cedar.NewSet(vs...)
}

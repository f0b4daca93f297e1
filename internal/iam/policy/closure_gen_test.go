package policy

import (
	"fmt"

	"pgregory.net/rapid"
)

// gen writes random Cedar of a wanted type. Where it is guarded, what is optional is tested for before
// it is read, so that the text passes the schema; where it is not, reading it may be an error.
type gen struct {
	t       *rapid.T
	guarded bool
}

func (g gen) pick(of ...string) string { return rapid.SampledFrom(of).Draw(g.t, "part") }

func (g gen) one(n int) int { return rapid.IntRange(0, n-1).Draw(g.t, "form") }

// optional is a read of what may not be there.
func (g gen) optional(test, read, other string) string {
	if g.guarded {
		return fmt.Sprintf("(if %s then %s else %s)", test, read, other)
	}
	return read
}

func (g gen) choose(depth int, of func(int) string) string {
	return fmt.Sprintf("(if %s then %s else %s)", g.bool(depth-1), of(depth-1), of(depth-1))
}

func (g gen) bool(depth int) string {
	if depth <= 0 {
		switch g.one(4) {
		case 0:
			return g.pick("true", "false", "context.streamed", "context.scopes_granted", "context.model_free")
		case 1:
			return "(context has " + rapid.SampledFrom(attrNames[:]).Draw(g.t, "attribute") + ")"
		case 2:
			return g.optional("context has unread", "context.unread", "false")
		}
		return "(" + g.entity(0) + " has " + g.pick("name", "class", "purpose", "on_behalf_of") + ")"
	}
	d := depth - 1
	switch g.one(17) {
	case 0:
		return "(" + g.bool(d) + " && " + g.bool(d) + ")"
	case 1:
		return "(" + g.bool(d) + " || " + g.bool(d) + ")"
	case 2:
		return "!(" + g.bool(d) + ")"
	case 3:
		return g.choose(depth, g.bool)
	case 4:
		return "(" + g.long(d) + g.pick(" < ", " <= ", " > ", " >= ", " == ", " != ") + g.long(d) + ")"
	case 5:
		return "(" + g.datetime(d) + g.pick(" < ", " <= ", " > ", " >= ", " == ", " != ") + g.datetime(d) + ")"
	case 6:
		return "(" + g.duration(d) + g.pick(" < ", " <= ", " > ", " >= ", " == ", " != ") + g.duration(d) + ")"
	case 7:
		return "(" + g.string(d) + g.pick(" == ", " != ") + g.string(d) + ")"
	case 8:
		return "(" + g.string(d) + " like " + g.pick(`"*"`, `"gpt-*"`, `"*o"`, `"*-*"`, `"n"`, `""`, `"\*"`, `"g*-*o"`) + ")"
	case 9:
		return "(" + g.entity(d) + g.pick(" == ", " != ") + g.entity(d) + ")"
	case 10:
		return "(" + g.entity(d) + " in " + g.place(d) + ")"
	case 11:
		return "(" + g.entity(d) + " is " + g.pick("User", "Key", "Agent", "Service", "Model", "Tool", "Endpoint") + g.pick("", " in "+g.place(d)) + ")"
	case 12:
		return g.members(g.words(d), func() string { return g.words(d) }, func() string { return g.string(d) })
	case 13:
		return g.members(g.numbers(), g.numbers, func() string { return g.long(d) })
	case 14:
		switch g.one(4) {
		case 0:
			return "(" + g.words(d) + " == " + g.words(d) + ")"
		case 1:
			return "(" + g.numbers() + " == " + g.numbers() + ")"
		case 2:
			return `[Team::"t1", User::"u1"].contains(` + g.entity(d) + ")"
		}
		return "(" + g.bool(d) + " == " + g.bool(d) + ")"
	case 15:
		return g.ip(d) + "." + g.pick("isIpv4()", "isIpv6()", "isLoopback()", "isMulticast()", "isInRange("+g.ip(d)+")")
	}
	return g.decimal() + "." + g.pick("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual") + "(" + g.decimal() + ")"
}

// members asks what is in a set.
func (g gen) members(set string, other, member func() string) string {
	switch g.one(4) {
	case 0:
		return set + ".contains(" + member() + ")"
	case 1:
		return set + ".containsAll(" + other() + ")"
	case 2:
		return set + ".containsAny(" + other() + ")"
	}
	return set + ".isEmpty()"
}

func (g gen) long(depth int) string {
	if depth <= 0 || g.one(3) == 0 {
		switch g.one(3) {
		case 0:
			return g.pick("0", "1", "2", "-1", "12", "9223372036854775807", "-9223372036854775808", "4611686018427387904", "-4611686018427387905", "3037000500")
		case 1:
			return g.pick("context.bytes", "context.hour", "context.weekday", "context.epoch")
		}
		return g.pick(g.optional("context has mfa_age", "context.mfa_age", "7"), g.optional("context has risk", "context.risk", "0"))
	}
	switch g.one(4) {
	case 0:
		return "-(" + g.long(depth-1) + ")"
	case 1:
		return g.duration(depth-1) + "." + g.pick("toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays") + "()"
	case 2:
		return g.choose(depth, g.long)
	}
	return "(" + g.long(depth-1) + g.pick(" + ", " - ", " * ") + g.long(depth-1) + ")"
}

func (g gen) string(depth int) string {
	if depth > 0 && g.one(5) == 0 {
		return g.choose(depth, g.string)
	}
	switch g.one(4) {
	case 0:
		return g.pick(`""`, `"n"`, `"gpt-4o"`, `"openai"`, `"secret"`, `"n1"`, `"hwk"`)
	case 1:
		return g.pick("context.upstream", "context.endpoint")
	case 2:
		return g.optional("context has model", "context.model", `"none"`)
	}
	if g.guarded {
		return g.pick("principal.name", `(if principal is Key then principal.class else "c")`, `(if principal is Key then principal.purpose else "p")`)
	}
	return g.entity(0) + "." + g.pick("name", "class", "purpose")
}

// entity is somebody or something. Guarded text names only those of whom everything is known.
func (g gen) entity(depth int) string {
	if depth > 0 && g.one(6) == 0 && !g.guarded {
		return g.choose(depth, g.entity)
	}
	switch g.one(4) {
	case 0:
		return "principal"
	case 1:
		return g.pick("resource", "action")
	case 2:
		return g.optional("principal is Agent && principal has on_behalf_of", "principal.on_behalf_of", "principal")
	}
	if g.guarded {
		return "principal"
	}
	return g.named()
}

func (g gen) named() string {
	return g.pick(`User::"u1"`, `User::"u2"`, `Team::"t1"`, `Role::"r1"`, `Key::"u1"`, `Agent::"u2"`, `Tenant::"a"`, `Model::"gpt-4o"`, `Upstream::"openai"`, `Endpoint::"e1"`, `Tool::"x"`, `Action::"call"`)
}

func (g gen) place(depth int) string {
	switch g.one(3) {
	case 0:
		return g.named()
	case 1:
		return "[" + g.named() + ", " + g.named() + "]"
	}
	return g.entity(depth)
}

func (g gen) words(depth int) string {
	if depth > 0 && g.one(5) == 0 {
		return g.choose(depth, g.words)
	}
	switch g.one(3) {
	case 0:
		return g.pick(`["secret"]`, `["hwk", "pwd"]`, `["pwd", "hwk", "pwd"]`, `["n1"]`, `["user", "tool", "secret"]`)
	case 1:
		return g.pick("context.networks", "context.amr", "context.channels")
	}
	n := g.pick("data_classes", "attacks", "found_in")
	return g.optional("context has "+n, "context."+n, `["secret"]`)
}

func (g gen) numbers() string { return g.pick("[1, 2]", "[12]", "[2, 1, 2]", "[0, -1]") }

func (g gen) ip(depth int) string {
	if depth > 0 && g.one(5) == 0 {
		return g.choose(depth, g.ip)
	}
	if g.one(2) == 0 {
		return g.optional("context has ip", "context.ip", `ip("10.1.2.3")`)
	}
	return g.pick(`ip("10.0.0.0/8")`, `ip("10.1.2.3")`, `ip("::1")`, `ip("224.0.0.1")`, `ip("127.0.0.1")`, `ip("2001:db8::/32")`, `ip("0.0.0.0/0")`)
}

func (g gen) decimal() string {
	return `decimal("` + g.pick("0.0", "1.5", "-1.5", "922337203685477.5807", "1.50") + `")`
}

func (g gen) datetime(depth int) string {
	if depth <= 0 || g.one(2) == 0 {
		return g.pick("context.now", `datetime("1970-01-01")`, `datetime("2026-01-05T12:00:00Z")`, `datetime("1969-12-31T23:00:00Z")`)
	}
	switch g.one(3) {
	case 0:
		return g.datetime(depth-1) + ".toDate()"
	case 1:
		return g.choose(depth, g.datetime)
	}
	return g.datetime(depth-1) + ".offset(" + g.duration(depth-1) + ")"
}

func (g gen) duration(depth int) string {
	if depth <= 0 || g.one(2) == 0 {
		return `duration("` + g.pick("0ms", "1h", "-1d2h", "3ms", "9223372036854775807ms", "-9223372036854775808ms") + `")`
	}
	switch g.one(3) {
	case 0:
		return g.datetime(depth-1) + ".toTime()"
	case 1:
		return g.choose(depth, g.duration)
	}
	return g.datetime(depth-1) + ".durationSince(" + g.datetime(depth-1) + ")"
}

package corpus

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// functions are what a grammar may call: small random values, and ways of writing a text otherwise.
// Benign texts and payloads draw from the same ones, so that no value gives a label away.
var functions = map[string]func(*expander, string) string{
	"d1":    func(e *expander, _ string) string { return fmt.Sprint(e.IntN(8) + 2) },
	"d2":    func(e *expander, _ string) string { return fmt.Sprint(e.IntN(90) + 10) },
	"d3":    func(e *expander, _ string) string { return fmt.Sprint(e.IntN(900) + 100) },
	"d4":    func(e *expander, _ string) string { return fmt.Sprint(e.IntN(9000) + 1000) },
	"d6":    func(e *expander, _ string) string { return fmt.Sprint(e.IntN(900000) + 100000) },
	"d9":    func(e *expander, _ string) string { return fmt.Sprint(e.IntN(900000000) + 100000000) },
	"frac":  func(e *expander, _ string) string { return fmt.Sprintf("%.2f", e.Float64()*3) },
	"price": func(e *expander, _ string) string { return fmt.Sprintf("%d.%02d", e.IntN(400)+1, e.IntN(100)) },
	"round": func(e *expander, _ string) string { return fmt.Sprint((e.IntN(99) + 1) * 50) },
	"star":  func(e *expander, _ string) string { return fmt.Sprintf("%d.%d", e.IntN(4)+1, e.IntN(10)) },
	"year":  func(e *expander, _ string) string { return fmt.Sprint(1995 + e.IntN(32)) },
	"old":   func(e *expander, _ string) string { return fmt.Sprint(1620 + e.IntN(360)) },
	"hex":   func(e *expander, _ string) string { return fmt.Sprintf("%08x", e.Uint32()) },
	"sha":   func(e *expander, _ string) string { return fmt.Sprintf("%08x%08x", e.Uint32(), e.Uint32()) },
	"uuid": func(e *expander, _ string) string {
		return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", e.Uint32(), e.IntN(1<<16), e.IntN(1<<12), e.IntN(1<<12), e.Uint64N(1<<48))
	},
	"ver":  func(e *expander, _ string) string { return fmt.Sprintf("%d.%d.%d", e.IntN(6), e.IntN(20), e.IntN(30)) },
	"time": func(e *expander, _ string) string { return fmt.Sprintf("%02d:%02d", e.IntN(24), e.IntN(12)*5) },
	"secs": func(e *expander, _ string) string {
		return fmt.Sprintf("%02d:%02d:%02d", e.IntN(24), e.IntN(60), e.IntN(60))
	},
	"date": func(e *expander, _ string) string { return day(e).Format("2006-01-02") },
	"dmy":  func(e *expander, _ string) string { return day(e).Format("2.1.2006") },
	"long": func(e *expander, _ string) string { return day(e).Format("2 January 2006") },
	"us":   func(e *expander, _ string) string { return day(e).Format("Jan 2, 2006") },
	"iso":  func(e *expander, _ string) string { return day(e).Format(time.RFC3339) },
	"rfc":  func(e *expander, _ string) string { return day(e).Format(time.RFC1123Z) },
	"ip": func(e *expander, _ string) string {
		return fmt.Sprintf("10.%d.%d.%d", e.IntN(256), e.IntN(256), e.IntN(256))
	},
	"phone": func(e *expander, _ string) string {
		return fmt.Sprintf("+%d %d 555 %04d", e.IntN(60)+1, e.IntN(800)+100, e.IntN(10000))
	},
	"iban": func(e *expander, _ string) string {
		return fmt.Sprintf("%s%02d%014d", e.of("DE", "GB", "FR", "NL", "ES", "IT", "CH", "US", "PL", "AT"), e.IntN(90)+10, e.Uint64N(1e14))
	},
	"lat":  func(e *expander, _ string) string { return fmt.Sprintf("%.4f", e.Float64()*140-70) },
	"coin": coined,
	"word": func(e *expander, _ string) string { return strings.ToLower(coined(e, "")) },
	"host": host,
	"url": func(e *expander, _ string) string {
		return "https://" + e.of("", "", "www.", "app.", "docs.", "cdn.") + host(e, "") + urlPath(e)
	},
	"pass": func(e *expander, _ string) string { return coined(e, "") + fmt.Sprint(e.IntN(900)+100) },

	"b64":    func(_ *expander, s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"hexenc": func(_ *expander, s string) string { return hex.EncodeToString([]byte(s)) },
	"urlenc": func(_ *expander, s string) string { return url.QueryEscape(s) },
	"rot13":  func(_ *expander, s string) string { return strings.Map(rot13, s) },
	"rev":    func(_ *expander, s string) string { return reversed(s) },
	"upper":  func(_ *expander, s string) string { return strings.ToUpper(s) },
	"lower":  func(_ *expander, s string) string { return strings.ToLower(s) },
	"snake":  func(_ *expander, s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "_") },
}

func day(e *expander) time.Time {
	return time.Date(2019+e.IntN(8), time.Month(e.IntN(12)+1), e.IntN(28)+1, e.IntN(24), e.IntN(60), e.IntN(60), 0, time.UTC)
}

var (
	heads = strings.Fields("ka zo ma ve ni ru el ta or vi be no lu xa qui dra my the sa ko al hy po ce fa gri bri sto ned har wex tor lum pel")
	mids  = strings.Fields("lo ri na mi ve ta ro di se ka len mar to bel ne")
	tails = strings.Fields("ra dex lon mir tus via gon zen nor pha lix bot ius ara eth ron sis ka dan mus rix o la vex tech soft lab works hub field berg ton ford")
)

func coined(e *expander, _ string) string {
	s := e.of(heads...)
	if e.oneIn(2) {
		s += e.of(mids...)
	}
	return capital(s + e.of(tails...))
}

func host(e *expander, _ string) string {
	return strings.ToLower(coined(e, "")) + e.of("", "", "", "-"+e.of("mail", "app", "data", "shop", "group", "cloud", "news", "support")) +
		"." + e.of("com", "com", "net", "org", "io", "co", "example", "dev", "info", "eu", "co.uk", "de", "in", "ai")
}

func urlPath(e *expander) string {
	s := ""
	for range e.IntN(3) {
		s += "/" + e.of("p", "docs", "blog", "v1", "v2", "news", "item", "get", "api", "c", "u", "log", "img", "help", "store", strings.ToLower(coined(e, "")))
	}
	return s + e.of("", "", "/", fmt.Sprintf("/%d", e.IntN(9999)), "?id="+fmt.Sprintf("%x", e.IntN(1<<20)))
}

func rot13(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case r >= 'A' && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	}
	return r
}

func reversed(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}

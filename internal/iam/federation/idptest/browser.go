package idptest

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// Browser visits pages, follows redirects and fills in forms. It keeps cookies.
type Browser struct {
	t      testing.TB
	client *http.Client
	// Fill are values for the fields that forms ask for, by name.
	Fill map[string]string
	// Stop is where it goes no further: the start of a URL of ours.
	Stop string
	// Home, when set, is a page of ours at which it has arrived.
	Home string
	// Pages counts the forms that asked for a password.
	Passwords int
}

// NewBrowser makes one that has no cookies yet.
func NewBrowser(t testing.TB, stop string, fill map[string]string) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Browser{t: t, Stop: stop, Fill: fill, client: &http.Client{
		Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Client is the browser's own, with its cookies.
func (b *Browser) Client() *http.Client { return b.client }

// Visit goes on from a page until it would come to Stop, by a redirect or a form, and returns the
// URL with its query and what the form would post.
func (b *Browser) Visit(where string) (*url.URL, url.Values) {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, where, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for range 30 {
		if here, _, _ := strings.Cut(req.URL.String(), "#"); req.Method == http.MethodGet && (b.Stop != "" && strings.HasPrefix(here, b.Stop) || b.Home != "" && here == b.Home) {
			return req.URL, nil
		}
		res, err := b.client.Do(req)
		if err != nil {
			b.t.Fatal(err)
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
		res.Body.Close()
		if err != nil {
			b.t.Fatal(err)
		}
		if to := res.Header.Get("Location"); to != "" {
			next, err := req.URL.Parse(to)
			if err != nil {
				b.t.Fatal(err)
			}
			if req, err = http.NewRequest(http.MethodGet, next.String(), nil); err != nil {
				b.t.Fatal(err)
			}
			continue
		}
		action, values, ok := b.form(body)
		if !ok {
			b.t.Fatalf("%s answers %d without a form to send: %.3000s", req.URL, res.StatusCode, body)
		}
		to, err := req.URL.Parse(action)
		if err != nil {
			b.t.Fatal(err)
		}
		if b.Stop != "" && strings.HasPrefix(to.String(), b.Stop) {
			return to, values
		}
		if req, err = http.NewRequest(http.MethodPost, to.String(), strings.NewReader(values.Encode())); err != nil {
			b.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	b.t.Fatalf("no end after %s", req.URL)
	return nil, nil
}

// form reads the first form of a page that posts, and fills it in.
func (b *Browser) form(page []byte) (action string, values url.Values, ok bool) {
	root, err := html.Parse(strings.NewReader(string(page)))
	if err != nil {
		b.t.Fatal(err)
	}
	form := find(root, func(n *html.Node) bool { return n.Data == "form" && strings.EqualFold(attr(n, "method"), "post") })
	if form == nil {
		return "", nil, false
	}
	values = url.Values{}
	take := func(n *html.Node) bool {
		name := attr(n, "name")
		if name == "" || n.Data != "input" && n.Data != "button" {
			return false
		}
		v, given := b.Fill[name]
		if !given {
			v = attr(n, "value")
		}
		if attr(n, "type") == "password" {
			b.Passwords++
		}
		values.Set(name, v)
		return false
	}
	find(form, take)
	if id := attr(form, "id"); id != "" { // what belongs to it stands elsewhere, too
		find(root, func(n *html.Node) bool {
			if attr(n, "form") == id && b.Fill[attr(n, "name")] == attr(n, "value") {
				take(n)
			}
			return false
		})
	}
	return attr(form, "action"), values, true
}

func find(n *html.Node, is func(*html.Node) bool) *html.Node {
	if n.Type == html.ElementNode && is(n) {
		return n
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if f := find(c, is); f != nil {
			return f
		}
	}
	return nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

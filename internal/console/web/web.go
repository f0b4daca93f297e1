// Package web is the console's pages: signing in, setting up an authenticator, one's sessions and keys.
// They are static files that speak to the administrative interface with the browser's own cookie; what
// anybody named is put into them as text, never as markup.
package web

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed page
var files embed.FS

// Base is the path that the pages are below.
const Base = "/console/"

// policy lets a page run our script and nothing else, talk to this origin only, stand in no frame, and
// make no markup of text (Content Security Policy Level 3, Trusted Types).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler serves the pages.
func Handler() http.Handler {
	root, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	server := http.StripPrefix(Base, http.FileServerFS(root))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		if r.URL.Path == Base+"link" || r.URL.Path == Base+"reset" { // the page reads the link out of the fragment
			r = r.Clone(r.Context())
			r.URL.Path = Base
		}
		server.ServeHTTP(w, r)
	})
}

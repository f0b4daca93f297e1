package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// reverseProxy is the bare standard library: what any Go gateway starts from. The body is read
// first, because ReverseProxy cuts streamed answers to bodies that it streams (golang/go#40747).
func reverseProxy(l net.Listener, to string) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	p := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(u) },
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 512, DisableCompression: true},
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		p.ServeHTTP(w, r)
	})}
	return srv.Serve(l)
}

// nginxConfig is the least that forwards calls and streams with kept connections.
func nginxConfig(dir, listen, to string) string {
	return strings.NewReplacer("DIR", dir, "LISTEN", listen, "TO", strings.TrimPrefix(to, "http://")).Replace(fmt.Sprintf(`
daemon off;
pid DIR/nginx.pid;
error_log DIR/nginx.log error;
worker_processes auto;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  keepalive_requests 100000000;
  upstream mock { server TO; keepalive 512; keepalive_requests 100000000; }
  server {
    listen LISTEN backlog=4096;
    location / {
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout %d;
    }
  }
}
`, 600))
}

package proxy

import "testing"

func TestPathsThatAProviderMayResolveAreRefused(t *testing.T) {
	for path, want := range map[string]bool{
		"/v1/chat/completions": false, "/v1/models/gpt-4.1": false, "/v1/models/ft%3Aa%2Fb": false, "/v1//models": false,
		"/v1/files/..a": false, "/v1/files/a..": false, "/v1/files/...": false,
		"/v1/../admin": true, "/v1/./chat": true, "/v1/chat/..": true, "/v1/%2e%2e/admin": true, "/v1/.%2E/admin": true,
		"/v1/a%2F..%2Fb": true, "/v1/a\\..\\b": true, "/v1/a%5C..%5Cb": true, "/v1/..;/admin": true,
	} {
		if got := dotted(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// Package passkeytest makes keys for tests.
package passkeytest

import vwa "github.com/descope/virtualwebauthn"

// coseP256 is the length of a P-256 key as COSE has it (RFC 9053 section 7.1.1): both coordinates are of 32
// bytes, whatever they begin with.
const coseP256 = 77

// Credential makes a key. virtualwebauthn leaves out the zeros that a coordinate begins with, which is one key
// in 128 and refused as malformed: such a one is not taken.
func Credential() vwa.Credential {
	for {
		if c := vwa.NewCredential(vwa.KeyTypeEC2); len(c.Key.AttestationData()) == coseP256 {
			return c
		}
	}
}

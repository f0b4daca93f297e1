package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
)

// xaes is XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM whose key is derived, with AES-CMAC as in
// NIST SP 800-108r1, from the first half of a 192-bit nonce.
//
// Why not plain AES-256-GCM: with random 96-bit nonces a key must stop after 2^32 messages (SP 800-38D
// section 8.3), which several processes that seal under one data key would have to count together. With
// 192 random bits 2^80 messages keep the chance of a repeated nonce under 2^-32, so nobody counts.
type xaes struct {
	block cipher.Block
	k1    [aes.BlockSize]byte // the CMAC subkey
}

const (
	keySize   = 32
	nonceSize = 24
	tagSize   = 16
)

var errAuth = errors.New("not authentic")

func newXAES(key *[keySize]byte) *xaes {
	b, err := aes.NewCipher(key[:])
	if err != nil {
		panic("envelope: " + err.Error()) // 32 bytes always make a key
	}
	x := &xaes{block: b}
	b.Encrypt(x.k1[:], x.k1[:])
	var msb byte
	for i := len(x.k1) - 1; i >= 0; i-- {
		x.k1[i], msb = x.k1[i]<<1|msb, x.k1[i]>>7
	}
	x.k1[len(x.k1)-1] ^= msb * 0x87
	return x
}

// derived is the AEAD for nonces that begin with these 12 bytes.
func (x *xaes) derived(nonce []byte) cipher.AEAD {
	var k [keySize]byte
	for i := range 2 {
		m := k[i*aes.BlockSize : (i+1)*aes.BlockSize]
		m[1], m[2] = byte(i+1), 'X'
		copy(m[4:], nonce[:12])
		for j := range m {
			m[j] ^= x.k1[j]
		}
		x.block.Encrypt(m, m)
	}
	b, err := aes.NewCipher(k[:])
	clear(k[:])
	if err != nil {
		panic("envelope: " + err.Error())
	}
	g, err := cipher.NewGCM(b)
	if err != nil {
		panic("envelope: " + err.Error())
	}
	return g
}

// seal appends a fresh random nonce, the ciphertext and the tag to dst.
func (x *xaes) seal(dst, plain, aad []byte) []byte {
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails: the process ends instead
	dst = append(dst, nonce[:]...)
	return x.derived(nonce[:]).Seal(dst, nonce[12:], plain, aad)
}

// open reads what seal appended. The error says nothing but that.
func (x *xaes) open(box, aad []byte) ([]byte, error) {
	if len(box) < nonceSize+tagSize {
		return nil, errAuth
	}
	p, err := x.derived(box).Open(nil, box[12:nonceSize], box[nonceSize:], aad)
	if err != nil {
		return nil, errAuth
	}
	return p, nil
}

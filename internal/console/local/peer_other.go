//go:build !linux

package local

import "net"

// samePeer rests on the mode of the socket and of its directory where the kernel is not asked.
func samePeer(*net.UnixConn) bool { return true }

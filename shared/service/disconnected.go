package service

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// RawConn returns the socket of c, which may be a TLS connection, or nil if c has none.
func RawConn(c net.Conn) syscall.RawConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// Disconnected reports whether the peer has closed the connection, or the connection is
// closed here. It does not wait, and discards a part of what the peer has sent. A goroutine
// that waits for the end of a connection takes several kilobytes; looking at thousands of
// connections once a second takes a few milliseconds.
func Disconnected(raw syscall.RawConn) bool {
	var n int
	var err error
	closed := raw.Control(func(fd uintptr) {
		var b [64]byte
		n, err = syscall.Read(int(fd), b[:])
	})
	if closed != nil {
		return true
	}
	return n == 0 || n < 0 && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
}

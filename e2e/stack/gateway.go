package stack

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"
)

// Gateway returns the base URL of the gateway for a heavy load. If its container is reachable
// (on Linux), the load bypasses the engine's port forwarder, which would take a large share of
// the CPU.
func (s *Stack) Gateway(ctx context.Context) (string, error) {
	gateway, err := s.Containers(ctx, "gateway")
	if err != nil {
		return "", err
	}
	if len(gateway) == 1 {
		if base := "http://" + gateway[0].IP + ":8080"; Connects(ctx, base) {
			return base, nil
		}
	}
	return s.API, nil
}

// Connects reports whether a connection to the base URL can be opened. A container that
// was just started may refuse connections for a moment, which also shows that it is reachable.
func Connects(ctx context.Context, base string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = conn.Close()
	return true
}

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shaky is a replica that can break off in whatever way. It answers GET at once, and any
// other request, after counting it, with h.
type shaky struct {
	*backend
	executed *atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// serveShaky starts n replicas that count what they execute together.
func serveShaky(t *testing.T, n int, h func(s *shaky, w http.ResponseWriter)) (all []*shaky, executed *atomic.Int64) {
	t.Helper()
	executed = new(atomic.Int64)
	port := uint16(0)
	for i := range n {
		b := listen(t, fmt.Sprintf("127.0.0.%d:%d", i+1, port))
		s := &shaky{backend: b, executed: executed, conns: map[net.Conn]struct{}{}}
		port = s.addr.Port()
		s.serve(t, &http.Server{
			ReadHeaderTimeout: time.Minute,
			ConnState: func(c net.Conn, state http.ConnState) {
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.conns[c] = struct{}{}; state == http.StateClosed {
					delete(s.conns, c)
				}
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.hits.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Method != http.MethodGet {
					executed.Add(1)
					h(s, w)
				}
			}),
		})
		all = append(all, s)
	}
	return all, executed
}

// reset closes every connection so that its peer can send nothing more: unlike after a
// FIN, the kernel takes no further byte.
func (s *shaky) reset(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		tcp, ok := c.(*net.TCPConn)
		require.True(t, ok)
		if tcp.SetLinger(0) == nil { // else the server has closed it by itself
			require.NoError(t, tcp.Close())
		}
	}
	clear(s.conns)
}

// warm leaves an idle connection to each replica.
func (g *gateway) warm(t *testing.T, all []*shaky) {
	t.Helper()
	for range 2 * len(all) {
		resp, _ := g.call(t, http.MethodGet, "/orders", http.NoBody)
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	for _, s := range all {
		require.Positive(t, s.hits.Load())
	}
}

func (g *gateway) retries(t *testing.T) int {
	t.Helper()
	families, err := g.reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "upstream_retries_total" {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return 0
}

func startShaky(t *testing.T, all []*shaky) *gateway {
	t.Helper()
	replicas := make([]*backend, len(all))
	for i, s := range all {
		replicas[i] = s.backend
	}
	return start(t, time.Minute, replicas...)
}

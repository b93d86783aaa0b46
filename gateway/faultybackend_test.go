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

// faultyBackend is a backend that can reset its connections. It responds to GET at once,
// and counts any other request before its handler responds.
type faultyBackend struct {
	*backend
	executed *atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// serveFaulty starts n replicas with the handler h. The counter executed is shared by all
// of them.
func serveFaulty(t *testing.T, n int, h func(s *faultyBackend, w http.ResponseWriter)) (all []*faultyBackend, executed *atomic.Int64) {
	t.Helper()
	executed = new(atomic.Int64)
	port := uint16(0)
	for i := range n {
		b := listen(t, fmt.Sprintf("127.0.0.%d:%d", i+1, port))
		s := &faultyBackend{backend: b, executed: executed, conns: map[net.Conn]struct{}{}}
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

// reset closes every connection with a RST. Unlike after a FIN, the peer's kernel accepts
// no more data for the connection.
func (s *faultyBackend) reset(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		tcp, ok := c.(*net.TCPConn)
		require.True(t, ok)
		if tcp.SetLinger(0) == nil { // an error means that the server has closed it already
			require.NoError(t, tcp.Close())
		}
	}
	clear(s.conns)
}

// warm opens an idle connection to each replica.
func (f *fixture) warm(t *testing.T, all []*faultyBackend) {
	t.Helper()
	for range 2 * len(all) {
		resp, _ := f.call(t, http.MethodGet, "/orders", http.NoBody)
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	for _, s := range all {
		require.Positive(t, s.hits.Load())
	}
}

func startFaulty(t *testing.T, all []*faultyBackend) *fixture {
	t.Helper()
	replicas := make([]*backend, len(all))
	for i, s := range all {
		replicas[i] = s.backend
	}
	return start(t, time.Minute, replicas...)
}

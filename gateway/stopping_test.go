package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// skipped reports whether the only replica of a gateway is skipped after one GET that the
// replica answered with h.
func skipped(t *testing.T, h http.HandlerFunc) bool {
	t.Helper()
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", h))
	resp, _ := f.call(t, http.MethodGet, "/orders", http.NoBody)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return (*f.up.replicas.Load())[0].skipUntil.Load() > 0
}

// A replica that closes a connection after the response is stopping. An event stream has a
// connection of its own, which always ends with it.
func TestStoppingReplicaIsSkipped(t *testing.T) {
	t.Parallel()
	respond := func(header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			fmt.Fprint(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
		}
	}
	require.True(t, skipped(t, respond("Connection", "close")))
	require.False(t, skipped(t, respond()))
	require.False(t, skipped(t, respond("Connection", "close", "Content-Type", "text/event-stream")))
}

package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// HEAD returns the status and headers of GET, without a body. HEAD on an event stream returns
// at once and opens no stream.
func TestHeadMatchesGet(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	for _, path := range []string{
		"/orders?user_id=1", "/orders/" + o.ID + "/", "/orders/" + o.ID, "/orders/01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f", "/orders/1", "/readyz",
	} {
		want, got := f.Send(t, http.MethodGet, path, ""), f.Send(t, http.MethodHead, path, "")
		require.Equal(t, want.Status, got.Status, path)
		require.Equal(t, want.Header.Get("Content-Type"), got.Header.Get("Content-Type"))
		require.Equal(t, want.Header.Get("Content-Length"), got.Header.Get("Content-Length"))
		require.Empty(t, got.Body)
	}
	events := f.Send(t, http.MethodHead, "/orders/events?user_id=1", "")
	require.Equal(t, http.StatusOK, events.Status)
	require.Equal(t, "text/event-stream", events.Header.Get("Content-Type"))
	require.Zero(t, f.Metric(t, "order_streams"))
	require.Equal(t, http.StatusBadRequest, f.Send(t, http.MethodHead, "/orders/events", "").Status)
	refused := f.Send(t, http.MethodHead, "/orders/"+o.ID+"/cancel", "")
	require.Equal(t, http.StatusMethodNotAllowed, refused.Status)
	require.Equal(t, http.MethodPost, refused.Header.Get("Allow"))
}

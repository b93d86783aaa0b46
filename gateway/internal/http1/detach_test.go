package http1_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A stream does not depend on the context of its request, and arrives in any pieces.
func TestDetach(t *testing.T) {
	t.Parallel()
	event := strings.Repeat("x", 700)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(event), event)
	for name, tc := range map[string]struct {
		pieces []string
		err    error
	}{
		"chunked":           {[]string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, chunk[:100], chunk[100:] + "0", "\r\n\r\n"}, nil},
		"with the head":     {[]string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + chunk[:9], chunk[9:] + "0\r\n\r\n"}, nil},
		"close":             {[]string{"HTTP/1.1 200 OK\r\n\r\n" + event[:5], event[5:], event}, nil},
		"truncated":         {[]string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk, chunk}, io.ErrUnexpectedEOF},
		"truncated chunk":   {[]string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk, chunk, chunk[:2]}, io.ErrUnexpectedEOF},
		"HTTP/1.0, chunked": {[]string{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + event, event}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := make(chan struct{})
			s := start(t, func(_ int64, c net.Conn) bool {
				for _, piece := range tc.pieces {
					_, _ = io.WriteString(c, piece)
					<-next
				}
				return false
			})
			ctx, cancel := context.WithCancel(t.Context())
			resp, err := s.pool.Do(ctx, request(http.MethodGet))
			require.NoError(t, err)
			stream := resp.Detach()
			require.NotNil(t, stream)
			cancel()
			close(next)
			body, err := io.ReadAll(stream)
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, event+event, string(body))
			require.NoError(t, stream.Close())
		})
	}
}

func TestDetachAfterTheContextIsDone(t *testing.T) {
	t.Parallel()
	s := start(t, reply("HTTP/1.1 200 OK\r\n\r\n"))
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := s.pool.Do(ctx, request(http.MethodGet))
	require.NoError(t, err)
	cancel()
	require.Nil(t, resp.Detach())
	<-s.closed
}

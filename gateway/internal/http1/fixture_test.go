package http1_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/gateway/internal/http1"
)

// server is a service that sends exactly the bytes that a test chooses.
type server struct {
	pool     *http1.Pool
	addr     string
	accepted atomic.Int64
	requests atomic.Int64
	closed   chan struct{} // receives a value when a connection is closed, unless it is full
}

// start starts a server that responds to each request with respond, and then closes the
// connection if respond returns false.
func start(t testing.TB, respond func(n int64, c net.Conn) (keep bool)) *server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	s := &server{addr: l.Addr().String(), closed: make(chan struct{}, 1000)}
	s.pool = http1.NewPool(s.addr)
	t.Cleanup(s.pool.Close)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test closed the listener
			}
			s.accepted.Add(1)
			go s.serve(c, respond)
		}
	}()
	return s
}

func (s *server) serve(c net.Conn, respond func(int64, net.Conn) bool) {
	defer func() {
		_ = c.Close()
		select {
		case s.closed <- struct{}{}:
		default:
		}
	}()
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		if !respond(s.requests.Add(1), c) {
			return
		}
	}
}

// reply returns a function for [start] that sends the texts in turn, the last one again and
// again.
func reply(texts ...string) func(int64, net.Conn) bool {
	return func(n int64, c net.Conn) bool {
		_, err := io.WriteString(c, texts[min(int(n), len(texts))-1])
		return err == nil
	}
}

func request(method string) http1.Request {
	return http1.Request{Method: method, Wire: []byte(method + " / HTTP/1.1\r\nHost: a\r\n\r\n"), Timeout: time.Minute}
}

// do sends a request and reads the response.
func (s *server) do(t testing.TB, method string) (resp *http1.Response, body string, err error) {
	t.Helper()
	resp, err = s.pool.Do(t.Context(), request(method))
	if err != nil {
		return nil, "", err
	}
	defer resp.Close()
	b, err := io.ReadAll(resp)
	return resp, string(b), err
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

package databasetest

import (
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/delivery/database"
)

// Proxy is a TCP proxy in front of the server. It counts round trips and loses messages.
type Proxy struct {
	addr, url string
	trips     atomic.Int64
	lose      atomic.Int32
}

// What the proxy loses next. It then closes the connection on both sides.
const (
	loseNothing int32 = iota
	loseRequest
	loseResponse
)

// Proxy starts a proxy, which runs until the test ends.
func (d *Database) Proxy(t testing.TB) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	require.NoError(t, err)
	p := &Proxy{addr: listener.Addr().String(), url: d.URL("%")}
	p.url = strings.Replace(p.url, d.server.Addr, p.addr, 1)
	var mu sync.Mutex
	var open []net.Conn
	var running errgroup.Group
	running.Go(func() error {
		for {
			client, err := listener.Accept()
			if err != nil {
				return nil //nolint:nilerr // the test has ended
			}
			server, err := net.Dial("tcp", d.server.Addr) //nolint:noctx // the container is on this host
			if err != nil {
				_ = client.Close()
				continue
			}
			mu.Lock()
			open = append(open, client, server)
			mu.Unlock()
			c := &proxied{proxy: p, client: client, server: server}
			running.Go(func() error { c.copy(client, server, c.request); return nil })
			running.Go(func() error { c.copy(server, client, c.response); return nil })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		require.NoError(t, running.Wait())
	})
	return p
}

// Open returns a pool that connects as role through the proxy.
func (p *Proxy) Open(t testing.TB, role string) *database.DB {
	t.Helper()
	db, err := database.Open(database.Config{URL: strings.ReplaceAll(p.url, "%", role), MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// RoundTrips returns the number of requests so far that were sent after the response to the
// previous one had arrived. Requests that are pipelined count as one.
func (p *Proxy) RoundTrips() int { return int(p.trips.Load()) }

// FewestRoundTrips runs fn several times and returns the number of round trips of the run with
// the fewest: the pool may ping a connection that was idle for a second.
func (p *Proxy) FewestRoundTrips(fn func()) int {
	fewest := math.MaxInt
	for range 5 {
		before := p.RoundTrips()
		fn()
		fewest = min(fewest, p.RoundTrips()-before)
	}
	return fewest
}

// LoseRequest closes the connection of the next request instead of forwarding it.
func (p *Proxy) LoseRequest() { p.lose.Store(loseRequest) }

// LoseResponse forwards the next request and closes its connection instead of forwarding the
// response, which the server sends after it has executed the request.
func (p *Proxy) LoseResponse() { p.lose.Store(loseResponse) }

// proxied is a connection through a proxy.
type proxied struct {
	proxy          *Proxy
	client, server net.Conn

	mu         sync.Mutex
	requesting bool // the client has sent the latest data
}

// copy forwards data until a connection is closed or forward returns false.
func (c *proxied) copy(from, to net.Conn, forward func() bool) {
	defer c.client.Close()
	defer c.server.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !forward() {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (c *proxied) request() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.requesting {
		c.requesting = true
		c.proxy.trips.Add(1)
	}
	return !c.proxy.lose.CompareAndSwap(loseRequest, loseNothing)
}

func (c *proxied) response() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requesting = false
	return !c.proxy.lose.CompareAndSwap(loseResponse, loseNothing)
}

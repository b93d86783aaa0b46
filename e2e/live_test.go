//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/e2e/stack"
	"gozon/shared/test/servicetest"
)

// next returns the type and the order of the next event that is not a heartbeat.
func next(t *testing.T, s *servicetest.Stream) (kind string, o order) {
	t.Helper()
	for {
		e, ok := s.Next(t)
		require.True(t, ok, "the stream has ended")
		if e.Data == "" { // a heartbeat
			continue
		}
		require.NoError(t, json.Unmarshal([]byte(e.Data), &o))
		return e.Type, o
	}
}

// until reads events until the order has the status.
func until(t *testing.T, s *servicetest.Stream, id, status string) {
	t.Helper()
	for {
		if _, o := next(t, s); o.ID == id && o.Status == status {
			return
		}
	}
}

// No component between the service and the client buffers events.
func TestOrderEventsAreDeliveredImmediately(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		user := newUser()
		s := servicetest.OpenStream(t, fmt.Sprintf("%s/orders/events?user_id=%d", base, user), "")
		kind, _ := next(t, s)
		require.Equal(t, "snapshot", kind)
		require.Equal(t, http.StatusCreated, post(t, base+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":5}`, user)).status)
		o := place(t, base, user, "5")
		until(t, s, o.ID, "PAID")
		require.Equal(t, http.StatusAccepted, call(t, http.MethodPost, base+"/orders/"+o.ID+"/cancel", "", "").status)
		until(t, s, o.ID, "CANCELLED")
		require.Equal(t, "5", balance(t, base, user))
	})
}

// follower reads an event stream like a browser: it reconnects with the id of the last event.
type follower struct {
	mu            sync.Mutex
	last          string
	snapshots     int
	interruptions int
	seen          map[string]order // the newest version of each order
}

func (f *follower) follow(ctx context.Context, url string) {
	for ctx.Err() == nil {
		f.once(ctx, url)
		select {
		case <-time.After(100 * time.Millisecond): // shorter than the "retry" of the stream
		case <-ctx.Done():
		}
	}
}

func (f *follower) once(ctx context.Context, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return
	}
	if f.last != "" {
		req.Header.Set("Last-Event-ID", f.last)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return
	}
	for e := range servicetest.ReadEvents(resp.Body) {
		if e.Data != "" {
			f.record(e.Type, e.Data)
		}
		if e.ID != "" {
			f.last = e.ID
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interruptions++
}

func (f *follower) record(kind, data string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kind == "snapshot" {
		f.snapshots++
		return
	}
	var o order
	if json.Unmarshal([]byte(data), &o) == nil && o.Version >= f.seen[o.ID].Version {
		f.seen[o.ID] = o
	}
}

// allPaid reports whether the follower has received all of the orders as PAID.
func (f *follower) allPaid(ids []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if f.seen[id].Status != "PAID" {
			return false
		}
	}
	return true
}

// With three replicas of each service, the replicas of orders crash one after another while
// orders are placed. Requests are retried with their key until they are accepted. Every
// follower receives every change without a second snapshot, and each key creates one order.
func TestStreamsSurviveReplicaCrashes(t *testing.T) { //nolint:paralleltest // it changes the shop that the other tests use
	shop.Scale = map[string]int{"orders": 3, "payments": 3}
	require.NoError(t, shop.Start(t.Context()))
	const followers, orders = 6, 12
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	user := newUser()
	require.Equal(t, http.StatusCreated, post(t, shop.API+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":1000}`, user)).status)
	var all []*follower
	for i := range followers { // half of them at each entry point
		f := &follower{seen: map[string]order{}}
		all = append(all, f)
		go f.follow(ctx, fmt.Sprintf("%s/orders/events?user_id=%d", []string{shop.Page, shop.API}[i%2], user))
	}
	servicetest.Eventually(t, func() bool {
		for _, f := range all {
			f.mu.Lock()
			opened := f.snapshots == 1
			f.mu.Unlock()
			if !opened {
				return false
			}
		}
		return true
	})

	var ids []string
	for i := range 3 {
		var replicas []stack.Container
		servicetest.Eventually(t, func() bool { // the replica that crashed before has restarted
			var err error
			replicas, err = shop.Containers(t.Context(), "orders")
			return err == nil && len(replicas) == 3
		})
		for j := range orders {
			if j == orders/2 {
				require.NoError(t, shop.Crash(t.Context(), replicas[i]))
			}
			key := fmt.Sprintf("%d-%d-%d", user, i, j)
			servicetest.Eventually(t, func() bool {
				a := postWithKey(t, shop.API+"/orders/", key, fmt.Sprintf(`{"user_id":%d,"item":"Book","price":1}`, user))
				var o order
				if a.status != http.StatusCreated || json.Unmarshal([]byte(a.body), &o) != nil {
					return false
				}
				ids = append(ids, o.ID)
				return true
			})
		}
		require.NoError(t, shop.Wait(t.Context()))
	}
	servicetest.Eventually(t, func() bool {
		for _, f := range all {
			if !f.allPaid(ids) {
				return false
			}
		}
		return true
	})
	interruptions := 0
	for _, f := range all {
		f.mu.Lock()
		require.Equal(t, 1, f.snapshots, "missed changes must be delivered as events, not as another snapshot")
		require.Len(t, f.seen, len(ids), "every order must be received, and no other")
		interruptions += f.interruptions
		f.mu.Unlock()
	}
	require.GreaterOrEqual(t, interruptions, followers, "the crashes must have interrupted streams")
	var page struct{ Orders []order }
	get(t, fmt.Sprintf("%s/orders?user_id=%d&limit=100", shop.API, user)).decode(t, &page)
	require.Len(t, page.Orders, 3*orders, "each key must create one order")
	require.Equal(t, strconv.Itoa(1000-3*orders), balance(t, shop.API, user))
}

var residentMemory = regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`)

// residentBytes returns the resident memory of the replica at an IP address.
func residentBytes(t *testing.T, ip string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ip+":9090/metrics", http.NoBody)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	m := residentMemory.FindSubmatch(body)
	require.NotNil(t, m)
	bytes, err := strconv.ParseFloat(string(m[1]), 64)
	require.NoError(t, err)
	return bytes
}

// 5,000 idle streams on one replica cost less than 100 MB.
func TestIdleStreamsAreCheap(t *testing.T) { //nolint:paralleltest // it measures the memory of a replica
	replicas, err := shop.Containers(t.Context(), "orders")
	require.NoError(t, err)
	ip := replicas[0].IP
	dial := func() (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", ip+":8080")
	}
	if runtime.GOOS != "linux" {
		t.Skip("container addresses are not reachable if the engine runs in a virtual machine")
	}
	before := residentBytes(t, ip)
	const streams, limit = 5000, 100_000_000
	const concurrent = 50 // more at once could be rejected with a 503
	requireOpen := func(c net.Conn) {
		t.Helper()
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		line, err := bufio.NewReaderSize(c, 64).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200 OK\r\n", line)
	}
	var open []net.Conn
	for i := range streams {
		c, err := dial()
		require.NoError(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c, "GET /orders/events?user_id=%d HTTP/1.1\r\nHost: orders\r\n\r\n", newUser()+int64(i))
		require.NoError(t, err)
		if open = append(open, c); i >= concurrent {
			requireOpen(open[i-concurrent])
		}
	}
	for _, c := range open[streams-concurrent:] {
		requireOpen(c)
	}
	cost := residentBytes(t, ip) - before
	t.Logf("%d idle streams cost %.1f MB, %.1f kB each", streams, cost/1e6, cost/streams/1e3)
	require.Less(t, cost, float64(limit))
}

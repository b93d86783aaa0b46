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

// until takes events until the order has the status.
func until(t *testing.T, s *servicetest.Stream, id, status string) {
	t.Helper()
	for {
		if _, o := next(t, s); o.ID == id && o.Status == status {
			return
		}
	}
}

// Nothing between the service and the client holds an event back.
func TestOrdersAreFollowedLive(t *testing.T) {
	t.Parallel()
	doors(t, func(t *testing.T, door string) {
		user := newUser()
		s := servicetest.OpenStream(t, fmt.Sprintf("%s/orders/events?user_id=%d", door, user), "")
		kind, _ := next(t, s)
		require.Equal(t, "snapshot", kind)
		require.Equal(t, http.StatusCreated, post(t, door+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":5}`, user)).status)
		o := place(t, door, user, "5")
		until(t, s, o.ID, "PAID")
		require.Equal(t, http.StatusAccepted, call(t, http.MethodPost, door+"/orders/"+o.ID+"/cancel", "", "").status)
		until(t, s, o.ID, "CANCELLED")
		require.Equal(t, "5", balance(t, door, user))
	})
}

// follower is a client as browsers are: it comes back with the id of the last event.
type follower struct {
	mu        sync.Mutex
	last      string
	snapshots int
	breaks    int
	seen      map[string]order // the newest version of each
}

func (f *follower) follow(ctx context.Context, url string) {
	for ctx.Err() == nil {
		f.once(ctx, url)
		select {
		case <-time.After(100 * time.Millisecond): // the "retry" of the stream, impatiently
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
			f.take(e.Type, e.Data)
		}
		if e.ID != "" {
			f.last = e.ID
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.breaks++
}

func (f *follower) take(kind, data string) {
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

func (f *follower) ended(ids []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if f.seen[id].Status != "PAID" {
			return false
		}
	}
	return true
}

// Three replicas of each. Those of orders die one after the other, while orders are
// placed with keys until they are answered: whoever follows is told all of it, with no
// snapshot to cover a gap, and each key is one order.
func TestStreamsSurviveTheDeathOfReplicas(t *testing.T) { //nolint:paralleltest // it changes the shop that the other tests use
	shop.Scale = map[string]int{"orders": 3, "payments": 3}
	require.NoError(t, shop.Start(t.Context()))
	const followers, orders = 6, 12
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	user := newUser()
	require.Equal(t, http.StatusCreated, post(t, shop.API+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":1000}`, user)).status)
	var all []*follower
	for i := range followers { // at both doors
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
		servicetest.Eventually(t, func() bool { // the one that died before is back
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
				a := postOnce(t, shop.API+"/orders/", key, fmt.Sprintf(`{"user_id":%d,"item":"Book","price":1}`, user))
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
			if !f.ended(ids) {
				return false
			}
		}
		return true
	})
	breaks := 0
	for _, f := range all {
		f.mu.Lock()
		require.Equal(t, 1, f.snapshots, "what was missed was told one by one")
		require.Len(t, f.seen, len(ids), "and nothing else")
		breaks += f.breaks
		f.mu.Unlock()
	}
	require.GreaterOrEqual(t, breaks, followers, "every stream was at a replica that died")
	var page struct{ Orders []order }
	get(t, fmt.Sprintf("%s/orders?user_id=%d&limit=100", shop.API, user)).decode(t, &page)
	require.Len(t, page.Orders, 3*orders, "each key is one order")
	require.Equal(t, strconv.Itoa(1000-3*orders), balance(t, shop.API, user))
}

var resident = regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`)

func residentBytes(t *testing.T, ip string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ip+":9090/metrics", http.NoBody)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	m := resident.FindSubmatch(body)
	require.NotNil(t, m)
	bytes, err := strconv.ParseFloat(string(m[1]), 64)
	require.NoError(t, err)
	return bytes
}

// 5,000 idle streams on one replica cost less than 100 MB.
func TestIdleStreamsAreCheap(t *testing.T) { //nolint:paralleltest // it weighs a replica
	replicas, err := shop.Containers(t.Context(), "orders")
	require.NoError(t, err)
	ip := replicas[0].IP
	dial := func() (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", ip+":8080")
	}
	if runtime.GOOS != "linux" {
		t.Skip("containers have no address of their own where the engine runs in a virtual machine")
	}
	before := residentBytes(t, ip)
	const streams, limit = 5000, 100_000_000
	const some = 50 // at once: a herd would be told to come back
	opened := func(c net.Conn) {
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
		if open = append(open, c); i >= some {
			opened(open[i-some])
		}
	}
	for _, c := range open[streams-some:] {
		opened(c)
	}
	cost := residentBytes(t, ip) - before
	t.Logf("%d idle streams cost %.1f MB, %.1f kB each", streams, cost/1e6, cost/streams/1e3)
	require.Less(t, cost, float64(limit))
}

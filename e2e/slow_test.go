//go:build e2e

package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/e2e/stack"
)

const (
	slowSenders = 7000 // at each entry point
	slowReaders = 500  // at each entry point
	dialers     = 64   // connections that are being established at the same time
)

// 7,000 clients that send bodies of 64 KiB and stop before the end, at each entry point, and
// readers that stop reading, neither fill the memory nor delay the others. They are
// disconnected.
func TestSlowClients(t *testing.T) { //nolint:paralleltest // it measures the memory of the shop
	if runtime.GOOS != "linux" {
		t.Skip("container addresses are not reachable if the engine runs in a virtual machine")
	}
	raiseFileLimit(t, 2*(slowSenders+slowReaders)+1000)
	user := newUser()
	require.Equal(t, http.StatusCreated, post(t, shop.API+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":100000}`, user)).status)
	before := states(t)
	stop, err := shop.WatchMemory(t.Context(), 100*time.Millisecond, "gateway", "frontend")
	require.NoError(t, err)

	const body = 64 << 10
	send := fmt.Sprintf("POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", body, strings.Repeat(" ", body-1))
	read := "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
	start := time.Now()
	var senders, readers []net.Conn
	for _, service := range []string{"gateway", "frontend"} {
		// Not through Docker's proxy, which may run out of file descriptors.
		replicas, err := shop.Containers(t.Context(), service)
		require.NoError(t, err)
		readers = append(readers, open(t, replicas[0].IP+":8080", read, slowReaders)...)
		senders = append(senders, open(t, replicas[0].IP+":8080", send, slowSenders)...)
	}
	t.Logf("%d connections after %s", len(senders)+len(readers), time.Since(start))

	var latencies []time.Duration
	for len(latencies) < 100 {
		for _, base := range []string{shop.API, shop.Page} {
			at := time.Now()
			place(t, base, user, "1")
			latencies = append(latencies, time.Since(at))
		}
	}
	slices.Sort(latencies)
	t.Logf("orders: median %s, slowest %s", latencies[len(latencies)/2], latencies[len(latencies)-1])
	require.Less(t, latencies[len(latencies)/2], 500*time.Millisecond)
	require.Less(t, latencies[len(latencies)-1], 5*time.Second)

	answers := map[string]int{}
	for _, c := range senders {
		answers[end(t, c, time.Minute)]++
	}
	t.Logf("senders: %v after %s", answers, time.Since(start))
	<-time.After(time.Until(start.Add(50 * time.Second))) // longer than the time limit of a response
	clear(answers)
	for _, c := range readers {
		answers[end(t, c, 10*time.Second)]++
	}
	t.Logf("readers: %v after %s", answers, time.Since(start))
	require.Equal(t, map[string]int{"200, truncated": len(readers)}, answers)
	memory, err := stop()
	require.NoError(t, err)
	for _, m := range memory {
		t.Logf("%s: at most %d MiB of %d", m.Service, m.Peak>>20, m.Limit>>20)
		require.Less(t, m.Peak, m.Limit*3/4, m.Service)
	}
	require.Equal(t, before, states(t), "a container was restarted")
	require.Equal(t, "PAID", settled(t, shop.API, place(t, shop.Page, user, "1").ID).Status)
}

// open opens n connections that send request, and do not read.
func open(t *testing.T, addr, request string, n int) []net.Conn {
	t.Helper()
	clients := make([]net.Conn, n)
	var g errgroup.Group
	g.SetLimit(dialers)
	dialer := net.Dialer{Timeout: 20 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }), err)
	}}
	for i := range clients {
		g.Go(func() error {
			conn, err := dialer.DialContext(t.Context(), "tcp", addr)
			if err != nil {
				return err
			}
			clients[i] = conn
			_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conn, request) // fails if the server has already refused it
			return nil
		})
	}
	require.NoError(t, g.Wait())
	t.Cleanup(func() {
		for _, c := range clients {
			_ = c.Close()
		}
	})
	return clients
}

// end returns how the server has ended the response. It fails if the client is still connected
// after a limit.
func end(t *testing.T, c net.Conn, limit time.Duration) string {
	t.Helper()
	defer c.Close()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(limit)))
	how := "disconnected"
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		defer resp.Body.Close()
		how = strconv.Itoa(resp.StatusCode)
		if _, err = io.Copy(io.Discard, resp.Body); err != nil {
			how += ", truncated"
		}
	}
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is still connected")
	return how
}

func states(t *testing.T) map[string]stack.RunState {
	t.Helper()
	all := map[string]stack.RunState{}
	for _, service := range services {
		found, err := shop.Containers(t.Context(), service)
		require.NoError(t, err)
		require.NotEmpty(t, found, service)
		all[service], err = shop.RunState(t.Context(), found[0])
		require.NoError(t, err)
	}
	return all
}

func raiseFileLimit(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur = max(limit.Cur, n)
	limit.Max = max(limit.Max, n)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
}

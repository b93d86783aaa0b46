//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/e2e/stack"
	"gozon/shared/test/contracttest"
	"gozon/shared/test/servicetest"
)

// held is the item of orders whose commit can be blocked.
const held = "held"

// holdLock is the advisory lock that the commit of such an order waits for. holdLocks
// selects the sessions that hold the lock or wait for it.
const (
	holdLock  = "20251125"
	holdLocks = "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND objid = " + holdLock
)

// installHold prepares the database for hold. It adds a deferred trigger, which runs during
// COMMIT, and disables the lock_timeout of the service so that it cannot end the wait.
func installHold(t *testing.T) {
	t.Helper()
	_, err := shop.SQLInput(t.Context(), `
		CREATE FUNCTION orders.hold_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			SET LOCAL lock_timeout = 0;
			PERFORM pg_advisory_xact_lock_shared(`+holdLock+`);
			RETURN NULL;
		END $$;
		CREATE CONSTRAINT TRIGGER hold_commit AFTER INSERT ON orders.orders DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.item = '`+held+`') EXECUTE FUNCTION orders.hold_commit();`)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := shop.SQL(context.WithoutCancel(t.Context()), "DROP FUNCTION IF EXISTS orders.hold_commit() CASCADE")
		require.NoError(t, err)
	})
}

// hold blocks the commits of orders of the held item until release is called. release waits
// until they have ended.
func hold(t *testing.T) (release func()) {
	t.Helper()
	db, err := shop.Containers(t.Context(), "postgres")
	require.NoError(t, err)
	require.Len(t, db, 1)
	cmd := exec.CommandContext(t.Context(), "docker", "exec", "-i", db[0].ID, "psql", "-U", "gozon", "-d", "gozon", "-AtXq")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(in, "SELECT 'held' FROM pg_advisory_lock("+holdLock+");\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	release = sync.OnceFunc(func() {
		require.NoError(t, in.Close())
		_ = cmd.Wait() // fails if the end of the test cancelled it
		servicetest.Eventually(t, func() bool {
			n, err := shop.SQL(context.WithoutCancel(t.Context()), "SELECT count(*) "+holdLocks)
			return err == nil && n == "0"
		})
	})
	t.Cleanup(release)
	return release
}

// committing waits until a commit is blocked, and returns the replica that waits for it.
func committing(t *testing.T) stack.Container {
	t.Helper()
	var ip string
	servicetest.Eventually(t, func() bool {
		var err error
		ip, err = shop.SQL(t.Context(), "SELECT host(client_addr) "+holdLocks+" AND NOT granted")
		return err == nil && ip != ""
	})
	replicas, err := shop.Containers(t.Context(), "orders")
	require.NoError(t, err)
	i := slices.IndexFunc(replicas, func(c stack.Container) bool { return c.IP == ip })
	require.GreaterOrEqual(t, i, 0, "no replica has the address %s", ip)
	return replicas[i]
}

// kill runs docker kill. The container stays down until revive is called or the test ends.
func kill(t *testing.T, c stack.Container) {
	t.Helper()
	t.Cleanup(func() { revive(t, c) })
	out, err := exec.CommandContext(t.Context(), "docker", "kill", "-s", "KILL", c.ID).CombinedOutput()
	require.NoError(t, err, string(out))
}

// revive starts a killed container and waits until the shop is ready.
func revive(t *testing.T, c stack.Container) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	out, err := exec.CommandContext(ctx, "docker", "start", c.ID).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, shop.Wait(ctx))
}

// waitForReplicas waits until the gateway has discovered n replicas of orders.
func waitForReplicas(t *testing.T, n int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return // container addresses are not reachable if the engine runs in a virtual machine
	}
	gateway, err := shop.Containers(t.Context(), "gateway")
	require.NoError(t, err)
	require.Len(t, gateway, 1)
	servicetest.Eventually(t, func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+gateway[0].IP+":9090/metrics", http.NoBody)
		if err != nil {
			return false
		}
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(body), fmt.Sprintf("upstream_replicas{service=\"orders:8080\"} %d\n", n))
	})
}

type outcome struct {
	status int
	body   string
	err    error
}

func heldOrder(user int64) string {
	return fmt.Sprintf(`{"user_id":%d,"item":%q,"price":1}`, user, held)
}

// placeHeld places a held order in the background over a new connection. On a reused
// connection, this client could retry the request itself.
func placeHeld(t *testing.T, base string, user int64, header []string) <-chan outcome {
	t.Helper()
	body := heldOrder(user)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/orders/", strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	answered := make(chan outcome, 1)
	go func() {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			answered <- outcome{err: err}
			return
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil {
			err = contracttest.Verify(req, []byte(body), resp, answer)
		}
		answered <- outcome{resp.StatusCode, string(answer), err}
	}()
	return answered
}

// countOrders returns the number of orders of a user.
func countOrders(t *testing.T, user int64) string {
	t.Helper()
	n, err := shop.SQL(t.Context(), fmt.Sprint("SELECT count(*) FROM orders.orders WHERE user_id = ", user))
	require.NoError(t, err)
	return n
}

// A replica is killed during the commit of an order, and the commit succeeds. Whichever key
// header the request has, no response reports that nothing was done, and there is one order.
func TestReplicaCrashDuringCommit(t *testing.T) { //nolint:paralleltest // it kills services that the other tests use
	installHold(t)
	for _, replicas := range []int{1, 2} { //nolint:paralleltest // the subtests kill services as well
		shop.Scale = map[string]int{"orders": replicas}
		require.NoError(t, shop.Start(t.Context()))
		for entryPoint, base := range map[string]string{"page": shop.Page, "gateway": shop.API} {
			for _, name := range []string{"no key", "Idempotency-Key", "X-Idempotency-Key"} {
				t.Run(fmt.Sprintf("%d replicas, %s, %s", replicas, entryPoint, name), func(t *testing.T) {
					waitForReplicas(t, replicas)
					user := newUser()
					key := fmt.Sprint("commit-", user)
					header := map[string][]string{"Idempotency-Key": {name, key}, "X-Idempotency-Key": {name, key}}[name]
					for range 2 * replicas { // so that the gateway has a connection to each replica
						require.Equal(t, http.StatusOK, get(t, fmt.Sprintf("%s/orders/?user_id=%d", base, user)).status)
					}
					release := hold(t)
					answered := placeHeld(t, base, user, header)
					victim := committing(t)
					kill(t, victim)
					a := <-answered
					release()
					require.NoError(t, a.err)
					require.Equal(t, "1", countOrders(t, user), "the order must be placed exactly once")
					if name == "Idempotency-Key" && a.status == http.StatusConflict {
						require.Contains(t, a.body, "/problems/request-in-flight")
					} else {
						require.Contains(t, []int{http.StatusBadGateway, http.StatusGatewayTimeout}, a.status)
						require.Contains(t, a.body, "/problems/outcome-unknown")
					}
					revive(t, victim)
					if name == "Idempotency-Key" {
						retry := postWithKey(t, base+"/orders/", key, heldOrder(user))
						require.Equal(t, http.StatusCreated, retry.status, retry.body)
						require.Equal(t, "true", retry.header.Get("Idempotent-Replayed"))
						require.Equal(t, "1", countOrders(t, user))
					}
				})
			}
		}
	}
}

// The gateway is killed during the commit of an order. nginx has sent the request, so it
// reports an unknown outcome. While the gateway is down, nginx cannot send a request and
// reports that nothing was done.
func TestGatewayCrashDuringCommit(t *testing.T) { //nolint:paralleltest // it kills services that the other tests use
	installHold(t)
	user := newUser()
	key := []string{"Idempotency-Key", fmt.Sprint("gateway-", user)}
	release := hold(t)
	answered := placeHeld(t, shop.Page, user, key)
	committing(t)
	gateway, err := shop.Containers(t.Context(), "gateway")
	require.NoError(t, err)
	require.Len(t, gateway, 1)
	kill(t, gateway[0])
	a := <-answered
	release()
	require.NoError(t, a.err)
	require.Equal(t, http.StatusBadGateway, a.status, a.body)
	require.Contains(t, a.body, "/problems/outcome-unknown")
	require.Equal(t, "1", countOrders(t, user))

	other := newUser()
	a = <-placeHeld(t, shop.Page, other, nil)
	require.NoError(t, a.err)
	require.Equal(t, http.StatusBadGateway, a.status, a.body)
	require.Contains(t, a.body, "/problems/upstream-unavailable")
	resp, body := raw(t, shop.Page, "TRACE /orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, body, "/problems/upstream-unavailable")
	revive(t, gateway[0])
	require.Equal(t, "0", countOrders(t, other))
}

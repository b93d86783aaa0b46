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

// held is an item whose orders can be stopped in the middle of their commit.
const held = "held"

// holdLock is the advisory lock that the commit of such an order waits for, and holdLocks
// finds those that hold it or wait for it.
const (
	holdLock  = "20251125"
	holdLocks = "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND objid = " + holdLock
)

// holdable prepares the database: a deferred trigger runs within COMMIT, where no
// lock_timeout of the service's may end its wait.
func holdable(t *testing.T) {
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

// hold stops the commits of orders of the held item until release, which waits for their end.
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
		_ = cmd.Wait() // a test that failed has cancelled it
		servicetest.Eventually(t, func() bool {
			n, err := shop.SQL(context.WithoutCancel(t.Context()), "SELECT count(*) "+holdLocks)
			return err == nil && n == "0"
		})
	})
	t.Cleanup(release)
	return release
}

// committing waits until an order is being held, and returns the replica that commits it.
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

// kill ends a container. It stays away until revive, or the end of the test.
func kill(t *testing.T, c stack.Container) {
	t.Helper()
	t.Cleanup(func() { revive(t, c) })
	out, err := exec.CommandContext(t.Context(), "docker", "kill", "-s", "KILL", c.ID).CombinedOutput()
	require.NoError(t, err, string(out))
}

func revive(t *testing.T, c stack.Container) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	out, err := exec.CommandContext(ctx, "docker", "start", c.ID).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, shop.Wait(ctx))
}

// known waits until the gateway knows n replicas of orders.
func known(t *testing.T, n int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return // containers have no address of their own where the engine runs in a virtual machine
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

// placeHeld sends the order on a connection of its own: on a used one, this client could
// repeat a request by itself.
func placeHeld(t *testing.T, door string, user int64, header []string) <-chan outcome {
	t.Helper()
	body := heldOrder(user)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, door+"/orders/", strings.NewReader(body))
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

func orders(t *testing.T, user int64) string {
	t.Helper()
	n, err := shop.SQL(t.Context(), fmt.Sprint("SELECT count(*) FROM orders.orders WHERE user_id = ", user))
	require.NoError(t, err)
	return n
}

// A replica is killed while it commits an order, and the commit takes place. Whichever
// header the order had, no answer says that nothing was done, and there is one order.
func TestReplicaDiesWhileItCommits(t *testing.T) { //nolint:paralleltest // it kills what the other tests use
	holdable(t)
	for _, replicas := range []int{1, 2} { //nolint:paralleltest // nor do its parts run at once
		shop.Scale = map[string]int{"orders": replicas}
		require.NoError(t, shop.Start(t.Context()))
		for door, url := range map[string]string{"page": shop.Page, "gateway": shop.API} {
			for _, name := range []string{"no key", "Idempotency-Key", "X-Idempotency-Key"} {
				t.Run(fmt.Sprintf("%d replicas, %s, %s", replicas, door, name), func(t *testing.T) {
					known(t, replicas)
					user := newUser()
					key := fmt.Sprint("commit-", user)
					header := map[string][]string{"Idempotency-Key": {name, key}, "X-Idempotency-Key": {name, key}}[name]
					for range 2 * replicas { // the gateway has a connection to each
						require.Equal(t, http.StatusOK, get(t, fmt.Sprintf("%s/orders/?user_id=%d", url, user)).status)
					}
					release := hold(t)
					answered := placeHeld(t, url, user, header)
					victim := committing(t)
					kill(t, victim)
					a := <-answered
					release()
					require.NoError(t, a.err)
					require.Equal(t, "1", orders(t, user), "the commit took place, once")
					if name == "Idempotency-Key" && a.status == http.StatusConflict {
						require.Contains(t, a.body, "/problems/request-in-flight")
					} else {
						require.Contains(t, []int{http.StatusBadGateway, http.StatusGatewayTimeout}, a.status)
						require.Contains(t, a.body, "/problems/outcome-unknown")
					}
					revive(t, victim)
					if name == "Idempotency-Key" {
						again := postOnce(t, url+"/orders/", key, heldOrder(user))
						require.Equal(t, http.StatusCreated, again.status, again.body)
						require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
						require.Equal(t, "1", orders(t, user))
					}
				})
			}
		}
	}
}

// The gateway is killed in the middle of an order: nginx does not know more than that it
// was sent. Once the gateway is gone, nothing is.
func TestGatewayDiesWhileAnOrderIsCommitted(t *testing.T) { //nolint:paralleltest // it kills what the other tests use
	holdable(t)
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
	require.Equal(t, "1", orders(t, user))

	nobody := newUser()
	a = <-placeHeld(t, shop.Page, nobody, nil)
	require.NoError(t, a.err)
	require.Equal(t, http.StatusBadGateway, a.status, a.body)
	require.Contains(t, a.body, "/problems/upstream-unavailable")
	resp, body := raw(t, shop.Page, "TRACE /orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, body, "/problems/upstream-unavailable")
	revive(t, gateway[0])
	require.Equal(t, "0", orders(t, nobody))
}

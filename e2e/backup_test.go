//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/e2e/load"
	"gozon/e2e/stack"
	"gozon/shared/test/servicetest"
)

// documented returns the scripts of a page of the documentation that are marked for tests.
func documented(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	scripts := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)<!-- test: ([a-z-]+) -->\n```sh\n(.*?)```").FindAllSubmatch(text, -1) {
		scripts[string(m[1])] = string(m[2])
	}
	return scripts
}

// traffic places and cancels orders until it is stopped, and retries every request until it has
// a definite response.
type traffic struct {
	mu   sync.Mutex
	ids  []string
	stop func()
}

func (r *recovery) startTraffic(t *testing.T) *traffic {
	t.Helper()
	const workers = 4
	client := load.NewClient(r.API, workers)
	ctx, cancel := context.WithCancel(t.Context())
	l := &traffic{}
	var running sync.WaitGroup
	post := func(path, body string) (status int, resp []byte) {
		key := rand.Text()
		for tick := time.Tick(100 * time.Millisecond); ctx.Err() == nil; {
			var err error
			if status, resp, err = client.Post(ctx, path, key, []byte(body)); err == nil && status < 500 {
				break
			}
			select {
			case <-tick:
			case <-ctx.Done():
			}
		}
		return status, resp
	}
	for range workers {
		running.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				var o order
				if status, body := post("/orders/", fmt.Sprintf(`{"user_id":%d,"item":"Book","price":1}`, r.user)); status == http.StatusCreated && json.Unmarshal(body, &o) == nil {
					l.mu.Lock()
					l.ids = append(l.ids, o.ID)
					l.mu.Unlock()
				}
				if i%4 == 0 && o.ID != "" {
					post("/orders/"+o.ID+"/cancel", "")
				}
			}
		})
	}
	l.stop = func() { cancel(); running.Wait() }
	return l
}

// accepted returns the orders that were accepted so far.
func (l *traffic) accepted() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ids)
}

// restored checks that the shop has all orders of kept and none of lost, that all orders
// become final, and that the money is right.
func (r *recovery) restored(t *testing.T, kept, lost []string) {
	t.Helper()
	count := func(ids []string) string {
		return "(SELECT count(*) FROM orders.orders WHERE id = ANY('{" + strings.Join(ids, ",") + "}'))"
	}
	require.NotEmpty(t, kept)
	require.NotEmpty(t, lost)
	r.audit(t)
	r.until(t, fmt.Sprintf("%s = %d AND %s = 0", count(kept), len(kept), count(lost)))
	servicetest.Eventually(t, func() bool { return audit(t, r.API, "?full=true").OK }, "the audit finds differences")
}

// The documented commands back up a shop under load, and restore it while its clients retry
// their requests: a dump to a new database, and a base backup to a point in time. Both lose what
// is newer, and nothing else.
func TestBackupAndRestore(t *testing.T) { //nolint:paralleltest // its load would slow down the other tests
	docs, backups := documented(t, "../docs/operations/backup.md"), t.TempDir()
	var log bytes.Buffer
	own, err := stack.Up(t.Context(), stack.Options{Project: "gozon-e2e-backup", Log: &log, Env: []string{
		"OVERDUE_AFTER=3s", "COMPOSE_FILE=docker-compose.yml:deploy/archive.yml", "BACKUPS=" + backups,
	}})
	require.NoError(t, err, &log)
	t.Cleanup(func() { _ = own.Down(context.Background()) })
	r := &recovery{Stack: own, user: newUser()}
	run := func(name string, env ...string) {
		t.Helper()
		require.NotEmpty(t, docs[name], "the documentation has no script %s", name)
		log.Reset()
		require.NoError(t, own.Shell(t.Context(), docs[name], env...), &log)
	}
	sql := func(query string) string {
		t.Helper()
		value, err := own.SQL(t.Context(), query)
		require.NoError(t, err)
		return value
	}
	require.Equal(t, http.StatusCreated, post(t, r.API+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":100000}`, r.user)).status)

	l := r.startTraffic(t)
	servicetest.Eventually(t, func() bool { return len(l.accepted()) > 100 })
	beforeDump := l.accepted()
	run("dump")
	afterDump := len(l.accepted())
	run("base")
	beforeMoment := l.accepted()
	moment := sql("SELECT now()")
	afterMoment := len(l.accepted())

	// What only the lost future knows: a key, and the id of an event.
	again := fmt.Sprintf(`{"user_id":%d,"item":"Laptop","price":1}`, r.user)
	lostOrder := postWithKey(t, r.API+"/orders/", "lost", again).header.Get("Location")
	stream := servicetest.OpenStream(t, fmt.Sprintf("%s/orders/events?user_id=%d", r.API, r.user), "")
	event, open := stream.Next(t)
	require.True(t, open)
	stream.Close()
	r.until(t, fmt.Sprintf("now() - '%s' > interval '31 s'", moment))
	newest := sql("SELECT pg_current_xact_id()")
	stopped := len(l.accepted())

	run("new-database")
	run("restore-dump")
	require.NoError(t, own.Wait(t.Context()))
	l.stop()
	r.restored(t, beforeDump, l.accepted()[afterDump:stopped])
	resumed, open := servicetest.OpenStream(t, fmt.Sprintf("%s/orders/events?user_id=%d", r.API, r.user), event.ID).Next(t)
	require.True(t, open)
	require.Equal(t, "snapshot", resumed.Type)
	require.Equal(t, http.StatusNotFound, get(t, r.API+lostOrder).status)
	replaced := postWithKey(t, r.API+"/orders/", "lost", again)
	require.Equal(t, http.StatusCreated, replaced.status)
	require.NotEqual(t, lostOrder, replaced.header.Get("Location"))
	// Transaction ids that the restored rows once had are assigned again.
	sql("DO $$ BEGIN WHILE pg_current_xact_id()::text::bigint <= " + newest + " LOOP COMMIT; END LOOP; END $$")
	for range 3 {
		require.True(t, audit(t, r.API, "").OK)
	}

	l2 := r.startTraffic(t)
	servicetest.Eventually(t, func() bool { return len(l2.accepted()) > 100 })
	run("restore-base", "UNTIL="+moment)
	require.NoError(t, own.Wait(t.Context()))
	l2.stop()
	r.restored(t, beforeMoment, l.accepted()[afterMoment:stopped])
}

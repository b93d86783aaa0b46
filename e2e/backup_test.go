//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

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

const restoreUsers = 10

// startTraffic places and cancels orders until stop is called.
func (r *recovery) startTraffic(t *testing.T) (placed *load.Orders, stop func()) {
	t.Helper()
	const workers = 4
	placed = &load.Orders{}
	ctx, cancel := context.WithCancel(t.Context())
	var running errgroup.Group
	running.Go(func() error {
		return load.NewClient(r.API, workers).PlaceThroughRestores(ctx, workers, restoreUsers, 100*time.Millisecond, placed)
	})
	servicetest.Eventually(t, func() bool { return len(placed.Accepted()) > 100 })
	return placed, func() {
		t.Helper()
		cancel()
		require.NoError(t, running.Wait())
	}
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
	r := &recovery{Stack: own}
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
	require.NoError(t, load.NewClient(r.API, 1).OpenAccounts(t.Context(), restoreUsers, 10_000_000))

	placed, stop := r.startTraffic(t)
	beforeDump := placed.Accepted()
	run("dump")
	afterDump := len(placed.Accepted())
	run("base")
	beforeMoment := placed.Accepted()
	moment := sql("SELECT now()")
	afterMoment := len(placed.Accepted())

	// What only the lost time knows: a key, and the id of an event.
	again := `{"user_id":1,"item":"Laptop","price":1}`
	lostOrder := postWithKey(t, r.API+"/orders/", "lost", again).header.Get("Location")
	stream := servicetest.OpenStream(t, r.API+"/orders/events?user_id=1", "")
	event, open := stream.Next(t)
	require.True(t, open)
	stream.Close()
	r.until(t, fmt.Sprintf("now() - '%s' > interval '31 s'", moment))
	newest := sql("SELECT pg_current_xact_id()")
	lost := placed.Accepted()

	run("new-database")
	run("restore-dump")
	require.NoError(t, own.Wait(t.Context()))
	stop()
	r.restored(t, beforeDump, lost[afterDump:])
	resumed, open := servicetest.OpenStream(t, r.API+"/orders/events?user_id=1", event.ID).Next(t)
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

	_, stop = r.startTraffic(t)
	run("restore-base", "UNTIL="+moment)
	require.NoError(t, own.Wait(t.Context()))
	stop()
	r.restored(t, beforeMoment, lost[afterMoment:])
}

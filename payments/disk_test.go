package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
)

// The disk of the database is full: writes fail with a response that is true, the service
// keeps running, and orders wait in the queue. It resumes by itself when there is space.
func TestDatabaseDiskIsFull(t *testing.T) {
	t.Parallel()
	f := &fixture{database: databasetest.OwnDisk(t), broker: brokertest.New(t)}
	f.pool, _ = f.database.Open(t, postgres.Schema, migrations.FS)
	f.Service = f.startReplica(t).Ready(t)
	f.topUp(t, 1, "1000")
	free := f.database.FillDisk(t)

	statuses := map[int64]int{} // of the only deposit of each user
	user := int64(100)
	deposit := func(refused int) { // until some were refused
		for refused > 0 {
			got := f.Send(t, http.MethodPost, "/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":1}`, user))
			statuses[user] = got.Status
			user++
			if got.Status >= 300 {
				refused--
			}
			if got.Status == http.StatusServiceUnavailable {
				require.Contains(t, got.Body, "nothing was done")
			}
		}
	}
	deposit(20) // tables cannot grow
	for range stream {
		f.order(t, 1, 100)
	}
	f.database.FillLog(t)
	deposit(20) // PostgreSQL has stopped
	require.Positive(t, f.Metric(t, "consumer_up"), "the service is running")
	read := f.Send(t, http.MethodGet, fmt.Sprintf("/accounts/%d", user), "")
	require.Contains(t, []int{http.StatusNotFound, http.StatusServiceUnavailable}, read.Status, "PostgreSQL may be up for a moment")
	free()
	f.Ready(t)
	f.requireDecidedOnce(t)
	byStatus := map[int]int{}
	for user, status := range statuses {
		byStatus[status]++
		got := f.Send(t, http.MethodGet, fmt.Sprintf("/accounts/%d", user), "")
		switch status {
		case http.StatusCreated:
			require.Equal(t, http.StatusOK, got.Status, "a deposit was lost")
		case http.StatusServiceUnavailable:
			require.Equal(t, http.StatusNotFound, got.Status, "a deposit that was refused was made")
		default:
			require.Equal(t, http.StatusGatewayTimeout, status, "only this one may be either")
		}
	}
	t.Logf("responses to deposits by status: %v", byStatus)
	require.Positive(t, byStatus[http.StatusServiceUnavailable])
}

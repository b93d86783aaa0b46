package events_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

// contract is the schema that readers of one revision rely on, of the envelope or of the data.
type contract struct {
	schema *jsonschema.Schema
	isData bool
}

// current returns the published contracts of a type.
func current(t *testing.T, eventType string) []contract {
	t.Helper()
	return []contract{
		{compile(t, filepath.Join(schemaDir, "envelope.schema.json")), false},
		{compile(t, filepath.Join(schemaDir, eventType+".schema.json")), true},
	}
}

// earlier returns the contracts of all revisions before the current one.
func earlier(t *testing.T, eventType string) []contract {
	t.Helper()
	var contracts []contract
	envelopes, err := filepath.Glob("testdata/schemas/envelope.*")
	require.NoError(t, err)
	require.NotEmpty(t, envelopes)
	for _, path := range envelopes {
		contracts = append(contracts, contract{compile(t, path), false})
	}
	for revision := 1; revision < len(eventstest.Goldens(t, eventType)); revision++ {
		path := fmt.Sprintf("testdata/schemas/%s.%d.schema.json", eventType, revision)
		contracts = append(contracts, contract{compile(t, path), true})
	}
	return contracts
}

func compile(t *testing.T, path string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(path)
	require.NoError(t, err)
	return schema
}

// check validates a message against contracts and returns the first error.
func check(message map[string]any, contracts []contract) error {
	for _, c := range contracts {
		var part any = message
		if c.isData {
			part = message["data"]
		}
		if err := c.schema.Validate(part); err != nil {
			return err
		}
	}
	return nil
}

func message(t *testing.T, golden eventstest.Golden) map[string]any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(golden.Body))
	require.NoError(t, err)
	m, ok := v.(map[string]any)
	require.True(t, ok)
	return m
}

// Backward compatibility: messages of earlier revisions may still be in a queue or in a
// dead-letter queue.
func TestEveryRevisionMatchesTheCurrentContract(t *testing.T) {
	t.Parallel()
	for _, eventType := range eventstest.Types(t) {
		for _, golden := range eventstest.Goldens(t, eventType) {
			require.NoError(t, check(message(t, golden), current(t, eventType)), golden.Name)
		}
	}
}

// Forward compatibility: during a rolling update, old replicas read new messages.
func TestCurrentRevisionMatchesEarlierContracts(t *testing.T) {
	t.Parallel()
	for _, eventType := range eventstest.Types(t) {
		golden := eventstest.Newest(t, eventType)
		require.NoError(t, check(message(t, golden), earlier(t, eventType)), golden.Name)
	}
}

func TestContractsRejectInvalidMessages(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	for name, tc := range map[string]struct {
		eventType string
		corrupt   func(envelope, data object)
	}{
		"no id":                {events.TypeOrderCreated, func(e, _ object) { delete(e, "id") }},
		"id is not a UUID":     {events.TypeOrderCreated, func(e, _ object) { e["id"] = "17" }},
		"invalid time":         {events.TypePaymentFailed, func(e, _ object) { e["time"] = "yesterday" }},
		"no data":              {events.TypePaymentFailed, func(e, _ object) { delete(e, "data") }},
		"no order":             {events.TypePaymentSucceeded, func(_, d object) { delete(d, "order_id") }},
		"order is a number":    {events.TypePaymentSucceeded, func(_, d object) { d["order_id"] = 17 }},
		"no user":              {events.TypeOrderCreated, func(_, d object) { delete(d, "user_id") }},
		"user 0":               {events.TypeOrderCreated, func(_, d object) { d["user_id"] = 0 }},
		"user too large":       {events.TypeOrderCreated, func(_, d object) { d["user_id"] = 1 << 53 }},
		"amount is a string":   {events.TypeOrderCreated, func(_, d object) { d["amount_minor"] = "100000" }},
		"amount is a fraction": {events.TypeOrderCreated, func(_, d object) { d["amount_minor"] = 1.5 }},
		"amount 0":             {events.TypeOrderCreated, func(_, d object) { d["amount_minor"] = 0 }},
		"amount too large":     {events.TypeOrderCreated, func(_, d object) { d["amount_minor"] = 1e15 }},
		"no reason":            {events.TypePaymentFailed, func(_, d object) { delete(d, "reason") }},
		"empty reason":         {events.TypePaymentFailed, func(_, d object) { d["reason"] = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := message(t, eventstest.Newest(t, tc.eventType))
			data, ok := m["data"].(object)
			require.True(t, ok)
			tc.corrupt(m, data)
			require.Error(t, check(m, current(t, tc.eventType)))
			require.Error(t, check(m, earlier(t, tc.eventType)))
		})
	}
}

func TestContractsAllowNewFieldsAndReasons(t *testing.T) {
	t.Parallel()
	m := message(t, eventstest.Newest(t, events.TypePaymentFailed))
	m["newer"] = true
	data, ok := m["data"].(map[string]any)
	require.True(t, ok)
	data["newer"], data["reason"] = true, "account_frozen"
	require.NoError(t, check(m, current(t, events.TypePaymentFailed)))
	require.NoError(t, check(m, earlier(t, events.TypePaymentFailed)))
}

// Published goldens and schemas are never edited; a change is a new revision. FROZEN is
// the output of sha256sum for them.
func TestPublishedFilesAreFrozen(t *testing.T) {
	t.Parallel()
	var sums strings.Builder
	require.NoError(t, fs.WalkDir(os.DirFS("testdata"), ".", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) != ".json" {
			return err
		}
		body, err := os.ReadFile(filepath.Join("testdata", path))
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(body), path)
		return err
	}))
	frozen, err := os.ReadFile("testdata/FROZEN")
	require.NoError(t, err)
	require.Equal(t, string(frozen), sums.String())
}

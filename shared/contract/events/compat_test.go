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

// contract is what readers of one revision rely on, in the envelope or in the data.
type contract struct {
	schema *jsonschema.Schema
	ofData bool
}

// today is the published contract of a type.
func today(t *testing.T, eventType string) []contract {
	t.Helper()
	return []contract{
		{compile(t, filepath.Join(schemaDir, "envelope.schema.json")), false},
		{compile(t, filepath.Join(schemaDir, eventType+".schema.json")), true},
	}
}

// earlier are the contracts of all revisions before today's, as they were then.
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

// check is the first error of a message, or nil when every contract holds.
func check(message map[string]any, contracts []contract) error {
	for _, c := range contracts {
		var part any = message
		if c.ofData {
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

// Backward: what was ever sent is what readers are told today. It may still lie in a
// queue, or in a dead-letter queue.
func TestTodaysContractHoldsForEveryRevision(t *testing.T) {
	t.Parallel()
	for _, eventType := range eventstest.Types(t) {
		for _, golden := range eventstest.Goldens(t, eventType) {
			require.NoError(t, check(message(t, golden), today(t, eventType)), golden.Name)
		}
	}
}

// Forward: what is sent today is what readers were told before. They may be the
// replicas that a rolling update has not reached yet.
func TestEarlierContractsHoldToday(t *testing.T) {
	t.Parallel()
	for _, eventType := range eventstest.Types(t) {
		golden := eventstest.Newest(t, eventType)
		require.NoError(t, check(message(t, golden), earlier(t, eventType)), golden.Name)
	}
}

func TestContractsRefuse(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	for name, tc := range map[string]struct {
		eventType string
		spoil     func(envelope, data object)
	}{
		"no id":                    {events.TypeOrderCreated, func(e, _ object) { delete(e, "id") }},
		"an id of another form":    {events.TypeOrderCreated, func(e, _ object) { e["id"] = "17" }},
		"a time that is none":      {events.TypePaymentFailed, func(e, _ object) { e["time"] = "yesterday" }},
		"no data":                  {events.TypePaymentFailed, func(e, _ object) { delete(e, "data") }},
		"no order":                 {events.TypePaymentSucceeded, func(_, d object) { delete(d, "order_id") }},
		"an order of another form": {events.TypePaymentSucceeded, func(_, d object) { d["order_id"] = 17 }},
		"no user":                  {events.TypeOrderCreated, func(_, d object) { delete(d, "user_id") }},
		"user 0":                   {events.TypeOrderCreated, func(_, d object) { d["user_id"] = 0 }},
		"a user too large":         {events.TypeOrderCreated, func(_, d object) { d["user_id"] = 1 << 53 }},
		"a text as amount":         {events.TypeOrderCreated, func(_, d object) { d["amount_minor"] = "100000" }},
		"a fraction as amount":     {events.TypeOrderCreated, func(_, d object) { d["amount_minor"] = 1.5 }},
		"amount 0":                 {events.TypeOrderCreated, func(_, d object) { d["amount_minor"] = 0 }},
		"an amount too large":      {events.TypeOrderCreated, func(_, d object) { d["amount_minor"] = 1e15 }},
		"no reason":                {events.TypePaymentFailed, func(_, d object) { delete(d, "reason") }},
		"an empty reason":          {events.TypePaymentFailed, func(_, d object) { d["reason"] = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := message(t, eventstest.Newest(t, tc.eventType))
			data, ok := m["data"].(object)
			require.True(t, ok)
			tc.spoil(m, data)
			require.Error(t, check(m, today(t, tc.eventType)))
			require.Error(t, check(m, earlier(t, tc.eventType)))
		})
	}
}

func TestContractsAllowWhatIsNew(t *testing.T) {
	t.Parallel()
	m := message(t, eventstest.Newest(t, events.TypePaymentFailed))
	m["newer"] = true
	data, ok := m["data"].(map[string]any)
	require.True(t, ok)
	data["newer"], data["reason"] = true, "account_frozen"
	require.NoError(t, check(m, today(t, events.TypePaymentFailed)))
	require.NoError(t, check(m, earlier(t, events.TypePaymentFailed)))
}

// A golden or a schema that was once published is not edited: a change is a new
// revision. FROZEN is what sha256sum prints of them.
func TestFrozen(t *testing.T) {
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

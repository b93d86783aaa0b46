package events_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
)

func envelopes(ids ...string) []events.Envelope {
	all := make([]events.Envelope, len(ids))
	for i, id := range ids {
		all[i] = events.Envelope{
			SpecVersion: "1.0", ID: id, Source: "gozon/orders", Type: events.TypeOrderCreated, Subject: orderID, Time: decided,
			DataContentType: "application/json", Data: json.RawMessage(`{"order_id":"] ,","user_id":1}`),
		}
	}
	return all
}

func TestMessageIsEncodedAndSplit(t *testing.T) {
	t.Parallel()
	for _, ids := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}} {
		all := envelopes(ids...)
		body, contentType, err := events.Encode(all...)
		require.NoError(t, err)
		require.Equal(t, len(ids) > 1, events.IsBatch(body))
		require.Equal(t, map[bool]string{true: events.BatchContentType, false: events.ContentType}[len(ids) > 1], contentType)
		bodies, err := events.Split(body)
		require.NoError(t, err)
		require.Len(t, bodies, len(ids))
		for i, b := range bodies {
			e, err := events.Parse(b)
			require.NoError(t, err)
			require.Equal(t, all[i], e)
		}
	}
}

// The golden is a batch as a consumer receives it.
func TestBatchMatchesItsGolden(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/batch.1.json")
	require.NoError(t, err)
	all := envelopes("01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f", "01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e65")
	for i := range all {
		all[i].Data = fmt.Appendf(nil, `{"order_id":%q,"user_id":%d,"amount_minor":100000}`, orderID, i+1)
	}
	body, _, err := events.Encode(all...)
	require.NoError(t, err)
	body, err = events.Published(body, published)
	require.NoError(t, err)
	require.JSONEq(t, string(golden), string(body))
}

// Published must give the same result as encoding the events with their attribute.
func TestPublishedAddsItsTimeToEachEvent(t *testing.T) {
	t.Parallel()
	all := envelopes("a", "b")
	body, _, err := events.Encode(all...)
	require.NoError(t, err)
	at := published.Add(7 * time.Microsecond)
	stamped, err := events.Published(body, at.In(time.FixedZone("", 3600)))
	require.NoError(t, err)
	for i := range all {
		all[i].PublishedAt = at
	}
	want, _, err := events.Encode(all...)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(stamped))
}

func TestInvalidEventDoesNotAffectItsBatch(t *testing.T) {
	t.Parallel()
	bodies, err := events.Split([]byte(` [ 1, {"specversion":"1.0","id":"x","type":"t","data":{}}, null, {} ]`))
	require.NoError(t, err)
	require.Len(t, bodies, 4)
	for i, body := range bodies {
		_, err := events.Parse(body)
		if i == 1 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, events.ErrMalformed)
		}
	}
}

// Split finds the same elements as encoding/json. It accepts invalid elements, which Parse
// rejects.
func FuzzSplit(f *testing.F) {
	for _, body := range []string{`[]`, `[{}, [1, "],{\\\""], null , -1e9]`, ` [{"a":{"b":[]}},{"c":"\\u005d"}] `, `[{]`, `["]`, `[1,,2]`, `[[]`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !events.IsBatch(body) {
			return
		}
		var want []json.RawMessage
		invalid := json.Unmarshal(body, &want) != nil
		got, err := events.Split(body)
		switch {
		case !invalid && len(want) > 0:
			require.NoError(t, err)
			require.Equal(t, want, got)
		case err == nil:
			require.True(t, slices.ContainsFunc(got, func(b json.RawMessage) bool { return !json.Valid(b) }), "an invalid batch without an invalid element")
		}
	})
}

func TestMalformedBatchIsReported(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`[`, `[]`, ` [ ] `, `[{]`, `[{}]{}`, `[{]}`, `[{},]`, `[,{}]`, `["]`, `["\"]`, `[{}}`} {
		_, err := events.Split([]byte(body))
		require.ErrorIs(t, err, events.ErrMalformed, body)
	}
	for _, body := range []string{``, `{`, `null`, `1`} { // rejected by Parse
		bodies, err := events.Split([]byte(body))
		require.NoError(t, err)
		require.Equal(t, []json.RawMessage{json.RawMessage(body)}, bodies)
	}
}

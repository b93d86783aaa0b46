package events_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

const orderID = "01980f5e-7b1c-7000-8000-000000000001"

// Times of the order in the goldens.
var (
	published = moment("10:00:00.125011")
	decided   = moment("10:00:00.131117")
	cancelled = moment("10:00:05.007291")
)

// sent lists each event with the envelope attributes of its newest golden.
var sent = []struct {
	id, source        string
	time, publishedAt time.Time
	event             events.Event
}{
	{
		"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f", "gozon/orders", moment("10:00:00.123456"), published,
		&events.OrderCreated{OrderID: orderID, UserID: 1, Amount: 100000},
	},
	{
		"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e60", "gozon/payments", moment("10:00:00.131972"), moment("10:00:00.133401"),
		&events.PaymentSucceeded{OrderID: orderID, UserID: 1, Amount: 100000, PublishedAt: published, ChargedAt: decided},
	},
	{
		"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e61", "gozon/payments", moment("10:00:00.131972"), moment("10:00:00.133401"),
		&events.PaymentFailed{OrderID: orderID, UserID: 1, Amount: 100000, Reason: events.ReasonInsufficientFunds, PublishedAt: published, RefusedAt: decided},
	},
	{
		"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e62", "gozon/orders", moment("10:00:05.000417"), moment("10:00:05.001723"),
		&events.OrderCancelRequested{OrderID: orderID, UserID: 1, Amount: 100000},
	},
	{
		"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e63", "gozon/payments", moment("10:00:05.007802"), moment("10:00:05.009113"),
		&events.PaymentVoided{OrderID: orderID, UserID: 1, Amount: 100000, PublishedAt: published, RefusedAt: decided, VoidedAt: cancelled},
	},
	{
		"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e64", "gozon/payments", moment("10:00:05.007802"), moment("10:00:05.009113"),
		&events.PaymentRefunded{OrderID: orderID, UserID: 1, Amount: 100000, PublishedAt: published, ChargedAt: decided, RefundedAt: cancelled},
	},
}

// moment returns a time of day on the day of the goldens, in UTC.
func moment(clock string) time.Time {
	t, err := time.Parse(time.DateTime, "2026-11-24 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// The types encode to the newest goldens and are decoded from them.
func TestTypesMatchTheNewestGoldens(t *testing.T) {
	t.Parallel()
	for _, tc := range sent {
		t.Run(tc.event.EventType(), func(t *testing.T) {
			t.Parallel()
			golden := eventstest.Newest(t, tc.event.EventType())
			data, err := json.Marshal(tc.event)
			require.NoError(t, err)
			body, err := json.Marshal(events.Envelope{
				SpecVersion: "1.0", ID: tc.id, Source: tc.source, Type: tc.event.EventType(), Subject: tc.event.EventSubject(),
				Time: tc.time, DataContentType: "application/json", PublishedAt: tc.publishedAt,
				TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Data: data,
			})
			require.NoError(t, err)
			require.JSONEq(t, string(golden.Body), string(body))
			require.Equal(t, tc.event, decode(t, golden, tc.event))
		})
	}
}

// Decoding an older golden loses nothing and adds nothing.
func TestOlderGoldensAreDecoded(t *testing.T) {
	t.Parallel()
	for _, tc := range sent {
		for _, golden := range eventstest.Goldens(t, tc.event.EventType()) {
			got, err := json.Marshal(decode(t, golden, tc.event))
			require.NoError(t, err)
			require.JSONEq(t, string(golden.Data), string(got), golden.Name)
		}
	}
}

// decode returns the data of a golden as a new value of like's type.
func decode(t *testing.T, golden eventstest.Golden, like events.Event) events.Event {
	t.Helper()
	event, ok := reflect.TypeAssert[events.Event](reflect.New(reflect.TypeOf(like).Elem()))
	require.True(t, ok)
	require.NoError(t, golden.Decode(event))
	return event
}

// Every Type constant is in sent and has goldens.
func TestEveryTypeHasGoldens(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("events.go")
	require.NoError(t, err)
	var constants, tested []string
	for _, match := range regexp.MustCompile(`\tType\w+ += "(.+)"`).FindAllSubmatch(source, -1) {
		constants = append(constants, string(match[1]))
	}
	for _, tc := range sent {
		tested = append(tested, tc.event.EventType())
	}
	slices.Sort(constants)
	slices.Sort(tested)
	require.Equal(t, constants, tested)
	require.Equal(t, constants, eventstest.Types(t))
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	e, err := events.Parse([]byte(`{"specversion":"1.0","id":"x","type":"t","new":1,"data":{"order_id":"o","newer":[]}}`))
	require.NoError(t, err)
	var o events.OrderCreated
	require.NoError(t, e.Decode(&o))
	require.Equal(t, "o", o.OrderID)
}

func TestMalformedEventsAreReported(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"specversion":"0.3","id":"x","type":"t","data":{}}`, `{"specversion":"1.0","type":"t","data":{}}`,
		`{"specversion":"1.0","id":"x","data":{}}`, `{"specversion":"1.0","id":"x","type":"t"}`, `{"specversion":"1.0","id":"x","type":"t","data":{}`,
	} {
		_, err := events.Parse([]byte(body))
		require.ErrorIs(t, err, events.ErrMalformed, body)
	}
	e, err := events.Parse([]byte(`{"specversion":"1.0","id":"x","type":"t","data":{"user_id":"1"}}`))
	require.NoError(t, err)
	require.ErrorIs(t, e.Decode(&events.OrderCreated{}), events.ErrMalformed)
}

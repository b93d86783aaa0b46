package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/inbox"
)

func message(orderID string) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"type":"order.created.v1","data":{"order_id":%q}}`, uuid.New(), orderID)
}

// ruleError describes itself as permanent or not.
type ruleError struct{ permanent bool }

func (ruleError) Error() string     { return "rule" }
func (e ruleError) Permanent() bool { return e.permanent }

func TestDecodedClassifiesTheErrorOfEachEvent(t *testing.T) {
	t.Parallel()
	errBad, errDown, errBusy, errOther := errors.New("bad"), errors.New("down"), errors.New("busy"), errors.New("other")
	for name, tc := range map[string]struct {
		bodies []string
		want   []error
		done   []string
	}{
		"no error":                {[]string{"a", "b"}, []error{nil, nil}, []string{"a", "b"}},
		"one undecodable":         {[]string{"a", "", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"all undecodable":         {[]string{"", ""}, []error{broker.ErrPoison, broker.ErrPoison}, nil},
		"panic in decode":         {[]string{"a", "undecodable", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"panic in done":           {[]string{"a", "late", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"permanent by faults":     {[]string{"a", "bad", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"panic in do":             {[]string{"a", "panic", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"database down":           {[]string{"a", "down", ""}, []error{broker.ErrUnavailable, broker.ErrUnavailable, broker.ErrPoison}, nil},
		"busy item":               {[]string{"a", "busy", "b"}, []error{nil, broker.ErrBusy, nil}, []string{"a", "b"}},
		"unexpected error":        {[]string{"a", "other", "b"}, []error{nil, errOther, nil}, []string{"a", "b"}},
		"permanent by method":     {[]string{"a", "rule", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"not permanent by method": {[]string{"a", "soft rule", "b"}, []error{nil, ruleError{false}, nil}, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var done []string
			handle := broker.Decoded(
				func(e events.Envelope) (string, error) {
					var o events.OrderCreated
					err := e.Decode(&o)
					if o.OrderID == "undecodable" {
						panic("in decode")
					}
					return o.OrderID, err
				},
				func(_ context.Context, set []inbox.Event[string]) ([]int, error) {
					var items []string
					for _, e := range set {
						items = append(items, e.Data)
					}
					switch {
					case slices.Contains(items, "bad"):
						return nil, errBad
					case slices.Contains(items, "down"):
						return nil, errDown
					case slices.Contains(items, "busy"):
						return nil, errBusy
					case slices.Contains(items, "other"):
						return nil, errOther
					case slices.Contains(items, "rule"):
						return nil, fmt.Errorf("wrapped: %w", ruleError{true})
					case slices.Contains(items, "soft rule"):
						return nil, fmt.Errorf("wrapped: %w", ruleError{false})
					case slices.Contains(items, "panic"):
						panic("panic")
					}
					return make([]int, len(items)), nil
				},
				batch.Faults{
					Whole:     func(err error) bool { return errors.Is(err, errDown) },
					Busy:      func(err error) bool { return errors.Is(err, errBusy) },
					Permanent: func(err error) bool { return errors.Is(err, errBad) },
				},
				func(_ context.Context, e inbox.Event[string], _ int) {
					if e.Data == "late" {
						panic("in done")
					}
					done = append(done, e.Data)
				})
			received := make([]broker.Received, len(tc.bodies))
			for i, b := range tc.bodies {
				if b != "" {
					received[i].Body = message(b)
				}
			}
			errs := handle(t.Context(), received)
			require.Len(t, errs, len(tc.want))
			for i, want := range tc.want {
				require.ErrorIs(t, errs[i], want)
				if !errors.Is(want, broker.ErrPoison) {
					require.NotErrorIs(t, errs[i], broker.ErrPoison)
				}
			}
			require.Equal(t, tc.done, done)
		})
	}
}

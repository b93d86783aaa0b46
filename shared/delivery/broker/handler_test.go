package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/broker"
)

func message(orderID string) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","id":"x","type":"order.created.v1","data":{"order_id":%q}}`, orderID)
}

func TestDecodedSaysWhatBecomesOfEachMessage(t *testing.T) {
	t.Parallel()
	errBad, errDown, errBusy, errOther := errors.New("bad"), errors.New("down"), errors.New("busy"), errors.New("other")
	for name, tc := range map[string]struct {
		bodies []string
		want   []error
		done   []string
	}{
		"all well":               {[]string{"a", "b"}, []error{nil, nil}, []string{"a", "b"}},
		"undecodable alone":      {[]string{"a", "", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"nothing decodable":      {[]string{"", ""}, []error{broker.ErrPoison, broker.ErrPoison}, nil},
		"panic in decode alone":  {[]string{"a", "undecodable", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"panic after it alone":   {[]string{"a", "late", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"bad item alone":         {[]string{"a", "bad", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"panic alone":            {[]string{"a", "panic", "b"}, []error{nil, broker.ErrPoison, nil}, []string{"a", "b"}},
		"database down: all":     {[]string{"a", "down", ""}, []error{broker.ErrUnavailable, broker.ErrUnavailable, broker.ErrPoison}, nil},
		"busy item alone":        {[]string{"a", "busy", "b"}, []error{nil, broker.ErrBusy, nil}, []string{"a", "b"}},
		"unexpected error alone": {[]string{"a", "other", "b"}, []error{nil, errOther, nil}, []string{"a", "b"}},
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
				func(_ context.Context, items []string) ([]int, error) {
					switch {
					case slices.Contains(items, "bad"):
						return nil, errBad
					case slices.Contains(items, "down"):
						return nil, errDown
					case slices.Contains(items, "busy"):
						return nil, errBusy
					case slices.Contains(items, "other"):
						return nil, errOther
					case slices.Contains(items, "panic"):
						panic("panic")
					}
					return make([]int, len(items)), nil
				},
				batch.Faults{
					Whole: func(err error) bool { return errors.Is(err, errDown) },
					Busy:  func(err error) bool { return errors.Is(err, errBusy) },
				},
				func(err error) bool { return errors.Is(err, errBad) },
				func(_ context.Context, item string, _ int) {
					if item == "late" {
						panic("in done")
					}
					done = append(done, item)
				})
			bodies := make([][]byte, len(tc.bodies))
			for i, b := range tc.bodies {
				if b != "" {
					bodies[i] = message(b)
				}
			}
			errs := handle(t.Context(), bodies)
			require.Len(t, errs, len(tc.want))
			for i, want := range tc.want {
				require.ErrorIs(t, errs[i], want)
			}
			require.Equal(t, tc.done, done)
		})
	}
}

package inbox_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/inbox"
)

// table is an inbox in memory. Package deliverytest tests the real one.
type table map[uuid.UUID]bool

func (t table) Claim(_ context.Context, ids ...uuid.UUID) (map[uuid.UUID]bool, error) {
	fresh := map[uuid.UUID]bool{}
	for _, id := range ids {
		if !t[id] {
			fresh[id], t[id] = true, true
		}
	}
	return fresh, nil
}

func TestClaim(t *testing.T) {
	t.Parallel()
	message, other, a, b, c := uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New()
	in := func(claim, id uuid.UUID) inbox.Event[string] { return inbox.Event[string]{ID: id, Claim: claim} }
	for name, tc := range map[string]struct {
		before table
		set    []inbox.Event[string]
		fresh  []bool
	}{
		"the events of a message":              {table{}, []inbox.Event[string]{in(message, a), in(message, b)}, []bool{true, true}},
		"a message delivered again":            {table{message: true}, []inbox.Event[string]{in(message, a), in(message, b)}, []bool{false, false}},
		"a message delivered twice in a set":   {table{}, []inbox.Event[string]{in(message, a), in(message, b), in(other, c), in(message, a), in(message, b)}, []bool{true, true, true, false, false}},
		"an event in two messages of a set":    {table{}, []inbox.Event[string]{in(message, a), in(other, a), in(other, b)}, []bool{true, false, true}},
		"a message whose events are split":     {table{a: true}, []inbox.Event[string]{in(a, a), in(b, b)}, []bool{false, true}},
		"a split event with its whole message": {table{}, []inbox.Event[string]{in(a, a), in(message, a), in(message, b)}, []bool{true, false, true}},
	} {
		fresh, err := inbox.Claim(t.Context(), tc.before, tc.set)
		require.NoError(t, err, name)
		require.Equal(t, tc.fresh, fresh, name)
	}
}

var errDown = errors.New("down")

type brokenTable struct{}

func (brokenTable) Claim(context.Context, ...uuid.UUID) (map[uuid.UUID]bool, error) {
	return nil, errDown
}

func TestFailedClaimIsReported(t *testing.T) {
	t.Parallel()
	_, err := inbox.Claim(t.Context(), brokenTable{}, []inbox.Event[string]{{ID: uuid.New()}})
	require.ErrorIs(t, err, errDown)
}

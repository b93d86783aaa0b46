package inbox_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/inbox"
)

func TestFresh(t *testing.T) {
	t.Parallel()
	message, other, a, b, c := uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New()
	in := func(claim, id uuid.UUID) inbox.Event[string] { return inbox.Event[string]{ID: id, Claim: claim} }
	for name, tc := range map[string]struct {
		before []uuid.UUID // claimed
		set    []inbox.Event[string]
		fresh  []bool
	}{
		"the events of a message":              {nil, []inbox.Event[string]{in(message, a), in(message, b)}, []bool{true, true}},
		"a message delivered again":            {[]uuid.UUID{message}, []inbox.Event[string]{in(message, a), in(message, b)}, []bool{false, false}},
		"a message delivered twice in a set":   {nil, []inbox.Event[string]{in(message, a), in(message, b), in(other, c), in(message, a), in(message, b)}, []bool{true, true, true, false, false}},
		"an event in two messages of a set":    {nil, []inbox.Event[string]{in(message, a), in(other, a), in(other, b)}, []bool{true, false, true}},
		"a message whose events are split":     {[]uuid.UUID{a}, []inbox.Event[string]{in(a, a), in(b, b)}, []bool{false, true}},
		"a split event with its whole message": {nil, []inbox.Event[string]{in(a, a), in(message, a), in(message, b)}, []bool{true, false, true}},
	} {
		claimed := map[uuid.UUID]bool{}
		for _, id := range inbox.Claims(tc.set) {
			claimed[id] = !slices.Contains(tc.before, id)
		}
		require.Equal(t, tc.fresh, inbox.Fresh(tc.set, claimed), name)
	}
}

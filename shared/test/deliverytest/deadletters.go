package deliverytest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/deadletters"
)

var deadLetterTests = map[string]func(*testing.T, *fixture){
	"none is lost, for every interleaving":                          deadLettersInterleave,
	"every message can be stored":                                   deadLettersStored,
	"messages with the same id and different bodies are kept apart": deadLettersWithTheSameID,
}

// shop is a broker and a consumer, simulated, with a real table of dead letters. The consumer
// fails on events that contain "bad".
type shop struct {
	store      *deadletters.Store
	live, dead []broker.DeadLetter
	events     []uuid.UUID // that have failed
	effects    map[string]bool
}

func (s *shop) body(event uuid.UUID, data string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"data":%q}`, event, data)
}

func eventOf(body []byte) string { return string(body[7:43]) }

// consume handles one of the live messages, not necessarily the first.
func (s *shop) consume(t *rapid.T) {
	if len(s.live) == 0 {
		t.Skip("no messages")
	}
	i := rapid.IntRange(0, len(s.live)-1).Draw(t, "message")
	m := s.live[i]
	s.live = slices.Delete(s.live, i, i+1)
	switch event := eventOf(m.Body); {
	case s.effects[event]: // claimed
	case strings.Contains(string(m.Body), "bad"):
		s.dead = append(s.dead, m)
	default:
		s.effects[event] = true
	}
}

// collect stores some of the dead letters. It may die before they are acked.
func (s *shop) collect(t *rapid.T) {
	n := rapid.IntRange(0, len(s.dead)).Draw(t, "messages")
	require.NoError(t, s.store.Collect(t.Context(), slices.Clone(s.dead[:n]), "test"))
	if rapid.Bool().Draw(t, "acked") {
		s.dead = s.dead[n:]
	}
}

// retry may die after each of its steps.
func (s *shop) retry(t *rapid.T, id uuid.UUID) {
	l, err := s.store.StartRetry(t.Context(), id, "test")
	require.NoError(t, err)
	if rapid.Bool().Draw(t, "dies before it is published") {
		return
	}
	s.live = append(s.live, l.DeadLetter)
	if rapid.Bool().Draw(t, "dies before it is finished") {
		return
	}
	require.NoError(t, s.store.FinishRetry(t.Context(), l))
}

// verify requires that each event takes effect, waits in a queue, or is shown to an operator.
func (s *shop) verify(t *rapid.T, letters []deadletters.Letter) {
	for _, id := range s.events {
		event := id.String()
		queued := func(m broker.DeadLetter) bool { return eventOf(m.Body) == event }
		shown := func(l deadletters.Letter) bool { return queued(l.DeadLetter) && l.State != deadletters.Retried }
		require.True(t, s.effects[event] || slices.ContainsFunc(s.live, queued) || slices.ContainsFunc(s.dead, queued) ||
			slices.ContainsFunc(letters, shown), "event %s is lost", event)
	}
}

func deadLettersInterleave(t *testing.T, f *fixture) {
	rapid.Check(t, func(t *rapid.T) {
		s := &shop{store: deadletters.NewStore(f.db, f.schema), effects: map[string]bool{}}
		queue := uuid.NewString() // all checks use one table
		list := func(t *rapid.T) []deadletters.Letter {
			letters, err := s.store.List(t.Context(), deadletters.Filter{Closed: true, Max: 1000, Queue: queue})
			require.NoError(t, err)
			return letters
		}
		pick := func(t *rapid.T) deadletters.Letter {
			letters := list(t)
			if len(letters) == 0 {
				t.Skip("no letters")
			}
			return rapid.SampledFrom(letters).Draw(t, "letter")
		}
		verifyChange := func(t *rapid.T, before deadletters.Letter, err error) {
			if before.State == deadletters.Open {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, deadletters.ErrState)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { s.verify(t, list(t)) },
			"fail": func(t *rapid.T) {
				id := uuid.New()
				s.events = append(s.events, id)
				m := broker.DeadLetter{Queue: queue, Body: s.body(id, "bad")}
				s.dead = append(s.dead, slices.Repeat([]broker.DeadLetter{m}, rapid.IntRange(1, 2).Draw(t, "copies"))...)
			},
			"consume": s.consume,
			"collect": s.collect,
			"retry":   func(t *rapid.T) { s.retry(t, pick(t).ID) },
			"edit": func(t *rapid.T) {
				l := pick(t)
				data := rapid.SampledFrom([]string{"good", "bad", "another bad"}).Draw(t, "data")
				verifyChange(t, l, s.store.Edit(t.Context(), l.ID, "test", func(l *deadletters.Letter) ([]byte, error) {
					return s.body(uuid.MustParse(eventOf(l.Body)), data), nil
				}))
			},
			"discard": func(t *rapid.T) {
				l := pick(t)
				verifyChange(t, l, s.store.Discard(t.Context(), l.ID, "test", "why"))
			},
		})
	})
}

func deadLettersStored(t *testing.T, f *fixture) {
	store := deadletters.NewStore(f.db, f.schema)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.Just("\x00"), rapid.Just("\\u0000"))
		m := broker.DeadLetter{
			Queue: "any", RoutingKey: text.Draw(t, "key"), Reason: text.Draw(t, "reason"), Body: []byte(text.Draw(t, "body")),
			Properties: broker.Properties{MessageID: text.Draw(t, "id"), Headers: map[string]any{text.Draw(t, "name"): text.Draw(t, "value")}},
		}
		require.NoError(t, store.Collect(t.Context(), []broker.DeadLetter{m}, text.Draw(t, "operator")))
		all, err := store.List(t.Context(), deadletters.Filter{Max: 100_000})
		require.NoError(t, err)
		require.True(t, slices.ContainsFunc(all, func(l deadletters.Letter) bool { return string(l.Body) == string(m.Body) }))
	})
}

func deadLettersWithTheSameID(t *testing.T, f *fixture) {
	store, id := deadletters.NewStore(f.db, f.schema), uuid.New()
	var messages []broker.DeadLetter
	for _, data := range []string{"1", "2", "1", "2"} {
		messages = append(messages, broker.DeadLetter{Queue: "any", Body: fmt.Appendf(nil, `{"id": %q, "data": %s}`, id, data)})
	}
	for range 2 {
		require.NoError(t, store.Collect(t.Context(), messages, "test"))
		all, err := store.List(t.Context(), deadletters.Filter{Max: 10})
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.NotEqual(t, all[0].Body, all[1].Body)
	}
}

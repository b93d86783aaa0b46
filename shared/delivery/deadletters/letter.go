package deadletters

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
)

// State is the state of a [Letter].
type State string

// The states of a letter.
const (
	Open      State = "open"
	Retrying  State = "retrying" // it may have been published
	Retried   State = "retried"
	Discarded State = "discarded"
)

// closed reports whether nothing is left to be done.
func (s State) closed() bool { return s == Retried || s == Discarded }

// Errors of actions on a letter that does not exist or whose state does not allow them.
var (
	ErrNotFound = errors.New("no such dead letter")
	ErrState    = errors.New("not possible in this state")
	ErrInvalid  = errors.New("the event is invalid")
)

// Letter is a dead letter in the table. Body is what the next retry publishes, and Retry is
// the number of the last one.
type Letter struct {
	broker.DeadLetter
	ID       uuid.UUID
	State    State
	Original []byte // the body that failed first
}

// eventID returns the id of an encoded event, even if the event is invalid otherwise.
func eventID(body []byte) (uuid.UUID, bool) {
	var e struct{ ID string }
	if events.IsBatch(body) || json.Unmarshal(body, &e) != nil {
		return uuid.UUID{}, false
	}
	id, err := uuid.Parse(e.ID)
	return id, err == nil
}

// letterID returns the id of a letter: that of its event, or of its message if it is a batch.
func letterID(m broker.DeadLetter) uuid.UUID {
	if id, ok := eventID(m.Body); ok {
		return id
	}
	if _, err := events.Split(m.Body); err == nil && events.IsBatch(m.Body) {
		if id, err := uuid.Parse(m.Properties.MessageID); err == nil {
			return id
		}
	}
	return contentID(m)
}

// contentID returns an id for a message that has none, or that of another message: a UUIDv7
// whose random part is a hash of the body. So it is the same when the message is redelivered.
func contentID(m broker.DeadLetter) uuid.UUID {
	hash := sha256.Sum256(m.Body)
	id := uuid.UUID(hash[:16])
	var at [8]byte
	if !m.FailedAt.IsZero() {
		binary.BigEndian.PutUint64(at[:], uint64(m.FailedAt.UnixMilli()))
	}
	copy(id[:6], at[2:])
	id[6], id[8] = 0x70|id[6]&0x0f, 0x80|id[8]&0x3f
	return id
}

// place decides which letter a collected message belongs to. known contains the stored
// letters with [candidates] as their ids. If the message tells nothing new, changed is false.
func place(m broker.DeadLetter, known map[uuid.UUID]*Letter) (l *Letter, changed bool) {
	if l := known[m.RetryOf]; m.Retry > 0 && l != nil && bytes.Equal(l.Body, m.Body) {
		latest := m.Retry == l.Retry && (l.State == Retrying || l.State == Retried)
		return l.reopened(m), latest || m.Retry > l.Retry
	}
	id := letterID(m)
	l = known[id]
	if l != nil && !bytes.Equal(l.Original, m.Body) && !bytes.Equal(l.Body, m.Body) {
		id = contentID(m) // two messages with the same id
		l = known[id]
	}
	if l == nil {
		l = &Letter{DeadLetter: m, ID: id, State: Open, Original: m.Body}
		l.RetryOf, l.Retry = id, 0
		return l, true
	}
	// A copy of a message that was stored: it was redelivered, or dead-lettered twice. But if
	// it was retried as another letter, by another service, it has failed again.
	return l.reopened(m), m.Retry > 0 && m.RetryOf != l.ID && l.State.closed()
}

// candidates returns the ids of the letters that a message may belong to.
func candidates(m broker.DeadLetter) []uuid.UUID {
	return []uuid.UUID{m.RetryOf, letterID(m), contentID(m)}
}

// reopened returns a copy of l that has failed again as m.
func (l *Letter) reopened(m broker.DeadLetter) *Letter {
	r := &Letter{DeadLetter: m, ID: l.ID, State: Open, Original: l.Original}
	r.RetryOf, r.Retry = l.ID, max(l.Retry, m.Retry)
	return r
}

// withData returns the body of the letter with other event data. All attributes of the event
// stay as they are.
func (l *Letter) withData(data []byte) ([]byte, error) {
	var event map[string]json.RawMessage
	if err := json.Unmarshal(l.Body, &event); err != nil {
		return nil, fmt.Errorf("%w: it cannot be decoded, so it has to be replaced as a whole: %w", ErrInvalid, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return nil, fmt.Errorf("%w: data: %w", ErrInvalid, err)
	}
	event["data"] = compact.Bytes()
	return json.Marshal(event)
}

// withEvent returns another event as the body of the letter. It keeps the id, by which the
// consumer detects that it has handled the event before.
func (l *Letter) withEvent(body []byte) ([]byte, error) {
	var event map[string]json.RawMessage
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if event == nil {
		return nil, fmt.Errorf("%w: not an object", ErrInvalid)
	}
	id, ok := eventID(l.Body)
	if !ok {
		id = l.ID
	}
	event["id"], _ = json.Marshal(id) // never fails
	return json.Marshal(event)
}

// failedAt returns when the message failed, or now if that is unknown.
func failedAt(m broker.DeadLetter, now time.Time) time.Time {
	if m.FailedAt.IsZero() {
		return now
	}
	return m.FailedAt
}

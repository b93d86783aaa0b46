package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Content types of a [Message].
const (
	ContentType      = "application/cloudevents+json"       // one event
	BatchContentType = "application/cloudevents-batch+json" // an array of events
)

// Message is what the broker transports: one event, or a batch of events of the same type
// that one transaction has emitted.
type Message struct {
	ID          string // a UUIDv7; that of the event if there is only one
	Source      string
	Type        string // of its events, and the routing key
	Time        time.Time
	ContentType string
	Body        []byte
}

// Encode returns the body of a message with one event, or with a batch.
func Encode(envelopes ...Envelope) (body []byte, contentType string, err error) {
	var v any = envelopes
	contentType = BatchContentType
	if len(envelopes) == 1 {
		v, contentType = envelopes[0], ContentType
	}
	if body, err = json.Marshal(v); err != nil {
		return nil, "", fmt.Errorf("encode events: %w", err)
	}
	return body, contentType, nil
}

// Split returns the encoded events of a message. A body that is not an array is returned
// as it is, as a single event. Each event has to be checked by [Parse], so that an invalid
// one does not affect the others. The error wraps [ErrMalformed].
func Split(body []byte) ([]json.RawMessage, error) {
	if !IsBatch(body) {
		return []json.RawMessage{body}, nil
	}
	all, rest := elements(bytes.TrimLeft(body, space)[1:])
	if len(all) == 0 || len(bytes.TrimLeft(rest, space)) > 0 {
		return nil, fmt.Errorf("%w: not an array of events", ErrMalformed)
	}
	return all, nil
}

const space = " \t\r\n"

// elements returns the elements of a JSON array, without checking them, and what follows the
// array. array begins after the opening bracket. If it is not an array, elements returns
// none. It takes a fraction of the time of encoding/json, which would check each element
// twice more than [Parse] does.
func elements(array []byte) (all []json.RawMessage, rest []byte) {
	start, depth := 0, 0
	for i := 0; i < len(array); i++ {
		switch array[i] {
		case '"':
			for i++; i < len(array) && array[i] != '"'; i++ {
				if array[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth > 0 {
				depth--
				continue
			}
			if element := bytes.Trim(array[start:i], space); len(element) > 0 && array[i] == ']' {
				return append(all, json.RawMessage(element)), array[i+1:]
			}
			return nil, nil
		case ',':
			if depth > 0 {
				continue
			}
			element := bytes.Trim(array[start:i], space)
			if len(element) == 0 {
				return nil, nil
			}
			all, start = append(all, json.RawMessage(element)), i+1
		}
	}
	return nil, nil
}

// IsBatch reports whether the body of a message is an array of events.
func IsBatch(body []byte) bool {
	body = bytes.TrimLeft(body, space)
	return len(body) > 0 && body[0] == '['
}

// Published returns a copy of a batch in which each event has the attribute publishedat.
// None may have it yet. It inserts the attribute into the text, because a batch is encoded
// when it is written to the outbox and published moments later.
func Published(batch []byte, at time.Time) ([]byte, error) {
	all, err := Split(batch)
	if err != nil {
		return nil, err
	}
	attribute := fmt.Appendf(nil, `,"publishedat":%q}`, at.UTC().Format(time.RFC3339Nano))
	stamped := make([]byte, 0, len(batch)+len(all)*len(attribute))
	for i, event := range all {
		stamped = append(stamped, "[,"[min(i, 1)])
		stamped = append(append(stamped, event[:len(event)-1]...), attribute...) // event ends with }
	}
	return append(stamped, ']'), nil
}

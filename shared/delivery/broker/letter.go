package broker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

// HeaderRetry is a header of a retried dead letter: its id, a slash, and the number of the
// retry.
const HeaderRetry = "gozon-retry"

// DeadLetter is a message in a dead-letter queue or in [Unrouted].
type DeadLetter struct {
	Queue      string
	RoutingKey string // that it was first published with
	Reason     string
	FailedAt   time.Time // when it was dead-lettered; zero if unknown
	RetryOf    uuid.UUID // the dead letter that it is a retry of; zero if none
	Retry      int       // the number of that retry, from 1
	Properties Properties
	Body       []byte
}

// Properties are the properties of a message, which can be stored as JSON. Of the types of
// AMQP headers, times, bytes and decimals become strings.
type Properties struct {
	ContentType     string         `json:"content_type,omitempty"`
	ContentEncoding string         `json:"content_encoding,omitempty"`
	Priority        uint8          `json:"priority,omitempty"`
	CorrelationID   string         `json:"correlation_id,omitempty"`
	ReplyTo         string         `json:"reply_to,omitempty"`
	Expiration      string         `json:"expiration,omitempty"`
	MessageID       string         `json:"message_id,omitempty"`
	Timestamp       time.Time      `json:"timestamp,omitzero"`
	Type            string         `json:"type,omitempty"`
	UserID          string         `json:"user_id,omitempty"`
	AppID           string         `json:"app_id,omitempty"`
	Headers         map[string]any `json:"headers,omitempty"`
}

// Publisher returns the user that has published the event, as far as the broker or the
// consumer that dead-lettered it has seen. It is empty if that is unknown.
func (l DeadLetter) Publisher() string {
	f, dead := flows[strings.TrimSuffix(l.Queue, DeadSuffix)]
	if dead && l.Properties.UserID == f.consumer { // a copy by the consumer
		publisher, _ := l.Properties.Headers[HeaderPublisher].(string)
		return publisher
	}
	return l.Properties.UserID
}

// Proven reports whether the consumer would have believed the event without a retry by an
// operator.
func (l DeadLetter) Proven() bool {
	f, dead := flows[strings.TrimSuffix(l.Queue, DeadSuffix)]
	if !dead {
		f = flowOf(l.RoutingKey)
	}
	return f.believes(l.Publisher())
}

func newDeadLetter(queue string, d amqp.Delivery) DeadLetter {
	l := DeadLetter{
		Queue: queue, RoutingKey: d.RoutingKey, Reason: header(d, HeaderReason), Body: d.Body,
		Properties: Properties{
			ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Priority: d.Priority, CorrelationID: d.CorrelationId,
			ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageID: d.MessageId, Timestamp: jsonTime(d.Timestamp), Type: d.Type,
			UserID: d.UserId, AppID: d.AppId, Headers: jsonTable(d.Headers),
		},
	}
	if queue == Unrouted {
		l.Reason = "no queue is bound for routing key " + d.RoutingKey
	} else if key := header(d, HeaderRoutingKey); key != "" {
		l.RoutingKey = key
	}
	l.FailedAt, _ = time.Parse(time.RFC3339, header(d, HeaderFailedAt))
	if id, n, ok := strings.Cut(header(d, HeaderRetry), "/"); ok {
		if l.RetryOf, _ = uuid.Parse(id); l.RetryOf != uuid.Nil {
			l.Retry, _ = strconv.Atoi(n)
		}
	}
	return l
}

func header(d amqp.Delivery, name string) string {
	s, _ := d.Headers[name].(string)
	return s
}

// publishing returns a message with the properties, to be published by user. It never
// expires, and it has no headers that describe an earlier failure.
func (p Properties) publishing(user string) amqp.Publishing {
	headers := amqpTable(p.Headers)
	for name := range headers {
		switch name {
		case HeaderReason, HeaderFailedAt, HeaderPublisher, "x-death", "x-delivery-count", "x-acquired-count":
			delete(headers, name)
		default:
			if strings.HasPrefix(name, "x-first-death-") || strings.HasPrefix(name, "x-last-death-") {
				delete(headers, name)
			}
		}
	}
	return amqp.Publishing{
		Headers: headers, ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, DeliveryMode: amqp.Persistent,
		Priority: p.Priority, CorrelationId: p.CorrelationID, ReplyTo: p.ReplyTo,
		MessageId: p.MessageID, Timestamp: p.Timestamp, Type: p.Type, AppId: p.AppID, UserId: user,
	}
}

// UnmarshalJSON keeps the integers among the headers exact.
func (p *Properties) UnmarshalJSON(b []byte) error {
	type plain Properties
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode((*plain)(p))
}

// jsonTime returns t, or zero if JSON has no representation of it.
func jsonTime(t time.Time) time.Time {
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return time.Time{}
	}
	return t.UTC()
}

// jsonTable returns a copy of a table that can be encoded as JSON.
func jsonTable(t amqp.Table) map[string]any {
	table := make(map[string]any, len(t))
	for name, v := range t {
		table[name] = jsonValue(v)
	}
	return table
}

func jsonValue(v any) any {
	switch v := v.(type) {
	case amqp.Table:
		return jsonTable(v)
	case []any:
		all := make([]any, len(v))
		for i, e := range v {
			all[i] = jsonValue(e)
		}
		return all
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case float32:
		return jsonValue(float64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
		return v
	case amqp.Decimal:
		return fmt.Sprintf("%de-%d", v.Value, v.Scale)
	default: // nil, a bool, a string or an integer
		return v
	}
}

// amqpTable is the inverse of jsonTable.
func amqpTable(table map[string]any) amqp.Table {
	t := make(amqp.Table, len(table))
	for name, v := range table {
		t[name] = amqpValue(v)
	}
	return t
}

func amqpValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return amqpTable(v)
	case []any:
		all := make([]any, len(v))
		for i, e := range v {
			all[i] = amqpValue(e)
		}
		return all
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	default:
		return v
	}
}

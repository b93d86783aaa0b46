// Package events defines the contracts between the services: the events that they publish
// and their wire format.
//
// The envelope is CloudEvents 1.0 in JSON. A [Message] contains one event or a batch. A type
// may gain fields, which old readers ignore. Any other change requires a new type with a
// higher major version. The golden files in testdata, one for each revision of a type, are
// tested by the producer and by the consumer of each event. The contracts are published in
// docs/asyncapi.yaml and as JSON Schemas in docs/events, which are generated from these types.
package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Event types. The type is also the routing key of the event.
const (
	TypeOrderCreated         = "order.created.v1"
	TypeOrderCancelRequested = "order.cancel_requested.v1"
	TypePaymentSucceeded     = "payment.succeeded.v1"
	TypePaymentFailed        = "payment.failed.v1"
	TypePaymentVoided        = "payment.voided.v1"
	TypePaymentRefunded      = "payment.refunded.v1"
)

// Event is the data of one event. Its type and subject are fields of the envelope.
type Event interface {
	// EventType returns one of the Type constants.
	EventType() string
	// EventSubject returns the id of the order that the event is about.
	EventSubject() string
}

// OrderCreated is published when an order was accepted and is waiting for payment.
type OrderCreated struct {
	OrderID string `json:"order_id"`
	UserID  int64  `json:"user_id"`
	Amount  int64  `json:"amount_minor"` // in minor units
}

// OrderCancelRequested is published when the user requests the cancellation of an order.
// Payments voids the payment if it was not charged yet, and refunds it otherwise.
type OrderCancelRequested struct {
	OrderID string `json:"order_id"`
	UserID  int64  `json:"user_id"`
	Amount  int64  `json:"amount_minor"` // in minor units
}

// PaymentSucceeded is published when the order's amount was charged to the user's account.
type PaymentSucceeded struct {
	OrderID     string    `json:"order_id"`
	UserID      int64     `json:"user_id"`
	Amount      int64     `json:"amount_minor"`          // in minor units
	PublishedAt time.Time `json:"published_at,omitzero"` // when the order's [OrderCreated] was published
	ChargedAt   time.Time `json:"charged_at,omitzero"`
}

// PaymentFailed is published when the payment was refused and nothing was charged.
type PaymentFailed struct {
	OrderID     string        `json:"order_id"`
	UserID      int64         `json:"user_id"`
	Amount      int64         `json:"amount_minor"`          // in minor units
	Reason      FailureReason `json:"reason"`                // readers must accept unknown reasons
	PublishedAt time.Time     `json:"published_at,omitzero"` // when the order's [OrderCreated] was published
	RefusedAt   time.Time     `json:"refused_at,omitzero"`
}

// PaymentVoided is a reply to [OrderCancelRequested]. Nothing was charged for the order,
// and nothing will be.
type PaymentVoided struct {
	OrderID     string    `json:"order_id"`
	UserID      int64     `json:"user_id"`
	Amount      int64     `json:"amount_minor"`          // in minor units
	PublishedAt time.Time `json:"published_at,omitzero"` // when the order's [OrderCreated] was published, if before the cancellation
	RefusedAt   time.Time `json:"refused_at,omitzero"`   // when the payment was refused, if before the cancellation
	VoidedAt    time.Time `json:"voided_at"`
}

// PaymentRefunded is a reply to [OrderCancelRequested]. The charge for the order was
// refunded.
type PaymentRefunded struct {
	OrderID     string    `json:"order_id"`
	UserID      int64     `json:"user_id"`
	Amount      int64     `json:"amount_minor"`          // in minor units
	PublishedAt time.Time `json:"published_at,omitzero"` // when the order's [OrderCreated] was published
	ChargedAt   time.Time `json:"charged_at"`
	RefundedAt  time.Time `json:"refunded_at"`
}

// FailureReason is the reason why a payment was refused. Readers must accept unknown
// reasons.
type FailureReason string

// Reasons of [PaymentFailed].
const (
	ReasonInsufficientFunds FailureReason = "insufficient_funds"
	ReasonAccountNotFound   FailureReason = "account_not_found"
)

// EventType implements [Event].
func (OrderCreated) EventType() string { return TypeOrderCreated }

// EventSubject implements [Event].
func (e OrderCreated) EventSubject() string { return e.OrderID }

// EventType implements [Event].
func (OrderCancelRequested) EventType() string { return TypeOrderCancelRequested }

// EventSubject implements [Event].
func (e OrderCancelRequested) EventSubject() string { return e.OrderID }

// EventType implements [Event].
func (PaymentSucceeded) EventType() string { return TypePaymentSucceeded }

// EventSubject implements [Event].
func (e PaymentSucceeded) EventSubject() string { return e.OrderID }

// EventType implements [Event].
func (PaymentFailed) EventType() string { return TypePaymentFailed }

// EventSubject implements [Event].
func (e PaymentFailed) EventSubject() string { return e.OrderID }

// EventType implements [Event].
func (PaymentVoided) EventType() string { return TypePaymentVoided }

// EventSubject implements [Event].
func (e PaymentVoided) EventSubject() string { return e.OrderID }

// EventType implements [Event].
func (PaymentRefunded) EventType() string { return TypePaymentRefunded }

// EventSubject implements [Event].
func (e PaymentRefunded) EventSubject() string { return e.OrderID }

// Envelope is a CloudEvents 1.0 event in JSON format. It uses the distributed tracing
// extension and publishedat, an extension of the shop. Times are UTC.
type Envelope struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`      // a UUIDv7, by which a consumer's inbox detects duplicates
	Source          string          `json:"source"`  // the service that sent it
	Type            string          `json:"type"`    // also the routing key
	Subject         string          `json:"subject"` // the id of the order that the event is about
	Time            time.Time       `json:"time"`    // when the event was written to the outbox
	DataContentType string          `json:"datacontenttype"`
	TraceParent     string          `json:"traceparent,omitempty"` // W3C Trace Context
	PublishedAt     time.Time       `json:"publishedat,omitzero"`  // when the relay sent it to the broker
	Data            json.RawMessage `json:"data"`
}

// ErrMalformed is wrapped by every error of [Parse] and [Envelope.Decode]. The message can
// never be decoded, so a retry cannot help.
var ErrMalformed = errors.New("malformed event")

// Parse decodes an envelope. It checks the fields that every consumer requires and ignores
// unknown ones.
func Parse(body []byte) (Envelope, error) {
	var e Envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case e.SpecVersion != "1.0":
		return Envelope{}, fmt.Errorf("%w: specversion %q", ErrMalformed, e.SpecVersion)
	case e.ID == "" || e.Type == "" || len(e.Data) == 0:
		return Envelope{}, fmt.Errorf("%w: id, type or data is missing", ErrMalformed)
	}
	return e, nil
}

// Decode decodes the data of an envelope into v, a pointer to one of the event types.
func (e Envelope) Decode(v Event) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMalformed, e.Type, err)
	}
	return nil
}

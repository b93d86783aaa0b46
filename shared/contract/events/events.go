// Package events holds the contracts between the services: which facts are
// published, and what they look like on the wire.
//
// The envelope is CloudEvents 1.0 in JSON. A contract grows by adding fields that
// old readers ignore; anything else is a new type with a higher major version.
// The golden files in testdata, one for each revision of a type, are asserted by the
// producer of each event and by its consumer. The contracts are published as JSON
// Schemas in docs/events, made of these types, and in docs/asyncapi.yaml.
package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The types of events. A type is also the routing key that the event is
// published with.
const (
	TypeOrderCreated         = "order.created.v1"
	TypeOrderCancelRequested = "order.cancel_requested.v1"
	TypePaymentSucceeded     = "payment.succeeded.v1"
	TypePaymentFailed        = "payment.failed.v1"
	TypePaymentVoided        = "payment.voided.v1"
	TypePaymentRefunded      = "payment.refunded.v1"
)

// ContentType of an [Envelope] on the wire.
const ContentType = "application/cloudevents+json"

// Event is the data of one fact; its type and subject travel in the envelope.
type Event interface {
	// EventType is one of the Type constants.
	EventType() string
	// EventSubject is the id of the order that the fact is about.
	EventSubject() string
}

// OrderCreated says that an order was accepted and waits for its payment.
type OrderCreated struct {
	OrderID string `json:"order_id"`
	UserID  int64  `json:"user_id"`
	Amount  int64  `json:"amount_minor"` // in minor units
}

// OrderCancelRequested says that the order's user wants it cancelled: payments
// voids the payment if it was not charged yet, and refunds it otherwise.
type OrderCancelRequested struct {
	OrderID string `json:"order_id"`
	UserID  int64  `json:"user_id"`
	Amount  int64  `json:"amount_minor"` // in minor units
}

// PaymentSucceeded says that the order's price was taken from its user's account.
type PaymentSucceeded struct {
	OrderID     string    `json:"order_id"`
	UserID      int64     `json:"user_id"`
	Amount      int64     `json:"amount_minor"`          // in minor units
	PublishedAt time.Time `json:"published_at,omitzero"` // when the order's [OrderCreated] was published
	ChargedAt   time.Time `json:"charged_at,omitzero"`
}

// PaymentFailed says that the order was refused and no money moved.
type PaymentFailed struct {
	OrderID     string        `json:"order_id"`
	UserID      int64         `json:"user_id"`
	Amount      int64         `json:"amount_minor"`          // in minor units
	Reason      FailureReason `json:"reason"`                // readers must expect reasons that they do not know
	PublishedAt time.Time     `json:"published_at,omitzero"` // when the order's [OrderCreated] was published
	RefusedAt   time.Time     `json:"refused_at,omitzero"`
}

// PaymentVoided answers [OrderCancelRequested]: nothing was charged for the order,
// and nothing ever will be.
type PaymentVoided struct {
	OrderID     string    `json:"order_id"`
	UserID      int64     `json:"user_id"`
	Amount      int64     `json:"amount_minor"`          // in minor units
	PublishedAt time.Time `json:"published_at,omitzero"` // when the order's [OrderCreated] was published, if that came before the cancellation
	RefusedAt   time.Time `json:"refused_at,omitzero"`   // when the order was refused, if that came before the cancellation
	VoidedAt    time.Time `json:"voided_at"`
}

// PaymentRefunded answers [OrderCancelRequested]: what had been charged for the
// order was given back.
type PaymentRefunded struct {
	OrderID     string    `json:"order_id"`
	UserID      int64     `json:"user_id"`
	Amount      int64     `json:"amount_minor"`          // in minor units
	PublishedAt time.Time `json:"published_at,omitzero"` // when the order's [OrderCreated] was published
	ChargedAt   time.Time `json:"charged_at"`
	RefundedAt  time.Time `json:"refunded_at"`
}

// FailureReason says why a payment was refused. Readers must expect reasons that
// they do not know.
type FailureReason string

// The reasons of [PaymentFailed].
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

// Envelope is a CloudEvents 1.0 event in JSON format with the distributed tracing
// extension and one of the shop's own, publishedat. Times are UTC.
type Envelope struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`      // a UUIDv7, the message id that a consumer's inbox remembers
	Source          string          `json:"source"`  // the service that sent it
	Type            string          `json:"type"`    // also the routing key
	Subject         string          `json:"subject"` // the id of the order that the fact is about
	Time            time.Time       `json:"time"`    // when the fact was written
	DataContentType string          `json:"datacontenttype"`
	TraceParent     string          `json:"traceparent,omitempty"` // W3C Trace Context
	PublishedAt     time.Time       `json:"publishedat,omitzero"`  // when the relay handed it to the broker
	Data            json.RawMessage `json:"data"`
}

// ErrMalformed is wrapped by every error of [Parse] and [Envelope.Decode]: the
// message can never be understood, so trying again is of no use.
var ErrMalformed = errors.New("malformed event")

// Parse reads an envelope. It checks what every consumer relies on and ignores
// what it does not know.
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

// Decode reads the data of an envelope into v, a pointer to one of the events.
func (e Envelope) Decode(v Event) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMalformed, e.Type, err)
	}
	return nil
}

package order

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/money"
)

// storedOrder is the format in which an order is stored as the response to a request with
// an idempotency key. Responses are kept for a day, and during a deployment two versions
// of the service read each other's: add fields, never rename or remove one.
type storedOrder struct {
	ID           uuid.UUID    `json:"ID"`
	UserID       int64        `json:"UserID"`
	Item         string       `json:"Item"`
	Price        money.Amount `json:"Price"`
	Status       Status       `json:"Status"`
	CancelReason CancelReason `json:"CancelReason"`
	Version      int64        `json:"Version"`
	CreatedAt    time.Time    `json:"CreatedAt"`
	UpdatedAt    time.Time    `json:"UpdatedAt"`
	Saga         storedSaga   `json:"Saga"`
}

type storedSaga struct {
	PublishedAt       time.Time `json:"PublishedAt"`
	ChargedAt         time.Time `json:"ChargedAt"`
	RefusedAt         time.Time `json:"RefusedAt"`
	ConfirmedAt       time.Time `json:"ConfirmedAt"`
	CancelRequestedAt time.Time `json:"CancelRequestedAt"`
	RefundedAt        time.Time `json:"RefundedAt"`
}

func encodeOrder(o Order) ([]byte, error) {
	return json.Marshal(storedOrder{
		o.ID, o.UserID, o.Item, o.Price, o.Status, o.CancelReason, o.Version, o.CreatedAt, o.UpdatedAt, storedSaga(o.Saga),
	})
}

func decodeOrder(b []byte) (Order, error) {
	var s storedOrder
	if err := json.Unmarshal(b, &s); err != nil {
		return Order{}, err
	}
	return Order{
		s.ID, s.UserID, s.Item, s.Price, s.Status, s.CancelReason, s.Version, s.CreatedAt, s.UpdatedAt, Saga(s.Saga),
	}, nil
}

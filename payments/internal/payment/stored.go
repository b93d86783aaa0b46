package payment

import (
	"encoding/json"
	"time"

	"gozon/shared/contract/money"
)

// storedDeposit is the format in which a deposit is stored as the response to a request
// with an idempotency key. Responses are kept for a day, and during a deployment two
// versions of the service read each other's: add fields, never rename or remove one.
type storedDeposit struct {
	Account storedAccount `json:"Account"`
	Opened  bool          `json:"Opened"`
}

type storedAccount struct {
	UserID    int64        `json:"UserID"`
	Balance   money.Amount `json:"Balance"`
	Seq       int64        `json:"Seq"`
	Deposited money.Amount `json:"Deposited"`
	CreatedAt time.Time    `json:"CreatedAt"`
}

func encodeDeposited(d Deposited) ([]byte, error) {
	return json.Marshal(storedDeposit{storedAccount(d.Account), d.Opened})
}

func decodeDeposited(b []byte) (Deposited, error) {
	var s storedDeposit
	if err := json.Unmarshal(b, &s); err != nil {
		return Deposited{}, err
	}
	return Deposited{Account(s.Account), s.Opened}, nil
}

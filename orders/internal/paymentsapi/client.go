// Package paymentsapi reads payments from the payments service, over HTTP.
package paymentsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"gozon/orders/internal/order"
	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
)

// timeout bounds one request.
const timeout = 10 * time.Second

// Client implements order.Payments. It is safe for concurrent use.
type Client struct {
	url  string
	http http.Client
}

// New returns a client of the service at base, such as http://payments:8080.
func New(base string) *Client {
	return &Client{url: strings.TrimSuffix(base, "/") + audit.PaymentsPath, http: http.Client{Timeout: timeout}}
}

// In implements order.Payments.
func (c *Client) In(ctx context.Context, after, to uuid.UUID) ([]order.Payment, error) {
	return c.read(ctx, http.MethodGet, c.url+"?after="+after.String()+"&to="+to.String(), nil)
}

// Of implements order.Payments.
func (c *Client) Of(ctx context.Context, orders []uuid.UUID) ([]order.Payment, error) {
	ids := audit.IDs{OrderIDs: make([]string, len(orders))}
	for i, id := range orders {
		ids.OrderIDs[i] = id.String()
	}
	body, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	return c.read(ctx, http.MethodPost, c.url, body)
}

// read returns errors that wrap order.ErrNotCompared.
func (c *Client) read(ctx context.Context, method, target string, body []byte) (payments []order.Payment, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: read payments: %w", order.ErrNotCompared, err)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() {
		_, _ = io.Copy(io.Discard, resp.Body) // the connection is reused only after the whole body was read
		_ = resp.Body.Close()
	}()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	var page audit.Payments
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, err
	}
	payments = make([]order.Payment, len(page.Payments))
	for i, p := range page.Payments {
		id, err := uuid.Parse(p.OrderID)
		if err != nil {
			return nil, err
		}
		payments[i] = order.Payment{
			OrderID: id, UserID: p.UserID, Amount: money.Amount(p.Amount),
			Status: order.PaymentStatus(p.Status), Reason: order.CancelReason(p.Reason),
		}
	}
	return payments, nil
}

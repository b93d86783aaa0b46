//go:build generated

// Command journey uses the shop through a client generated from docs/openapi.yaml. It shows
// that the contract is sufficient to write a client. Its arguments are the base URL of an
// entry point and the id of a user without an account. The generated client is part of this
// package; the build adds its file.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	_ "github.com/oapi-codegen/runtime" // imported by the generated file, which go mod tidy does not see
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	err := run(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	const usage = "usage: journey URL USER"
	if len(args) != 2 {
		return errors.New(usage)
	}
	user, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return errors.New(usage)
	}
	shop, err := NewClientWithResponses(args[0])
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	for _, step := range []func(context.Context, *ClientWithResponses, UserID) error{open, cancelPaid, reject} {
		if err := step(ctx, shop, user); err != nil {
			return err
		}
	}
	return nil
}

// open sends the opening deposit twice with the same key and checks that it is processed
// once.
func open(ctx context.Context, shop *ClientWithResponses, user UserID) error {
	key := fmt.Sprintf("open-%d", user)
	for range 2 {
		a, err := shop.DepositWithResponse(ctx, &DepositParams{IdempotencyKey: &key}, Deposit{UserId: user, Balance: 1000})
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		if a.JSON201 == nil || a.JSON201.Balance != 1000 {
			return fmt.Errorf("open: %s %s", a.Status(), a.Body)
		}
	}
	return nil
}

// cancelPaid places an order, waits until it is paid, cancels it and checks the refund.
func cancelPaid(ctx context.Context, shop *ClientWithResponses, user UserID) error {
	placed, err := shop.PlaceOrderWithResponse(ctx, nil, NewOrder{UserId: user, Item: "Laptop", Price: 999.99})
	if err != nil {
		return fmt.Errorf("place: %w", err)
	}
	if placed.JSON201 == nil || placed.JSON201.Status != NEW {
		return fmt.Errorf("place: %s %s", placed.Status(), placed.Body)
	}
	id := placed.JSON201.Id
	if err := waitFor(ctx, shop, id, PAID); err != nil {
		return err
	}
	cancelled, err := shop.CancelOrderWithResponse(ctx, id, nil)
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	if cancelled.JSON202 == nil {
		return fmt.Errorf("cancel: %s %s", cancelled.Status(), cancelled.Body)
	}
	if err := waitFor(ctx, shop, id, CANCELLED); err != nil {
		return err
	}
	statement, err := shop.ListEntriesWithResponse(ctx, user, nil)
	if err != nil {
		return fmt.Errorf("statement: %w", err)
	}
	if statement.JSON200 == nil || len(statement.JSON200.Entries) != 3 {
		return fmt.Errorf("statement: %s %s", statement.Status(), statement.Body)
	}
	if e := statement.JSON200.Entries[0]; e.Kind != Refund || e.Amount != 999.99 || e.OrderId == nil || *e.OrderId != id || e.BalanceAfter != 1000 {
		return fmt.Errorf("refund: %s", statement.Body)
	}
	return nil
}

func waitFor(ctx context.Context, shop *ClientWithResponses, id OrderID, status OrderStatus) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		o, err := shop.GetOrderWithResponse(ctx, id)
		if err != nil {
			return fmt.Errorf("wait until %s: %w", status, err)
		}
		if o.JSON200 == nil {
			return fmt.Errorf("wait until %s: %s %s", status, o.Status(), o.Body)
		}
		if o.JSON200.Status == status {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w: %s", status, ctx.Err(), o.Body)
		}
	}
}

// reject sends an invalid price and checks that the problem names the field.
func reject(ctx context.Context, shop *ClientWithResponses, user UserID) error {
	a, err := shop.PlaceOrderWithResponse(ctx, nil, NewOrder{UserId: user, Item: "Laptop", Price: -1})
	if err != nil {
		return fmt.Errorf("reject: %w", err)
	}
	p := a.ApplicationproblemJSON422
	if p == nil || p.Type != ProblemTypeInvalidRequest || p.Status != http.StatusUnprocessableEntity {
		return fmt.Errorf("reject: %s %s", a.Status(), a.Body)
	}
	if p.Errors == nil || len(*p.Errors) != 1 || (*p.Errors)[0].Pointer == nil || *(*p.Errors)[0].Pointer != "/price" {
		return fmt.Errorf("reject: %s", a.Body)
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"gozon/e2e/load"
)

const auditPause = time.Second

// measureAudit compares the shop while it is asked for its audit all the time with a second
// shop that is not audited at all.
func measureAudit(ctx context.Context, b *bench) ([]Figure, error) {
	audited, err := b.openMain(ctx)
	if err != nil {
		return nil, err
	}
	plain, err := openShop(ctx, b.engine, b.log, b.project+"-unaudited", "AUDIT_EVERY=0")
	if err != nil {
		return nil, err
	}
	defer func() { b.closeShop(ctx, plain) }()
	if _, err := plain.settle(ctx, users, b.orders); err != nil { // warm-up
		return nil, err
	}
	audits := 0
	with := &contender{name: "the audited shop", needs: []string{"audit"}, run: func(ctx context.Context) (result, error) {
		return audited.settlePlaced(ctx, b.orders, func(placed *load.Orders) error {
			n, err := audited.auditDuring(ctx, func(ctx context.Context) error {
				return audited.client.Place(ctx, connections, users, b.orders, placed)
			})
			audits += n
			return err
		})
	}}
	without := &contender{name: "a shop without audits", needs: with.needs, run: func(ctx context.Context) (result, error) {
		return plain.settle(ctx, users, b.orders)
	}}
	if err := b.takeTurns(ctx, b.rounds, []*contender{with, without}); err != nil {
		return nil, err
	}
	return []Figure{compared("audit", ratios(with.rates(), without.rates()), atLeast(0.9),
		fmt.Sprintf("%s, with %d audits", with.against(without), audits))}, nil
}

// auditDuring asks for the audit again and again, with pauses, until fn returns, and returns
// the number of audits.
func (s *shop) auditDuring(ctx context.Context, fn func(context.Context) error) (audits int, err error) {
	g, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		return fn(ctx)
	})
	g.Go(func() error {
		for {
			status, body, err := s.client.Get(ctx, "/audit")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("GET /audit: %d: %s", status, body)
			}
			if err != nil {
				return err
			}
			audits++
			select {
			case <-done:
				return nil
			case <-time.After(auditPause):
			}
		}
	})
	err = g.Wait()
	return audits, err
}

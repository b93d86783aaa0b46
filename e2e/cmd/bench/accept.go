package main

import (
	"context"
	"fmt"
)

// measureAccept compares how many orders the shop accepts per second with a second shop in
// which each request has a transaction of its own. Before the other one's turn, all orders
// become terminal, so that neither works in the background.
func measureAccept(ctx context.Context, b *bench) ([]Figure, error) {
	batched, err := b.openMain(ctx)
	if err != nil {
		return nil, err
	}
	single, err := openShop(ctx, b.engine, b.log, b.project+"-single", "BATCH_MAX=1")
	if err != nil {
		return nil, err
	}
	defer func() { b.closeShop(ctx, single) }()
	if _, err := single.settle(ctx, users, connections); err != nil { // warm-up
		return nil, err
	}
	var with, without []float64
	for round := range b.rounds {
		many, err := batched.settle(ctx, users, b.orders)
		if err != nil {
			return nil, err
		}
		one, err := single.settle(ctx, users, max(connections, b.orders/5))
		if err != nil {
			return nil, err
		}
		with, without = append(with, many.acceptRate()), append(without, one.acceptRate())
		b.note("round %d: %s accepted orders/s, with batches of one %s", round+1, number(many.acceptRate()), number(one.acceptRate()))
	}
	return []Figure{compared("accept", ratios(with, without), atLeast(4),
		fmt.Sprintf("%s accepted orders/s against %s with BATCH_MAX=1", number(median(with)), number(median(without))))}, nil
}

// measureHotAccount compares orders of one account with orders of many accounts.
func measureHotAccount(ctx context.Context, b *bench) ([]Figure, error) {
	s, err := b.openMain(ctx)
	if err != nil {
		return nil, err
	}
	hot := &contender{name: "one account", needs: []string{"hot_account"}, run: func(ctx context.Context) (result, error) { return s.settle(ctx, 1, b.orders) }}
	spread := &contender{name: thousands(users) + " accounts", needs: hot.needs, run: func(ctx context.Context) (result, error) { return s.settle(ctx, users, b.orders) }}
	if err := b.takeTurns(ctx, b.rounds, []*contender{hot, spread}); err != nil {
		return nil, err
	}
	return []Figure{compared("hot_account", ratios(hot.rates(), spread.rates()), atLeast(0.95), hot.against(spread))}, nil
}

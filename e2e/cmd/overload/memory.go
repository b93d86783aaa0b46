package main

import (
	"context"
	"fmt"

	"gozon/e2e/stack"
)

// services are all services of the shop.
var services = []string{"gateway", "orders", "payments", "postgres", "rabbitmq", "frontend"}

// reportMemory prints the peak of each container, which must be below its limit. No container
// may have been restarted.
func (r *overload) reportMemory(ctx context.Context, used []stack.MemoryUse) error {
	for _, m := range used {
		fmt.Fprintf(r.out, "memory of %s: at most %d MB of %d MB\n", m.Service, m.Peak/1e6, m.Limit/1e6)
		if m.Peak >= m.Limit {
			r.fail("%s has reached its memory limit", m.Service)
		}
		state, err := r.shop.RunState(ctx, m.Container)
		if err != nil {
			return err
		}
		if state.Restarts > 0 || state.OutOfMemory {
			r.fail("%s was restarted %d times; killed for its memory: %t", m.Service, state.Restarts, state.OutOfMemory)
		}
	}
	return nil
}

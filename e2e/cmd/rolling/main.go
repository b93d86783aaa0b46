// Command rolling starts a separate shop with two replicas of orders, payments and the
// gateway. It replaces each replica while clients place, read and cancel orders and follow
// event streams. With -from, it starts with the images of another revision, updates replica
// by replica to this one after its migrations have run, restarts, and goes back. No request
// may fail, no client may miss a change, and every order must become final.
//
// The clients connect to nginx, which is not replaced. While orders and payments are
// replaced, as many others connect to a gateway directly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gozon/e2e/load"
	"gozon/e2e/stack"
)

const (
	replicas = 2
	users    = 200
	balance  = 30 // too little for all orders of a long run, so that some are refused
	streams  = 40 // of the first users
	settle   = 3 * time.Minute
	// resolved is longer than nginx caches the addresses of the gateways.
	resolved = 6 * time.Second
	// noticed is longer than the interval at which the shop reads changes that it was not
	// notified of.
	noticed = 30 * time.Second
)

func main() {
	from := flag.String("from", "", "git revision to update from and to go back to; empty: only restart")
	workers := flag.Int("workers", 8, "clients at each entry point")
	pause := flag.Duration("pause", 100*time.Millisecond, "pause of a client between requests")
	stack.Main("rolling", func(ctx context.Context, log io.Writer) error {
		r := &rolling{workers: *workers, pause: *pause, out: os.Stdout, log: log}
		return r.run(ctx, *from)
	})
}

type rolling struct {
	workers  int
	pause    time.Duration
	out, log io.Writer

	shop     *stack.Stack
	placed   load.Orders
	failures load.Failures
	replaced int
}

func (r *rolling) run(ctx context.Context, from string) (err error) {
	o := stack.Options{Project: "gozon-rolling", Log: r.log, Scale: map[string]int{"orders": replicas, "payments": replicas, "gateway": replicas}}
	if from != "" {
		var remove func() error
		if o.Dir, remove, err = checkout(ctx, from); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove()) }()
		if compose, err := os.ReadFile(filepath.Join(o.Dir, "docker-compose.yml")); err != nil || !strings.Contains(string(compose), "orders-migrate:") {
			return errors.Join(errors.New(from+" is older than ADR 27, which changed the networks and the roles at once: update it with make up"), err)
		}
		if o.Env, err = stack.SecretsOf(stack.Root()); err != nil {
			return err
		}
	}
	if r.shop, err = stack.Up(ctx, o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.shop.Down(context.WithoutCancel(ctx))) }()
	previous := r.shop.Dir
	if from != "" {
		// Build now, so that builds under load only find cached layers. nginx is updated before
		// the load starts, because its port is published by a single container.
		if err := r.build(ctx, stack.Root()); err != nil {
			return err
		}
		if err := r.shop.Compose(ctx, "up", "-d", "--no-deps", "frontend"); err != nil {
			return err
		}
		if err := r.shop.Wait(ctx); err != nil {
			return err
		}
	}

	page := load.NewClient(r.shop.Page, 64)
	if err := page.OpenAccounts(ctx, users, balance); err != nil {
		return err
	}
	start := time.Now()
	loading, stop := context.WithCancel(ctx)
	defer stop()
	following, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	followed := page.FollowResuming(following, streams, &r.failures)
	placing := r.placeAt(loading, r.shop.Page)
	if from != "" {
		err = r.updateAndBack(ctx, from, previous)
	} else {
		err = r.replaceAll(ctx, "restart")
	}
	stop()
	<-placing
	took := time.Since(start)
	if err == nil {
		_, err = r.shop.Settle(ctx, settle)
	}
	if err != nil {
		r.printFailures()
		return err
	}
	missed, err := r.missed(ctx, followed)
	if err != nil {
		return err
	}
	stopFollowing()
	followed.Wait()
	return r.report(ctx, took, followed, missed)
}

func (r *rolling) updateAndBack(ctx context.Context, from, previous string) error {
	for _, migrate := range []string{"orders-migrate", "payments-migrate"} {
		if err := r.shop.Compose(ctx, "run", "--rm", "--no-deps", migrate); err != nil {
			return err
		}
	}
	if err := r.replaceAll(ctx, "update from "+from); err != nil {
		return err
	}
	if err := r.replaceAll(ctx, "restart"); err != nil {
		return err
	}
	if err := r.build(ctx, previous); err != nil {
		return err
	}
	return r.replaceAll(ctx, "way back to "+from)
}

// build makes the images and the compose file in dir those of new replicas.
func (r *rolling) build(ctx context.Context, dir string) error {
	r.shop.Dir = dir
	return r.shop.Compose(ctx, "build")
}

// placeAt places orders at an entry point until ctx is done. The channel is closed when the
// requests in flight are completed.
func (r *rolling) placeAt(ctx context.Context, base string) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		load.NewClient(base, r.workers).PlaceSteadily(ctx, r.workers, users, r.pause, &r.placed, &r.failures)
	}()
	return done
}

// replaceAll replaces each replica of each service, one after the other.
func (r *rolling) replaceAll(ctx context.Context, name string) error {
	fmt.Fprintln(r.out, name)
	if err := r.replaceBehindGateway(ctx); err != nil {
		return err
	}
	return r.replace(ctx, "gateway")
}

func (r *rolling) replaceBehindGateway(ctx context.Context) error {
	loading, stop := context.WithCancel(ctx)
	direct := r.placeAt(loading, r.shop.API)
	defer func() { stop(); <-direct }()
	for _, service := range []string{"orders", "payments"} {
		if err := r.replace(ctx, service); err != nil {
			return err
		}
	}
	return nil
}

// replace replaces each replica of a service. It continues with the next one when the new
// one is ready and gets requests.
func (r *rolling) replace(ctx context.Context, service string) error {
	running, err := r.shop.Containers(ctx, service)
	if err != nil {
		return err
	}
	for i, c := range running {
		start, requests, failed := time.Now(), r.failures.Requests.Load(), len(r.failures.All())
		if err := r.shop.Stop(ctx, c); err != nil {
			return err
		}
		stopped := time.Since(start)
		if err := r.found(ctx, service, len(running)-1); err != nil {
			return err
		}
		if err := r.shop.StartMissing(ctx, service); err != nil {
			return err
		}
		if err := r.found(ctx, service, len(running)); err != nil {
			return err
		}
		r.replaced++
		fmt.Fprintf(r.out, "  %s %d of %d: stopped in %.1f s, replaced in %.1f s, %d requests, %d failed\n", service, i+1, len(running),
			stopped.Seconds(), time.Since(start).Seconds(), r.failures.Requests.Load()-requests, len(r.failures.All())-failed)
	}
	return nil
}

// found waits until the clients of a service know that it has n replicas.
func (r *rolling) found(ctx context.Context, service string, n int) error {
	if service != "gateway" {
		return r.shop.WaitForReplicas(ctx, service, n)
	}
	select {
	case <-time.After(resolved): // nginx does not report the addresses that it knows
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

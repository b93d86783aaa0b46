// Command gateway is the shop's single entry: it passes requests on to the services
// and hides how many of them there are and where.
//
//	request ─► body read (≤ limit) ─► route by first path segment ─► replica with the fewest requests in flight ─► service
//
// What a fault does:
//
//	a replica cannot be connected to     put aside for a moment, the next one is tried: nothing was sent
//	no replica can be connected to       502, nothing was done
//	broken after the request was sent    GET, HEAD, POST with an Idempotency-Key: sent once more, preferably to another replica
//	broken for good after being sent     502, outcome unknown; for GET and HEAD, safe to try again
//	no answer in time                    504, outcome unknown
//	broken in the middle of an answer    the answer to the client is cut off as well: it never looks complete
//	the client goes away                 the request to the service is cancelled
//	the gateway stops                    requests in flight finish, event streams end at once
//
// The gateway alone decides what is sent again: net/http does not, and no header other than
// Idempotency-Key makes a POST repeatable.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"gozon/shared/service"
)

type config struct {
	Service         service.Config
	Routes          routes        `env:"ROUTES,notEmpty" usage:"prefix=service URL, comma separated: /orders=http://orders:8080,/accounts=http://payments:8080"`
	UpstreamTimeout time.Duration `env:"UPSTREAM_TIMEOUT" envDefault:"10s" usage:"how long a service may take to begin its answer"`
	MaxBodyBytes    int64         `env:"MAX_BODY_BYTES" envDefault:"65536" usage:"largest request body, in bytes"`
	OpenAPIFile     string        `env:"OPENAPI_FILE" envDefault:"/openapi.yaml" usage:"the API's contract, which /openapi.yaml and /docs show"`
	ResolveEvery    time.Duration `env:"RESOLVE_EVERY" envDefault:"2s" usage:"how often the replicas of a service are looked up"`
}

// Validate reports every value that cannot work.
func (c *config) Validate() error {
	errs := []error{c.Service.Validate()}
	for name, d := range map[string]time.Duration{"UPSTREAM_TIMEOUT": c.UpstreamTimeout, "RESOLVE_EVERY": c.ResolveEvery} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s is %s: it must be positive", name, d))
		}
	}
	if c.MaxBodyBytes <= 0 {
		errs = append(errs, fmt.Errorf("MAX_BODY_BYTES is %d: it must be positive", c.MaxBodyBytes))
	}
	return errors.Join(errs...)
}

func main() {
	var cfg config
	service.Main(service.Program{
		Name: "gateway", Config: &cfg, Frame: &cfg.Service,
		Serve: func(ctx context.Context, log *slog.Logger) error { return serve(ctx, cfg, log) },
	})
}

func serve(ctx context.Context, cfg config, log *slog.Logger) error {
	contract, err := os.ReadFile(cfg.OpenAPIFile)
	if err != nil {
		return fmt.Errorf("OPENAPI_FILE: %w", err)
	}
	api, metrics, err := cfg.Service.Listen(ctx)
	if err != nil {
		return err
	}
	reg, health := service.NewRegistry(), &service.Health{}
	engine := service.NewEngine(log, reg, health)
	if err := registerDocs(engine, contract); err != nil {
		return errors.Join(err, api.Close(), metrics.Close())
	}
	observed := newMetrics(reg)
	parts := []service.Part{service.ServeMetrics(metrics, reg)}
	proxies := map[string]http.Handler{}
	for _, r := range cfg.Routes {
		up := newUpstream(r.target, net.DefaultResolver.LookupNetIP, observed)
		health.Add(up.name, service.Degrading, up.ready)
		proxies[r.prefix] = newProxy(up, cfg.UpstreamTimeout, health.Done(), log, observed)
		parts = append(parts, service.Part{Name: "resolver of " + up.name, Run: func(ctx context.Context) error {
			return up.run(ctx, cfg.ResolveEvery, log)
		}})
	}
	register(engine, proxies, cfg.MaxBodyBytes)
	return service.Run(ctx, log, cfg.Service.DrainTimeout, append(parts, service.ServeHTTP(api, engine, health))...)
}

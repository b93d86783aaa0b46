// Command gateway is the shop's single entry point. It forwards requests to the services
// and hides how many replicas a service has and where they run.
//
//	request ─► guard ─► read body (≤ limit) ─► route by first path segment ─► replica with the fewest requests in flight ─► service
//
// Failures:
//
//	foreign host name, ambiguous path,    421, 400, 403: nothing was sent
//	request of another site
//	connecting to a replica fails         the replica is skipped for a while and the next one is tried: nothing was sent
//	connecting to every replica fails     502, nothing was done
//	connection lost after the request     GET, HEAD and POST with an Idempotency-Key are sent once more,
//	was sent                              preferably to another replica
//	no response after that                502, outcome unknown; for GET and HEAD, a retry is safe
//	no response in time                   504, outcome unknown
//	503 of a service                      is forwarded; no other replica is tried, because that would add to the load
//	too many requests are in flight       503, nothing was sent
//	a client exceeds a limit              429, nothing was sent
//	connection lost during the response   the response to the client is cut off too, so that it never looks complete
//	client disconnects                    the request to the service is cancelled
//	a client sends or reads too slowly    its connection is closed; see the limits in docs/operations.md
//	a replica is stopping                 it closes its connections after their responses; it is skipped while there is another one
//	gateway shuts down                    it responds for another second, then requests in flight finish and event streams end
//
// Only the gateway retries requests, and no header other than Idempotency-Key makes a POST
// retryable.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"gozon/shared/service"
)

type config struct {
	Service         service.Config
	TLS             tlsConfig
	Routes          routes        `env:"ROUTES,notEmpty" usage:"prefix=service URL, comma separated: /orders=http://orders:8080,/accounts=http://payments:8080"`
	UpstreamTimeout time.Duration `env:"UPSTREAM_TIMEOUT" envDefault:"10s" usage:"time limit for the response headers of a service"`
	MaxBodyBytes    int64         `env:"MAX_BODY_BYTES" envDefault:"65536" usage:"largest request body, in bytes"`
	MaxBodiesBytes  int64         `env:"MAX_BODIES_BYTES" envDefault:"33554432" usage:"memory for all request bodies above 4 KiB, in bytes"`
	MaxStreams      int           `env:"MAX_STREAMS" envDefault:"6000" usage:"maximum number of open event streams"`
	OpenAPIFile     string        `env:"OPENAPI_FILE" envDefault:"/openapi.yaml" usage:"OpenAPI document, served at /openapi.yaml and shown at /docs"`
	MaxInFlight     int           `env:"MAX_IN_FLIGHT" envDefault:"512" usage:"maximum number of requests of each kind (reads, POSTs that create, other writes) in flight to one service; event streams do not count"`
	ResolveEvery    time.Duration `env:"RESOLVE_EVERY" envDefault:"2s" usage:"interval between lookups of the replicas of a service and of the trusted proxies"`
	AllowedHosts    allowedHosts  `env:"ALLOWED_HOSTS" envDefault:"" usage:"host names and addresses that clients may use, comma separated and without ports; localhost, 127.0.0.1 and [::1] always are"`
	TrustedProxies  proxies       `env:"TRUSTED_PROXIES" envDefault:"" usage:"host names and networks of proxies whose X-Forwarded-For is believed, comma separated"`
	LimitReads      quota         `env:"LIMIT_READS" envDefault:"50/s burst 1000" usage:"how many GET and HEAD requests a client may send, or off; a client is an IPv4 address or an IPv6 /64"`
	LimitWrites     quota         `env:"LIMIT_WRITES" envDefault:"20/s burst 400" usage:"how many other requests a client may send, or off"`
	LimitKeys       quota         `env:"LIMIT_KEYS" envDefault:"2/s burst 2000" usage:"how many of them may have an Idempotency-Key, which is stored for a day, or off"`
	LimitStreams    int           `env:"LIMIT_STREAMS" envDefault:"200" usage:"maximum number of open event streams of a client; 0 for no limit"`
}

// Validate reports every invalid value.
func (c *config) Validate() error {
	errs := []error{c.Service.Validate(), c.TLS.validate()}
	for name, d := range map[string]time.Duration{"UPSTREAM_TIMEOUT": c.UpstreamTimeout, "RESOLVE_EVERY": c.ResolveEvery} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s is %s: it must be positive", name, d))
		}
	}
	if c.MaxInFlight < 1 {
		errs = append(errs, fmt.Errorf("MAX_IN_FLIGHT is %d: it must be positive", c.MaxInFlight))
	}
	if c.MaxBodyBytes <= 0 {
		errs = append(errs, fmt.Errorf("MAX_BODY_BYTES is %d: it must be positive", c.MaxBodyBytes))
	}
	if c.MaxBodiesBytes <= c.MaxBodyBytes {
		errs = append(errs, fmt.Errorf("MAX_BODIES_BYTES is %d: it must be larger than MAX_BODY_BYTES", c.MaxBodiesBytes))
	}
	if c.MaxStreams < 1 {
		errs = append(errs, fmt.Errorf("MAX_STREAMS is %d: it must be positive", c.MaxStreams))
	}
	if c.LimitStreams < 0 {
		errs = append(errs, fmt.Errorf("LIMIT_STREAMS is %d: it must not be negative", c.LimitStreams))
	}
	return errors.Join(errs...)
}

func main() { service.Main(program(&config{})) }

func program(cfg *config) service.Program {
	return service.Program{
		Name: "gateway", Config: cfg, Frame: &cfg.Service,
		Serve: func(ctx context.Context, log *slog.Logger) error { return serve(ctx, *cfg, log) },
	}
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
	var https []net.Listener
	if cfg.TLS.Addr != "" {
		l, err := cfg.Service.ListenAt(ctx, cfg.TLS.Addr)
		if err != nil {
			return errors.Join(err, api.Close(), metrics.Close())
		}
		https = append(https, tls.NewListener(l, cfg.TLS.server(log)))
	}
	reg, health := service.NewRegistry(), &service.Health{}
	clients := newClients(cfg.TrustedProxies, net.DefaultResolver.LookupNetIP, log)
	engine := service.NewEngine(log, reg, health, strictTransport, clients.identify, newGuard(cfg.AllowedHosts).check)
	if err := registerDocs(engine, contract); err != nil {
		for _, l := range https {
			err = errors.Join(err, l.Close())
		}
		return errors.Join(err, api.Close(), metrics.Close())
	}
	upstreamMetrics, refused := newMetrics(reg), service.NewRefusals(log, reg)
	limited := service.NewLimited(log, reg)
	limits := newLimits(cfg.LimitReads, cfg.LimitWrites, cfg.LimitKeys, limited)
	streams := newStreams(cfg.MaxStreams, cfg.LimitStreams, log, limited)
	parts := []service.Part{service.ReleaseMemory(), {Name: "streams", Run: func(ctx context.Context) error {
		return streams.run(ctx, health.Done())
	}}, {Name: "resolver for trusted proxies", Run: func(ctx context.Context) error {
		return clients.run(ctx, cfg.ResolveEvery)
	}}}
	proxies := map[string]*proxy{}
	for _, r := range cfg.Routes {
		up := newUpstream(r.target, net.DefaultResolver.LookupNetIP, upstreamMetrics)
		health.Add(up.name, service.Degrading, up.ready)
		proxies[r.prefix] = newProxy(up, newAdmission(up.name, cfg.MaxInFlight, reg, refused), cfg.UpstreamTimeout, streams, log, upstreamMetrics)
		parts = append(parts, service.Part{Name: "resolver for " + up.name, Run: func(ctx context.Context) error {
			return up.run(ctx, cfg.ResolveEvery, log)
		}})
	}
	registerProxies(engine, proxies, limits, newBodies(cfg.MaxBodyBytes, cfg.MaxBodiesBytes))
	if orders, payments := proxies["/orders"], proxies["/accounts"]; orders != nil && payments != nil {
		registerAudit(engine, orders, payments, limits)
	}
	parts = append(parts, cfg.Service.ServeAPI(api, engine, health, reg, https...), cfg.Service.ServeMetrics(metrics, reg))
	return service.Run(ctx, log, cfg.Service.DrainTimeout, parts...)
}

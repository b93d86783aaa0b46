// Package participant provides what every participant of the order saga needs: a schema
// with its migrations, the delivery tables with their relay and pruner, the publisher, and
// an HTTP server. A service adds its own routes, batchers, consumers and other parts.
//
//	HTTP ─► batcher ─► Store ─► outbox ─► relay ─► publisher ─► broker
//	                     ▲
//	broker ─► consumer ──┘
package participant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/delivery"
	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/deadletters"
	"gozon/shared/service"
	"gozon/shared/web"
)

const batchTimeout = 10 * time.Second

// Config is read from the environment. Embed it in a service's configuration.
type Config struct {
	Service    service.Config
	Database   database.Config
	Broker     broker.Config
	Delivery   delivery.Config
	InFlight   int           `env:"MAX_IN_FLIGHT" envDefault:"2048" usage:"maximum number of requests in flight, without event streams; half of them may wait for the same kind of batch"`
	BatchMax   int           `env:"BATCH_MAX" envDefault:"256" usage:"maximum number of requests that share a transaction"`
	AuditEvery time.Duration `env:"AUDIT_EVERY" envDefault:"10s" usage:"interval of the audits that nobody asks for; 0 for none"`
	BindAddr   string        `env:"BIND_ADDR" envDefault:"127.0.0.1" usage:"address of the published ports of the shop; development passwords are refused unless it is a loopback address"`
	Operator   string        `env:"OPERATOR,expand" envDefault:"$USER" usage:"who runs the command dead-letters"`
}

// Validate reports all invalid values at once.
func (c *Config) Validate() error {
	err := errors.Join(c.Service.Validate(), c.Database.Validate(), c.Broker.Validate(), c.Delivery.Validate(), c.checkPasswords())
	if c.InFlight < 2 {
		err = errors.Join(err, fmt.Errorf("MAX_IN_FLIGHT is %d: it must be at least 2", c.InFlight))
	}
	if c.BatchMax < 1 {
		err = errors.Join(err, fmt.Errorf("BATCH_MAX is %d: it must be positive", c.BatchMax))
	}
	if c.AuditEvery < 0 {
		err = errors.Join(err, fmt.Errorf("AUDIT_EVERY is %s: it must not be negative", c.AuditEvery))
	}
	return err
}

func (c *Config) base() *Config { return c }

// Configuration is a pointer to a struct that embeds [Config].
type Configuration interface {
	Validate() error
	base() *Config
}

// Participant is a service that is being set up. See [Program].
type Participant struct {
	Name    string
	Store   *delivery.Store
	HTTP    web.Router
	Health  *service.Health
	Metrics *prometheus.Registry
	Log     *slog.Logger

	broker     broker.Config
	batchMax   int
	waiting    int // maximum number of callers of a batcher
	auditEvery time.Duration
	parts      []service.Part
}

// Program returns the command line of a participant. name is also the name of its schema.
// When the participant starts, cfg is filled from the environment. It waits until the command
// migrate has run, and then wire adds the service's own routes and parts. dead describes its
// dead letters, for the command that handles them.
func Program(name string, migrations fs.FS, cfg Configuration, dead DeadLetters, wire func(*Participant)) service.Program {
	c := cfg.base()
	return service.Program{
		Name: name, Config: cfg, Frame: &c.Service,
		Serve: func(ctx context.Context, log *slog.Logger) error {
			if err := database.Await(ctx, c.Database, name, migrations, log); err != nil {
				return err
			}
			return serve(ctx, name, c, log, wire)
		},
		Commands: []service.Command{
			{
				Name: "migrate", Usage: "bring the schema up to date and exit; DATABASE_URL has the role that owns it",
				Run: func(ctx context.Context, log *slog.Logger) error {
					return database.Migrate(ctx, c.Database, name, migrations, log)
				},
			},
			{
				Name: "dead-letters", Usage: "list, show, retry, edit or discard events that could not be handled; see dead-letters --help",
				RunArgs: func(ctx context.Context, _ *slog.Logger, call service.Call) error {
					return c.deadLetters(ctx, name, dead, call)
				},
			},
		},
	}
}

func serve(ctx context.Context, name string, c *Config, log *slog.Logger, wire func(*Participant)) error {
	db, err := database.Open(c.Database)
	if err != nil {
		return err
	}
	defer db.Close()
	api, metrics, err := c.Service.Listen(ctx)
	if err != nil {
		return err
	}
	reg, health := service.NewRegistry(), &service.Health{}
	db.RegisterMetrics(reg, name)
	store := delivery.NewStore(c.Delivery, db, name)
	publisher := broker.NewPublisher(c.Broker, name+" publisher", log)
	relay := store.NewRelay(publisher, log, reg)
	deadletters.NewStore(db, name).RegisterMetrics(reg)
	engine := service.NewEngine(log, reg, health)
	p := &Participant{
		Name: name, Store: store, Health: health, Metrics: reg, Log: log,
		HTTP: web.Router{
			Routes: engine, Log: log, InFlight: service.NewLimit(c.InFlight, reg, nil),
			Refused: service.NewRefusals(log, reg), Limited: service.NewLimited(log, reg),
		},
		broker: c.Broker, batchMax: c.BatchMax, waiting: c.InFlight / 2, auditEvery: c.AuditEvery,
	}
	health.Add("database", service.Required, db.Ready)
	health.Add("broker publisher", service.Degrading, publisher.Ready)
	p.Add("pruner", func(ctx context.Context) error { return store.RunPruner(ctx, log) })
	p.Add("publisher", publisher.Run)
	p.Add("relay", relay.Run)
	wire(p)

	parts := append([]service.Part{service.ReleaseMemory(), c.Service.ServeMetrics(metrics, reg)}, p.parts...)
	return service.Run(ctx, log, c.Service.DrainTimeout, append(parts, c.Service.ServeAPI(api, engine, health, reg))...)
}

// Add adds a part. After the HTTP server has stopped, the parts stop in the reverse order of
// the calls of Add.
func (p *Participant) Add(name string, run func(context.Context) error) {
	p.parts = append(p.parts, service.Part{Name: name, Run: run})
}

// Consume adds the consumer of a queue.
func (p *Participant) Consume(queue string, h broker.Handler) {
	consumer := broker.NewConsumer(p.broker, p.Name+" consumer", queue, h, p.Log, p.Metrics)
	p.Health.Add("broker consumer", service.Degrading, consumer.Ready)
	p.Add("consumer", consumer.Run)
}

// Batch adds a batcher, whose concurrent callers share transactions. Its callers are at most
// half of the requests in flight, so that a batcher that is stuck leaves room for the others.
func Batch[I, O any](p *Participant, name string, do batch.Func[I, O]) *batch.Batcher[I, O] {
	b := batch.New(batch.Options[I, O]{
		Do: do, Faults: database.Faults(), Max: p.batchMax, Waiting: p.waiting, Timeout: batchTimeout, Sizes: batch.NewSizes(p.Metrics, name),
	})
	p.Add(name, b.Run)
	return b
}

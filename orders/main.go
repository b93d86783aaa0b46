// Command orders is the service that takes orders: it keeps them, tells payments
// about them and settles them by what payments decides.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"gozon/orders/internal/httpapi"
	"gozon/orders/internal/live"
	"gozon/orders/internal/messaging"
	"gozon/orders/internal/order"
	"gozon/orders/internal/postgres"
	"gozon/orders/migrations"
	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/outbox"
	"gozon/shared/service"
)

const name = "orders"

type config struct {
	Service  service.Config
	Database database.Config
	Broker   broker.Config

	MaxStreams int `env:"MAX_STREAMS" envDefault:"6000" usage:"event streams that may be open at the same time"`
}

// Validate checks every part.
func (c *config) Validate() error {
	errs := []error{c.Service.Validate(), c.Database.Validate(), c.Broker.Validate()}
	if c.MaxStreams < 1 {
		errs = append(errs, fmt.Errorf("MAX_STREAMS is %d: it must be positive", c.MaxStreams))
	}
	return errors.Join(errs...)
}

func main() {
	var cfg config
	service.Main(program(&cfg))
}

func program(cfg *config) service.Program {
	return service.Program{
		Name: name, Config: cfg, Frame: &cfg.Service,
		Serve: func(ctx context.Context, log *slog.Logger) error { return serve(ctx, *cfg, log) },
		Commands: []service.Command{{
			Name: "migrate", Usage: "bring the database up to date and end",
			Run: func(ctx context.Context, log *slog.Logger) error {
				return database.Migrate(ctx, cfg.Database, postgres.Schema, migrations.FS, log)
			},
		}},
	}
}

func serve(ctx context.Context, cfg config, log *slog.Logger) error {
	if err := database.Migrate(ctx, cfg.Database, postgres.Schema, migrations.FS, log); err != nil {
		return err
	}
	pool, db, err := database.Open(cfg.Database)
	if err != nil {
		return err
	}
	defer pool.Close()
	listener, metrics, err := cfg.Service.Listen(ctx)
	if err != nil {
		return err
	}

	reg, health := service.NewRegistry(), &service.Health{}
	database.RegisterMetrics(reg, pool, name)
	publisher := broker.NewPublisher(cfg.Broker.AMQPURL, name+" publisher", log)
	relay := outbox.NewRelay(postgres.Outbox, pool, publisher, log, reg)
	store := postgres.NewStore(db, relay.Wake)
	orders := order.NewService(store)
	consumer := broker.NewConsumer(cfg.Broker, name+" consumer", broker.PaymentsQueue,
		messaging.NewHandler(orders, reg), log, reg)
	placing := batch.New(batch.Options[idempotency.Request[order.Draft], idempotency.Result[order.Order]]{
		Do: orders.Place, Faults: database.Faults(), Max: 256, Timeout: 10 * time.Second, Sizes: batch.NewSizes(reg, "place"),
	})
	cancelling := batch.New(batch.Options[idempotency.Request[uuid.UUID], idempotency.Result[order.Order]]{
		Do: orders.Cancel, Faults: database.Faults(), Max: 256, Timeout: 10 * time.Second, Sizes: batch.NewSizes(reg, "cancel"),
	})
	hub := live.NewHub(store, postgres.NewListener(cfg.Database, log), cfg.MaxStreams, log, reg)
	health.Add("database", service.Required, func(ctx context.Context) error { return database.Ready(ctx, pool) })
	health.Add("broker publisher", service.Degrading, publisher.Ready)
	health.Add("broker consumer", service.Degrading, consumer.Ready)
	health.Add("live updates", service.Degrading, hub.Ready)
	engine := service.NewEngine(log, reg, health)
	api := httpapi.API{Placer: placing, Canceller: cancelling, Orders: orders, Live: hub, Stopping: health.Done(), Log: log}
	api.Register(engine)

	return service.Run(ctx, log, cfg.Service.DrainTimeout,
		service.ServeMetrics(metrics, reg),
		service.Part{Name: "inbox pruner", Run: func(ctx context.Context) error { return postgres.Inbox.RunPruner(ctx, pool, log) }},
		service.Part{Name: "key pruner", Run: func(ctx context.Context) error { return postgres.Keys.RunPruner(ctx, pool, log) }},
		service.Part{Name: "publisher", Run: publisher.Run},
		service.Part{Name: "relay", Run: relay.Run},
		service.Part{Name: "consumer", Run: consumer.Run},
		service.Part{Name: "live updates", Run: hub.Run},
		service.Part{Name: "placing", Run: placing.Run},
		service.Part{Name: "cancelling", Run: cancelling.Run},
		service.ServeHTTP(listener, engine, health),
	)
}

// Command payments is the service that keeps the accounts: it tops them up, decides
// about each order, charges for it and tells orders how that ended.
package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gozon/payments/internal/httpapi"
	"gozon/payments/internal/messaging"
	"gozon/payments/internal/payment"
	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/outbox"
	"gozon/shared/service"
)

const name = "payments"

type config struct {
	Service  service.Config
	Database database.Config
	Broker   broker.Config
}

// Validate checks every part.
func (c *config) Validate() error {
	return errors.Join(c.Service.Validate(), c.Database.Validate(), c.Broker.Validate())
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
	api, metrics, err := cfg.Service.Listen(ctx)
	if err != nil {
		return err
	}

	reg, health := service.NewRegistry(), &service.Health{}
	database.RegisterMetrics(reg, pool, name)
	publisher := broker.NewPublisher(cfg.Broker.AMQPURL, name+" publisher", log)
	relay := outbox.NewRelay(postgres.Outbox, pool, publisher, log, reg)
	payments := payment.NewService(postgres.NewStore(db, relay.Wake))
	consumer := broker.NewConsumer(cfg.Broker, name+" consumer", broker.OrdersQueue,
		messaging.NewHandler(payments, log, reg), log, reg)
	depositing := batch.New(batch.Options[idempotency.Request[payment.Deposit], idempotency.Result[payment.Deposited]]{
		Do: payments.Deposit, Faults: database.Faults(), Max: 256, Timeout: 10 * time.Second, Sizes: batch.NewSizes(reg, "deposit"),
	})
	health.Add("database", service.Required, func(ctx context.Context) error { return database.Ready(ctx, pool) })
	health.Add("broker publisher", service.Degrading, publisher.Ready)
	health.Add("broker consumer", service.Degrading, consumer.Ready)
	engine := service.NewEngine(log, reg, health)
	httpapi.Register(engine, depositing, payments, log)

	return service.Run(ctx, log, cfg.Service.DrainTimeout,
		service.ServeMetrics(metrics, reg),
		service.Part{Name: "inbox pruner", Run: func(ctx context.Context) error { return postgres.Inbox.RunPruner(ctx, pool, log) }},
		service.Part{Name: "key pruner", Run: func(ctx context.Context) error { return postgres.Keys.RunPruner(ctx, pool, log) }},
		service.Part{Name: "publisher", Run: publisher.Run},
		service.Part{Name: "relay", Run: relay.Run},
		service.Part{Name: "consumer", Run: consumer.Run},
		service.Part{Name: "depositing", Run: depositing.Run},
		service.ServeHTTP(api, engine, health),
	)
}

// Command orders is the service that accepts orders. It stores them, requests their
// payment, and applies the decisions of the payments service to them.
package main

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"gozon/orders/internal/backlog"
	"gozon/orders/internal/httpapi"
	"gozon/orders/internal/live"
	"gozon/orders/internal/messaging"
	"gozon/orders/internal/openorders"
	"gozon/orders/internal/order"
	"gozon/orders/internal/paymentsapi"
	"gozon/orders/internal/postgres"
	"gozon/orders/internal/watchdog"
	"gozon/orders/migrations"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
	"gozon/shared/service"
	"gozon/shared/service/participant"
)

type config struct {
	participant.Config

	MaxStreams    int           `env:"MAX_STREAMS" envDefault:"6000" usage:"maximum number of open event streams"`
	UserStreams   int           `env:"MAX_STREAMS_PER_USER" envDefault:"16" usage:"maximum number of open event streams of one user"`
	BacklogMaxAge time.Duration `env:"BACKLOG_MAX_AGE" envDefault:"5s" usage:"age of the orders that are being settled above which new orders are refused, unless the shop is catching up"`
	OutboxMax     int           `env:"OUTBOX_MAX" envDefault:"1000000" usage:"number of rows of the outbox at which new orders are refused"`
	OpenOrders    int           `env:"LIMIT_OPEN_ORDERS" envDefault:"1000" usage:"number of orders of one user that are being paid or cancelled above which new ones are refused; 0 for no limit"`
	OverdueAfter  time.Duration `env:"OVERDUE_AFTER" envDefault:"30s" usage:"how long an order may wait for payments before its request is repeated"`
	PaymentsURL   string        `env:"PAYMENTS_URL" envDefault:"" usage:"URL of the payments service, http://payments:8080, whose payments are compared with orders; if empty, they are not compared"`
}

// Validate reports all invalid values at once.
func (c *config) Validate() error {
	err := c.Config.Validate()
	if c.MaxStreams < 1 {
		err = errors.Join(err, fmt.Errorf("MAX_STREAMS is %d: it must be positive", c.MaxStreams))
	}
	if c.UserStreams < 1 {
		err = errors.Join(err, fmt.Errorf("MAX_STREAMS_PER_USER is %d: it must be positive", c.UserStreams))
	}
	if c.BacklogMaxAge <= 0 {
		err = errors.Join(err, fmt.Errorf("BACKLOG_MAX_AGE is %s: it must be positive", c.BacklogMaxAge))
	}
	if c.OutboxMax < 1 {
		err = errors.Join(err, fmt.Errorf("OUTBOX_MAX is %d: it must be positive", c.OutboxMax))
	}
	if c.OpenOrders < 0 {
		err = errors.Join(err, fmt.Errorf("LIMIT_OPEN_ORDERS is %d: it must not be negative", c.OpenOrders))
	}
	if c.OverdueAfter < time.Second {
		err = errors.Join(err, fmt.Errorf("OVERDUE_AFTER is %s: it must be at least one second", c.OverdueAfter))
	}
	if u, e := url.Parse(c.PaymentsURL); c.PaymentsURL != "" && (e != nil || u.Scheme != "http" || u.Host == "") {
		err = errors.Join(err, fmt.Errorf("PAYMENTS_URL is %q: it must be http://host:port", c.PaymentsURL))
	}
	return err
}

// auditAge is the age at which orders are compared with payments first.
const auditAge = 5 * time.Second

func main() { service.Main(program(&config{})) }

func program(cfg *config) service.Program {
	dead := participant.DeadLetters{Queues: []string{broker.PaymentsQueue + broker.DeadSuffix, broker.Unrouted}, Validate: messaging.Validate}
	return participant.Program(postgres.Schema, migrations.FS, cfg, dead, cfg.wire)
}

func (c *config) wire(p *participant.Participant) {
	store := postgres.NewStore(p.Store)
	orders := order.NewService(store)
	waiting := backlog.New(c.BacklogMaxAge, c.OutboxMax, store, p.Log, p.Metrics)
	p.Add("backlog", waiting.Run)
	p.Consume(broker.PaymentsQueue, messaging.NewHandler(orders, waiting.Settled, p.Log, p.Metrics))
	p.Add("watchdog", watchdog.New(orders, store, database.Faults().Whole, c.OverdueAfter, p.Log, p.Metrics).Run)
	hub := live.NewHub(orders, store, postgres.NewListener(c.Database, p.Log), live.Limits{All: c.MaxStreams, PerUser: c.UserStreams}, p.Log, p.Metrics)
	p.Health.Add("live updates", service.Degrading, hub.Ready)
	p.Add("live updates", hub.Run)
	var payments order.Payments
	if c.PaymentsURL != "" {
		payments = paymentsapi.New(c.PaymentsURL)
	}
	httpapi.API{
		Place:  participant.Batch(p, "place", orders.Place),
		Cancel: participant.Batch(p, "cancel", orders.Cancel),
		Orders: orders,
		Live:   hub,
		Audit:  participant.Audit(p, order.NewAuditor(store, payments, auditAge).Audit),
		Log:    p.Log,
		Admit:  waiting.Admit, AdmitOf: openorders.New(c.OpenOrders, store).Admit,
	}.Register(p.HTTP)
}

// Command payments is the service that manages the users' accounts. It tops them up,
// charges them for orders, refunds cancelled orders, and replies to the orders service.
package main

import (
	"gozon/payments/internal/httpapi"
	"gozon/payments/internal/messaging"
	"gozon/payments/internal/payment"
	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/delivery/broker"
	"gozon/shared/service"
	"gozon/shared/service/participant"
)

func main() { service.Main(program(&participant.Config{})) }

func program(cfg *participant.Config) service.Program {
	dead := participant.DeadLetters{Queues: []string{broker.OrdersQueue + broker.DeadSuffix}, Validate: messaging.Validate}
	return participant.Program(postgres.Schema, migrations.FS, cfg, dead, wire)
}

func wire(p *participant.Participant) {
	store := postgres.NewStore(p.Store)
	payments := payment.NewService(store)
	p.Consume(broker.OrdersQueue, messaging.NewHandler(payments, p.Log, p.Metrics))
	httpapi.API{
		Deposit:  participant.Batch(p, "deposit", payments.Deposit),
		Payments: payments,
		Audit:    participant.Audit(p, store.Audit),
	}.Register(p.HTTP)
}

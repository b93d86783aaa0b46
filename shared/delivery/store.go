package delivery

import (
	"context"
	"fmt"

	"gozon/shared/delivery/database"
)

// Config is read from the environment. Embed it in a service's configuration.
type Config struct {
	EventsPerMessage int `env:"EVENTS_PER_MESSAGE" envDefault:"256" usage:"how many events of one transaction may share a message; 1 during an update from a version that reads single events only"`
}

// Validate reports an invalid limit.
func (c Config) Validate() error {
	if c.EventsPerMessage < 1 {
		return fmt.Errorf("EVENTS_PER_MESSAGE is %d: it must be positive", c.EventsPerMessage)
	}
	return nil
}

// Store runs the transactions of one service on its own schema. A service's store embeds
// it. It is safe for concurrent use.
type Store struct {
	// DB is for reads outside of a transaction.
	DB *database.DB

	inbox   inbox
	outbox  outbox
	keys    keys
	emitted chan struct{} // wakes the relay

	eventsPerMessage int
}

// NewStore returns a store that uses the tables in schema. The events that it emits have
// the CloudEvents source "gozon/<schema>".
func NewStore(c Config, db *database.DB, schema string) *Store {
	return &Store{
		DB:    db,
		inbox: newInbox(schema), outbox: newOutbox(schema), keys: newKeys(schema),
		emitted: make(chan struct{}, 1), eventsPerMessage: c.EventsPerMessage,
	}
}

// Tx is a transaction of a [Store]. It is not safe for concurrent use.
type Tx struct {
	*database.Tx
	store   *Store
	emitted bool
}

// InTx runs fn in a transaction and commits it, or rolls it back when fn fails or panics.
// See [database.DB.InTx] for its errors and for when its statements are sent. If fn emitted
// events, InTx wakes the relay after the commit.
func (s *Store) InTx(ctx context.Context, fn func(*Tx) error) error {
	tx := &Tx{store: s}
	err := s.DB.InTx(ctx, func(t *database.Tx) error {
		tx.Tx = t
		return fn(tx)
	})
	if err == nil && tx.emitted {
		s.wakeRelay()
	}
	return err
}

// wakeRelay wakes the relay of this process. It never blocks.
func (s *Store) wakeRelay() {
	select {
	case s.emitted <- struct{}{}:
	default: // a wake-up is pending already
	}
}

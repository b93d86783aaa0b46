package delivery

import (
	"context"
	"database/sql"
	"fmt"

	"gorm.io/gorm"

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
	DB *gorm.DB

	pool    *sql.DB
	inbox   inbox
	outbox  outbox
	keys    keys
	emitted chan struct{} // wakes the relay

	eventsPerMessage int
}

// NewStore returns a store that uses the tables in schema. The events that it emits have
// the CloudEvents source "gozon/<schema>".
func NewStore(c Config, pool *sql.DB, db *gorm.DB, schema string) *Store {
	return &Store{
		DB: db, pool: pool,
		inbox: newInbox(schema), outbox: newOutbox(schema), keys: newKeys(schema),
		emitted: make(chan struct{}, 1), eventsPerMessage: c.EventsPerMessage,
	}
}

// Tx is a transaction of a [Store]. It is not safe for concurrent use.
type Tx struct {
	database.Conn
	store   *Store
	emitted bool
}

// InTx runs fn in a transaction and commits it, or rolls it back when fn fails or panics.
// See [database.Begin] and [database.Commit] for its errors. If fn emitted events, InTx
// wakes the relay after the commit.
func (s *Store) InTx(ctx context.Context, fn func(*Tx) error) error {
	conn, err := database.Begin(ctx, s.pool)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Rollback() }() // a no-op after the commit
	tx := &Tx{Conn: conn, store: s}
	if err := fn(tx); err != nil {
		return err
	}
	if err := database.Commit(conn); err != nil {
		return err
	}
	if tx.emitted {
		s.wakeRelay()
	}
	return nil
}

// wakeRelay wakes the relay of this process. It never blocks.
func (s *Store) wakeRelay() {
	select {
	case s.emitted <- struct{}{}:
	default: // a wake-up is pending already
	}
}

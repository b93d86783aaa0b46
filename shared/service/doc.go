// Package service is the frame that every program of the shop runs in: its
// configuration, its logs, its probes and metrics, and its orderly start and end.
//
// A program is a list of parts. They start in order and stop in reverse, each
// only when the one after it has returned, so that whatever accepts work stops
// before whatever finishes it:
//
//	start   pool → relay → consumer → batcher → HTTP
//	stop    pool ← relay ← consumer ← batcher ← HTTP
//
// Nothing here knows orders, payments, a database or a broker.
package service

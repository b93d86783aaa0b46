// Package service contains what every program of the shop needs: configuration,
// logging, probes, metrics, startup and shutdown.
//
// A program is a list of parts. They start together, in no particular order, and none
// waits for another: each part must work while the others are not ready yet. They stop in
// reverse order of the list, each after the next part in the list has returned, so that a
// part that accepts work stops before the part that completes it:
//
//	start   metrics, publisher, relay, consumer, batcher, HTTP: together
//	stop    metrics ← publisher ← relay ← consumer ← batcher ← HTTP
//
// The package does not depend on orders, payments, a database or a broker.
package service

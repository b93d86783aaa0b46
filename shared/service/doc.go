// Package service is the common frame of every program of the shop: configuration,
// logging, probes, metrics, startup and shutdown.
//
// A program is a list of parts. They start together, in no particular order, and none
// waits for another: each part copes with the others not being ready yet. They stop in
// reverse order of the list, each after the part behind it has returned, so that a part
// that accepts work stops before the part that completes it:
//
//	start   metrics, publisher, relay, consumer, batcher, HTTP: together
//	stop    metrics ← publisher ← relay ← consumer ← batcher ← HTTP
//
// The package does not depend on orders, payments, a database or a broker.
package service

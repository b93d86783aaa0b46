// Package http1 is an HTTP/1.1 client for a proxy. It sends requests that are already in
// wire format to one address, over persistent connections.
//
// It exists because a hop through http.Transport costs more than the rest of a proxied
// request: two goroutines for each connection, copies of every header, and a body that is
// written apart from its head. Here a request is one write, and the goroutine of the
// request reads the response itself. Parsing the response and finding the end of its body
// is left to [http.ReadResponse], the parser of http.Transport.
//
//	connect or reuse ─► write head and body ─► read head ─► read body ─► back to the pool
//
// What a caller can rely on:
//
//	a request is never sent twice        except that a request of which nothing was sent moves
//	                                     from a connection that the service closed to another one
//	an error states whether anything     [Error.Sent]
//	was sent
//	a connection is reused only after    the whole response was read, nothing followed it, the
//	                                     service did not ask to close, and the context is not done
//	a response ends with io.EOF only if  its framing says so; a truncated one ends with
//	it is complete                       another error
//	the context ends an exchange         at any time until its response is read or detached
//	memory is bounded                    all response heads of a request share a limit
//
// Not supported, because no service needs it: TLS, trailers (they are read and dropped),
// switching protocols (a 101 is an error) and pipelining.
package http1

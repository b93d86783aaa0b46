// Package generated contains programs that use a client generated from the API contract.
// The client is generated when the tests run and is not committed. See TestGeneratedClient.
package generated

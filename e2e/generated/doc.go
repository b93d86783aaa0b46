// Package generated holds programs that use a client which is generated from the API's
// contract when the tests run; none of it is committed. See TestGeneratedClient.
package generated

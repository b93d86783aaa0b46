// Package http3 replaces the package of the same name, which the services do not use.
package http3

import (
	"errors"
	"net/http"
)

// ListenAndServeQUIC returns [errors.ErrUnsupported].
func ListenAndServeQUIC(_, _, _ string, _ http.Handler) error { return errors.ErrUnsupported }

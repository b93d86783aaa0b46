// Package bson replaces the package of the same name, which the services do not use.
package bson

import "errors"

// Marshal returns [errors.ErrUnsupported].
func Marshal(any) ([]byte, error) { return nil, errors.ErrUnsupported }

// Unmarshal returns [errors.ErrUnsupported].
func Unmarshal([]byte, any) error { return errors.ErrUnsupported }
